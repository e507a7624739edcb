"""The claims as a page in Markdown, as CSV, and as lines of the HTML page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.report import page as html
from bench.report.claims import catalogue, words
from bench.report.claims.claim import KINDS
from bench.report.claims.verdicts import VERDICTS, Judged, OnDevice, Part, reported_of
from bench.report.devices import DeviceResults
from bench.report.tables.csv import Value, to_csv
from bench.report.tables.layouts import in_words, setting_of
from bench.text import markdown

PAPERS_CHIPS = {"gpu": "an A100", "cpu": "a Xeon 8260", "edge": "a Jetson Orin"}
CSV_COLUMNS = (
    *("number", "claim", "where", "about", "said", "criterion", "own_tables"),
    *("quantity", "paper", "claimed", "device", "kind", "ours", "low", "high", "rounds"),
    *("suspect", "apart", "verdict", "why", "verdict_of_claim"),
)

INTRODUCTION = """\
Every statement of the paper about latency, throughput, size or where the time goes: where it \
stands, what the paper's own tables have of it, and what our records have. Statements about \
accuracy and about training are not tested, and milliseconds as such are those of a chip: Tables \
2–6 set ours beside the paper's."""
HOW_TO_READ = """\
- *Reported*: the text's number or words, or what the table prints where the text has none.
- *Paper's own tables*: the same, recomputed from the rounded numbers printed in Tables 2–6, and \
whether they bear the claim out.
- Numbers are what the claim says is slower / what it says is faster (of throughputs the other way \
round), so above 1 is the claim's side; or the same in the paper's per cent. In brackets is the \
95 % interval, from processes that took turns. Of several networks the points and the outermost \
ends are shown. The interval of a mean is the mean of the networks' intervals' ends, which holds \
however they err together.
- **reproduced**: the whole interval is on the claim's side, by more than 2 % or by the criterion \
in the claim's note, and reaches the claimed size or has it within. The size is the text's number, \
or else that of the paper's table for that network; where there is none, any will do. A wide \
interval reaches easily: look at it.
- **same direction**: the same, but the whole interval falls short of the size.
- **not reproduced**: the whole interval is on the other side, or short of the criterion.
- **undecided**: the interval holds both; or the claim's note says that what was measured can \
only refute it, and it does not. **not measured**: no interval, and so no verdict.
- A claim about several networks needs all of them, and one that fails refutes it, whether or not \
the others were measured; one about *most* needs more than half. Of many intervals one in twenty \
misses by chance.
- The verdict on the right counts only devices of the kind that the claim is about; where they \
differ, the least favourable. On a device of another kind a claim **carries over** or does not, \
by the same rule, which says nothing of whether the paper measured right.
- Counted are rows in the paper's setting: eager, fp32, the table's resolution, batch 1 for \
latency and 128 for throughput, on one number of threads: as many as the chip has, or else those \
of its last case. INVALID rows are not used. † rests on a SUSPECT row; *apart* are networks that \
did not take turns, whose interval holds the machine's drift; *(2 of 8)*: only so many have an \
interval; *exact* is counted, not timed."""


def to_markdown(judged: Sequence[Judged], devices: Sequence[DeviceResults]) -> str:
    """Definitions, what these devices can show, tables by subject, and numbers by network."""
    parts = [
        "# The paper's claims about efficiency",
        INTRODUCTION,
        "## In short",
        "\n".join(f"- {line}" for line in _in_short(judged, devices)),
        "## How to read it",
        HOW_TO_READ,
    ]
    numbered = enumerate(judged, 1)
    for title, claims in catalogue.groups().items():
        table = _table(list(itertools.islice(numbered, len(claims))), devices)
        parts += [f"## {title}", table]
    parts += ["## Network by network", "\n".join(_details(judged))]
    return "\n\n".join(parts) + "\n"


def in_csv(judged: Sequence[Judged]) -> str:
    """Raw numbers: ratios and shares as they are judged, not in per cent."""
    lines = [
        {"number": number, **_of_claim(each), **_of_part(found, part)}
        for number, each in enumerate(judged, 1)
        for found in each.devices
        for part in _parts(each, found)
    ]
    return to_csv(CSV_COLUMNS, ([line[key] for key in CSV_COLUMNS] for line in lines))


def lines(judged: Sequence[Judged], devices: Sequence[DeviceResults]) -> list[html.Claim]:
    """The same as `bench.report.page` shows them."""
    return [
        html.Claim(
            title=each.claim.title,
            where=each.claim.where,
            reported=each.claim.said,
            recomputed=words.own_tables(each),
            ours={device.label: words.of_label(each, device.label) for device in devices},
            verdict=words.headline(each),
        )
        for each in judged
    ]


def _in_short(judged: Sequence[Judged], devices: Sequence[DeviceResults]) -> Iterator[str]:
    named = [
        f"{device.label} ({KINDS.get(device.kind, 'of no kind that the paper has')}"
        + f", {in_words(setting_of(device))}" * (device.kind == "cpu")
        + ")"
        for device in devices
    ]
    yield f"On record: {markdown(', '.join(named)) or 'no device'}."
    missing = [kind for kind in PAPERS_CHIPS if kind not in {device.kind for device in devices}]
    if missing:
        count = sum(each.claim.kind in missing for each in judged)
        yield (
            f"There is no {' and no '.join(KINDS[kind] for kind in missing)}: {count} of the "
            f"{len(judged)} claims are about these and stay without a verdict. What another device "
            "shows of them is whether they carry over to it, no more."
        )
    yield from _verdicts(judged)
    yield (
        f"The paper's numbers are of {', '.join(PAPERS_CHIPS.values())}. A verdict is of the "
        "devices above and of the software they run: another chip of the same kind may decide "
        "otherwise."
    )


def _verdicts(judged: Sequence[Judged]) -> Iterator[str]:
    """How many of each, on how firm a ground, and what the paper's own tables say."""
    found: dict[str, list[str]] = {verdict: [] for verdict in reversed(VERDICTS)}
    for number, each in enumerate(judged, 1):
        found[each.verdict].append(str(number))
    counts = [
        f"{len(numbers)} {verdict}" + f" ({', '.join(numbers)})" * (verdict != "not measured")
        for verdict, numbers in found.items()
        if numbers
    ]
    yield f"Of {len(judged)} claims: {'; '.join(counts)}."
    decided = [each for each in judged if each.verdict != "not measured"]
    doubted = sum(each.doubted for each in decided)
    if doubted:
        yield (
            f"{doubted} of these {len(decided)} verdicts rest on SUSPECT rows (†): what was "
            "measured there was disturbed or does not settle, as the tables' footnotes say."
        )
    against = [str(number) for number, each in enumerate(judged, 1) if each.own is False]
    refuted = [number for number in found["not reproduced"] if number in against]
    agree = f" Ours contradict these too: {', '.join(refuted)}." if refuted else ""
    yield f"The paper's own tables contradict {len(against)} of them: {', '.join(against)}.{agree}"


def _table(numbered: Sequence[tuple[int, Judged]], devices: Sequence[DeviceResults]) -> str:
    labels = [device.label for device in devices]
    titles = ["", "Claim", "Where", "About", "Reported", "Paper's own tables", *labels, "Verdict"]
    frame = pd.DataFrame(
        [_line(number, each, labels) for number, each in numbered],
        columns=[markdown(title) for title in titles],
    )
    align = ["right", *["left"] * (len(titles) - 1)]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _line(number: int, judged: Judged, labels: Sequence[str]) -> list[str]:
    claim = judged.claim
    cells = [
        str(number),
        claim.title,
        claim.where,
        {"any": "any", "none": "counts"}.get(claim.kind) or KINDS[claim.kind],
        claim.said,
        words.own_tables(judged),
        *(words.of_label(judged, label) for label in labels),
    ]
    verdict = markdown(words.headline(judged))
    return [*map(markdown, cells), verdict if judged.why else f"**{verdict}**"]


def _details(judged: Sequence[Judged]) -> Iterator[str]:
    for number, each in enumerate(judged, 1):
        against = words.contradicting(each)
        notes = [each.claim.note, f"Against it in the paper's table: {against}." if against else ""]
        found = [(on.label, words.details(each.claim, on)) for on in each.devices]
        if any(notes) or any(text for _, text in found):
            title = f"**{number}. {markdown(each.claim.title)}.**"
            yield " ".join([f"- {title}", *(markdown(note) for note in notes if note)])
        for label, text in found:
            if text:
                yield f"  - {'Counted' if label is None else markdown(label)}: {markdown(text)}."


def _parts(judged: Judged, found: OnDevice) -> list[Part]:
    """Its quantities, and after those their mean where that is what is judged."""
    if found.found is None:
        return found.parts
    (value,) = reported_of(judged.claim)
    return [*found.parts, Part("mean", value, judged.claim.size, found.found, found.verdict)]


def _of_claim(judged: Judged) -> dict[str, Value]:
    claim = judged.claim
    return {
        "claim": claim.title,
        "where": claim.where,
        "about": claim.kind,
        "said": claim.said,
        "criterion": claim.edge,
        "own_tables": {None: "", True: "yes", False: "no"}[judged.own],
    }


def _of_part(found: OnDevice, part: Part) -> dict[str, Value]:
    estimate = part.found.estimate
    return {
        "quantity": part.name,
        "paper": part.reported,
        "claimed": part.size,
        "device": found.label,
        "kind": found.kind,
        "ours": part.found.point,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "rounds": part.found.rounds or None,
        "suspect": "yes" if part.found.doubted else "",
        "apart": "yes" if part.found.apart else "",
        "verdict": part.verdict,
        "why": part.found.why,
        "verdict_of_claim": found.verdict,
    }
