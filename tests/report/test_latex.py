"""LaTeX tables compile for any text in a record."""

import re
import shutil
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import CHIP, ENVIRONMENT
from support.results import device
from support.table_rows import BOTH, thrice

from bench.report.tables import latex, paper_tables, results_tex
from bench.report.tables.grid import Column, Link

HOSTILE = r"\input{/etc/passwd} $x^ % & # _ ~ {[ ]} * `` -- ''<>|" + '"\x1b 中文 Ω ® é 😀'
WRITTEN = re.compile("|".join(map(re.escape, sorted(latex.SPECIAL.values(), key=len)[::-1])))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("RepNeXt-u3-T at 100 %", r"RepNeXt-u3-T at 100 \%"),
        (r"\input{x}", r"$\backslash$input\{x\}"),
        ("a--b ''c'' it's", "a-{}-b '{}'c'{}' it's"),
        ("[2] *", "{[}2{]} {*}"),
        (
            "11.9 ± 3.0 →r 1×1 → 64²",
            r"11.9 $\pm$ 3.0 $\xrightarrow{r}$ 1$\times$1 $\rightarrow$ 64$^2$",
        ),
        ("Core™ i7® é ü ﬁ ＄", r"CoreTM i7(R) e u fi $\$$"),
        ("中\x00", "{[}U+4E2D{]}{[}U+0000{]}"),
        ("a\n\n b\t\x0b", "a b"),
        ("", ""),
    ],
)
def test_text_is_escaped(text, written):
    assert latex.escape(text) == written


@given(st.text())
def test_any_text_is_escaped_whole(text):
    written = latex.escape(text)
    assert written.isascii()
    assert written.isprintable()
    rest = WRITTEN.sub("", written).replace("{}", "")
    assert not set(rest) & set("\\{}$&#%_^~<>|`")


def test_a_cell_is_a_formula_where_there_is_a_number():
    chain = (Link("", "11.9 ± 3.0", "†"), Link("r", "8.5"), Link("()", "7", "‡§"), Link("s", "a_b"))
    assert latex._cell(chain) == (
        r"$11.9 \pm 3.0^{\dagger} \xrightarrow{r} 8.5 \; (7^{\ddagger\S}) "
        r"\xrightarrow{s} \text{a\_b}$"
    )
    assert latex._cell((Link("", "not measured"),)) == "not measured"


def test_a_long_name_is_broken_and_a_very_long_one_cut():
    column = Column("Processor " * 40, "Latency (ms)", [(Link("", "5"),)])
    columns = [Column("", "Model", [(Link("", "A"),)]), column]
    text = latex.document([latex.Table("x", "X", columns, [])], "x", "X")
    (head,) = [line for line in text.splitlines() if "Processor" in line]
    assert head.count("Processor") == latex.HEAD_LINES
    assert r"Latency \\ (ms)" in text


def test_braces_and_environments_are_balanced():
    for name, page in (paper_tables.render(BOTH) | results_tex.render(BOTH)).items():
        if name.endswith(".tex"):
            text = page.decode()
            assert text.isascii()
            bare = text.replace(r"\{", "").replace(r"\}", "")
            assert bare.count("{") == bare.count("}")
            begun, ended = (re.findall(rf"\\{w}{{(\w+)}}", text) for w in ("begin", "end"))
            assert sorted(begun) == sorted(ended)
            widths = {
                len(re.findall(r"(?<!\\)&", line)) for line in text.splitlines() if "& $" in line
            }
            assert len(widths) == text.count(r"\toprule") or len(widths) == 1


def compiled(page, folder):
    """The text of a page that pdflatex made."""
    (folder / "page.tex").write_bytes(page)
    flags = ("-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape")
    done = subprocess.run(
        ["pdflatex", *flags, "page.tex"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert b"Overfull" not in done.stdout
    assert b"(/etc/passwd" not in done.stdout  # what it read
    return (folder / "page.pdf").read_bytes()


needs_tex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here: texlive")


@needs_tex
@pytest.mark.pages
@pytest.mark.parametrize("number", range(2, 7))
def test_it_compiles(number, tmp_path):
    page = paper_tables.render(BOTH)[f"table{number}.tex"]
    assert compiled(page, tmp_path).startswith(b"%PDF")


@needs_tex
@pytest.mark.pages
def test_it_compiles_inside_another_document(tmp_path):
    """Two of the files, where the document has the packages that their first lines name."""
    for name, page in results_tex.render(BOTH).items() | paper_tables.render(BOTH).items():
        (tmp_path / name).write_bytes(page)
    (packages,) = re.findall(r"preamble: (.*)", (tmp_path / "results.tex").read_text())
    body = r"\input{results} between \input{table4} after"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    assert compiled(document.encode(), tmp_path).startswith(b"%PDF")


@needs_tex
@pytest.mark.pages
def test_own_results_compile_alone(tmp_path):
    assert compiled(results_tex.render(BOTH)["results.tex"], tmp_path).startswith(b"%PDF")


@needs_tex
@pytest.mark.pages
def test_it_compiles_whatever_a_record_says(tmp_path):
    chip = msgspec.structs.replace(CHIP, name=HOSTILE, facts={HOSTILE: HOSTILE})
    environment = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    page = paper_tables.render([device(thrice("resnet50"), environment=environment)])["table6.tex"]
    assert compiled(page, tmp_path).startswith(b"%PDF")
