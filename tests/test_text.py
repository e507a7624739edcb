import pytest

from bench.text import markdown, plus_minus, significant


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
    ],
)
def test_markdown_cells_carry_no_markup(text, cell):
    assert markdown(text) == cell
