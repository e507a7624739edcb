"""Tables as LaTeX documents that compile without changes, with a table to paste into a paper."""

from __future__ import annotations

import itertools
import re
import textwrap
import unicodedata
from collections.abc import Container, Sequence
from typing import NamedTuple

from bench.models import forms
from bench.models.forms import BRACKETS
from bench.report.tables.grid import Cell, Column

WIDE = 8  # a table with more columns is set on a landscape page
LETTERS = 11  # letters on a line of a heading, per column below it
HEAD_LINES = 4
NUMBER = re.compile(r"([\d.]+)(?: ± ([\d.]+))?")
# An arrow with its letter; a run of - or ', which TeX would join to one character; any character.
LETTERED = {f"→{letter}": rf"$\xrightarrow{{{letter}}}$" for letter in forms.LETTERS}
TOKEN = re.compile(rf"(?:{'|'.join(LETTERED)})\b|-+|'+|.", re.DOTALL)
SPECIAL = {
    **{char: f"\\{char}" for char in "{}&#%_"},
    **{char: f"{{{char}}}" for char in "[]*`"},  # TeX reads them as syntax after \\ or in a pair
    **{char: f"${char}$" for char in "<>|"},
    "\\": r"$\backslash$",
    "$": r"$\$$",  # in text mode it needs a font that not every TeX has
    "^": r"\^{}",
    "~": r"\~{}",
    '"': "''",
    **LETTERED,
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "°": r"$^{\circ}$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "²": "$^2$",
    "³": "$^3$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "®": "(R)",
    "©": "(C)",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "§": r"$^{\S}$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
}
IN_LABEL = re.compile(r"[^A-Za-z0-9_.:-]")  # what may not be in a \\label
MARKS = {"†": r"\dagger", "‡": r"\ddagger", "§": r"\S"}

DOCUMENT = r"""% {about}.
% Compile this file with pdflatex, or write \input{{{name}}} where your paper shall show the table.
% The paper then needs in its preamble: \usepackage{{amsmath,amssymb,booktabs,graphicx}}
% In the body of a document, the two commands below are the same error: only the table is set.
\ifx\documentclass\usepackage
\let\endofpage\relax
\else
\documentclass[10pt]{{article}}
\usepackage[a4paper{turned},margin=15mm]{{geometry}}
\usepackage{{amsmath,amssymb,booktabs,graphicx}}
\pagestyle{{empty}}
\def\endofpage{{\end{{document}}}}
\begin{{document}}
\fi
{tables}
\endofpage
"""

TABLE = r"""\begin{{table}}[htp]
\centering
\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{tab:{label}}}
\par\smallskip
\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
\begin{{tabular}}{{l{columns}}}
\toprule
{head}
\midrule
{body}
\bottomrule
\end{{tabular}}}}
\par\medskip
\begin{{minipage}}{{\linewidth}}
\footnotesize\raggedright
{notes}
\end{{minipage}}
\end{{table}}"""


class Table(NamedTuple):
    r"""A table to print: plain text, and a rule above each of the rows `breaks`.

    `label` is the end of \label{tab:...}.
    """

    label: str
    caption: str
    columns: Sequence[Column]
    notes: Sequence[str]
    breaks: Container[int] = ()


def document(tables: Sequence[Table], name: str, about: str) -> str:
    r"""The tables as a LaTeX document in ASCII, `name`.tex; it uses only widespread packages.

    The document compiles as it is. With \input in a document, it gives the tables alone.
    """
    is_wide = any(len(table.columns) > WIDE for table in tables)
    return DOCUMENT.format(
        name=name,
        about=about,
        turned=",landscape" if is_wide else "",
        tables="\n\n".join(map(_table, tables)),
    )


def _table(table: Table) -> str:
    cells = [[_cell(cell) for cell in column.cells] for column in table.columns]
    lines = [" & ".join(line) + r" \\" for line in zip(*cells, strict=True)]
    ruled = [
        r"\midrule" + "\n" + line if n in table.breaks else line for n, line in enumerate(lines)
    ]
    return TABLE.format(
        caption=escape(table.caption),
        label=IN_LABEL.sub(lambda letter: f"U+{ord(letter.group()):04X}", table.label),
        columns="c" * (len(table.columns) - 1),
        head=_head(table.columns),
        body="\n".join(ruled),
        notes="\n".join(f"{escape(text)}\\par" for text in table.notes),
    )


def escape(text: str) -> str:
    r"""`text` on one line, escaped for LaTeX in ASCII: nothing in it acts as a command or formula.

    Letters lose their accents. A character without an ASCII equivalent becomes its code point,
    such as `[U+4E2D]`.
    """
    line = " ".join(unicodedata.normalize("NFC", text).split())
    return TOKEN.sub(lambda token: _set(token.group()), line)


def _set(token: str) -> str:
    if token in SPECIAL:
        return SPECIAL[token]
    if token.isascii() and token.isprintable():
        return "{}".join(token)
    likeness = unicodedata.normalize("NFKD", token)
    plain = "".join(char for char in likeness if not unicodedata.combining(char))
    if plain and plain != token and plain.isascii() and plain.isprintable():
        return "".join(SPECIAL.get(char, char) for char in plain)
    return "".join(f"{{[}}U+{ord(char):04X}{{]}}" for char in token)


def _head(columns: Sequence[Column]) -> str:
    """Two header lines: the groups with rules below them, then the headings."""
    groups, rules, at = [], [], 1
    for group, members in itertools.groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        if group:
            groups.append(f"\\multicolumn{{{width}}}{{c}}{{{_stacked(group, width)}}}")
            rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
        else:
            groups += [""] * width
        at += width
    headings = " & ".join(_stacked(column.heading) for column in columns)
    return f"{' & '.join(groups)} \\\\\n{' '.join(rules)}\n{headings} \\\\"


def _stacked(text: str, columns: int = 1) -> str:
    """A heading, wrapped to LETTERS per column; beyond HEAD_LINES it is cut."""
    lines = textwrap.wrap(text, LETTERS * columns, max_lines=HEAD_LINES, placeholder=" …")
    shown = r" \\ ".join(escape(line) for line in lines)
    return rf"\begin{{tabular}}[b]{{@{{}}c@{{}}}}{shown}\end{{tabular}}" if lines[1:] else shown


def _cell(cell: Cell) -> str:
    """A cell: one formula if it has numbers, arrows or marks, else text."""
    if not any(link.arrow or link.marks or NUMBER.fullmatch(link.text) for link in cell):
        return " ".join(escape(link.text) for link in cell)
    formula = ""
    for arrow, text, marks in cell:
        part = _part(text, marks)
        if arrow == BRACKETS:
            formula += rf" \; ({part})"
        else:
            formula += rf" \xrightarrow{{{arrow}}} {part}" if arrow else part
    return f"${formula}$"


def _part(text: str, marks: str) -> str:
    number = NUMBER.fullmatch(text)
    shown = " \\pm ".join(filter(None, number.groups())) if number else f"\\text{{{escape(text)}}}"
    raised = "".join(MARKS[mark] for mark in marks)
    return f"{shown}^{{{raised}}}" if raised else shown
