import json

import pytest

from bench.text import (
    csv_cell,
    from_csv_cell,
    in_script,
    markdown,
    markdown_code,
    plus_minus,
    significant,
    to_json,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (11.94, "11.9"),
        (0.05678, "0.0568"),
        (1548.4, "1548"),
        (99.96, "100"),
        (9.996, "10.0"),
        (-3.14159, "-3.14"),
    ],
)
def test_three_significant_digits(value, shown):
    assert significant(value) == shown


@pytest.mark.parametrize(
    ("mean", "std", "shown"),
    [(11.94, 3.02, "11.9 ± 3.0"), (1234.5, 12.3, "1234 ± 12"), (5.0, float("nan"), "5.00")],
)
def test_both_parts_of_plus_minus_have_the_decimals_of_the_mean(mean, std, shown):
    assert plus_minus(mean, std) == shown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("repnext_u3_t", "repnext_u3_t"),
        ("<script>", r"\<script\>"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("a|b", r"a\|b"),
        ("_x_", r"\_x\_"),
        ("two\nlines", "two lines"),
        ("[a](b)", r"\[a\](b)"),
        ("$x$", r"\$x\$"),
    ],
)
def test_markdown_cells_carry_no_markup(text, cell):
    assert markdown(text) == cell


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("bench run --out a_b", "`bench run --out a_b`"),
        ("bench run --out 'a`<b>`'", "bench run --out 'a\\`\\<b\\>\\`'"),
        ("bench\x1b[2J", "bench\\[2J"),
    ],
)
def test_markdown_code_ends_only_where_it_should(text, code):
    assert markdown_code(text) == code


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x.py:net", "'-x.py:net"),
        ("@a", "'@a"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'=1", "''=1"),
        ("-3.5e-7", "-3.5e-7"),
        ("+1", "+1"),
        ("+62 %", "+62 %"),
        ("+62 %A1", "'+62 %A1"),
        ("- 3", "'- 3"),
        ("a=1", "a=1"),
        ("two\nlines", "two\nlines"),
        ("it's", "it's"),
        ("名\u3000前", "名\u3000前"),
    ],
)
def test_a_cell_of_csv_is_no_formula_and_can_be_read_back(text, cell):
    assert csv_cell(text) == cell
    assert from_csv_cell(cell) == text


def test_control_characters_are_escaped_in_cells_and_pages():
    assert csv_cell("\x1b[2J\u202e") == "\\x1b[2J\\u202e"
    assert in_script(["</script>\u2028\x1b\udcff\n"]) == (
        '["\\u003c/script\\u003e\\\\u2028\\\\x1b\\\\udcff\\n"]'
    )


def test_json_is_ascii_and_holds_every_text():
    value = {"名\x7f": ["\x1b\u202e\x9b", 1.5, float("nan"), None]}
    text = to_json(value)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {"名\x7f": ["\x1b\u202e\x9b", 1.5, None, None]}
    assert json.loads(to_json("\udcff")) == "\\udcff"
