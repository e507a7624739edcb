"""A decision as text, Markdown and JSON. Pure, but for `write`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from tabulate import tabulate

from bench.analysis.choose import words
from bench.analysis.choose.advice import advice
from bench.analysis.choose.decision import Decision, Entry, Standing
from bench.analysis.choose.figures import Figure
from bench.analysis.choose.words import Section
from bench.models import naming
from bench.storage.pages import write_pages
from bench.text import markdown, printable, to_json


class Page(NamedTuple):
    """A decision, the name of the chip and its device, and the folder of the records."""

    decision: Decision
    chip: str
    device: str
    folder: str

    @property
    def title(self) -> str:
        """The chip and the budget."""
        return f"{self.chip}, {self.decision.budget.text}"

    @property
    def sections(self) -> list[Section]:
        """The tables."""
        return words.sections(self.decision, self.device, self.folder)


def write(page: Page, folder: Path) -> list[Path]:
    """Write `choose.md` and `choose.json`. Raises UsageError if that cannot be done."""
    content = to_json(to_builtins(page), indent=2) + "\n"
    pages = {"choose.md": to_markdown(page).encode(), "choose.json": content.encode()}
    return write_pages(folder, pages)


def to_text(page: Page) -> str:
    """For a terminal: aligned columns."""
    parts = [page.title, words.answer(page.decision)]
    for each in page.sections:
        parts.append("\n".join([f"{each.title}:", *_table(each, "plain", printable)]))
        parts += each.notes
        parts += ["\n".join(each.commands)] * bool(each.commands)
    return "\n\n".join(parts)


def to_markdown(page: Page) -> str:
    """A page with a table for each standing."""
    parts = [f"# {markdown(page.title)}", markdown(words.answer(page.decision))]
    for each in page.sections:
        parts += [f"## {each.title}", "\n".join(_table(each, "pipe", markdown))]
        parts += map(markdown, each.notes)
        if each.commands:
            parts.append("\n".join(["```", *map(printable, each.commands), "```"]))
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(section: Section, style: str, harmless: Callable[[str], str]) -> Iterator[str]:
    if section.lines:
        lines = [[harmless(cell) for cell in line] for line in section.lines]
        yield tabulate(lines, section.header, tablefmt=style, disable_numparse=True)


def to_builtins(page: Page) -> dict[str, object]:
    """The decision for `--json`: SI units, per cent for top-1, and [point, low, high]."""
    decision = page.decision
    named = {"fits": decision.fits, "cannot_be_told": decision.open}
    named |= {"not_measured": decision.unmeasured, "does_not_fit": decision.lost}
    return {
        "device": page.device,
        "chip": page.chip,
        "budget": msgspec.to_builtins(decision.budget),
        "answer": words.answer(decision),
        **{
            key: [_entry(each, page.folder, decision.budget.dataset) for each in several]
            for key, several in named.items()
        },
        "never_measured": words.never_measured(decision),
    }


def _entry(entry: Entry, folder: str, dataset: str) -> dict[str, object]:
    case, judged = entry.case, entry.candidate.decisive
    told = advice(entry, folder, dataset)
    fits = {"tied": entry.tied, "ratio": entry.ratio}
    others = {
        "limit": judged.of.name,
        "excess": judged.excess if judged.limit and judged.figure.point is not None else None,
        "reason": words.reason(entry),
        "more_rounds": told.rounds,
        "command": told.command or None,
    }
    return {
        "case_id": case.case_id,
        "case": case.name,
        "title": naming.title(case),
        "verdict": entry.candidate.row.verdict.level if entry.candidate.row.verdict else None,
        "values": {each.of.name: _figure(each.figure) for each in entry.candidate.judged},
        "other_cases": entry.others,
        **(fits if entry.candidate.standing is Standing.FITS else others),
    }


def _figure(figure: Figure) -> list[float | None] | None:
    if figure.point is None:
        return None
    is_known = not (figure.is_rough or figure.missing)
    return [figure.point, *((figure.low, figure.high) if is_known else (None, None))]
