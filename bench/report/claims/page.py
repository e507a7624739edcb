"""The results of the claims in Markdown, in CSV, and as lines of the HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from bench.report import page as html
from bench.report.claims import catalogue, words
from bench.report.claims.claim import KINDS
from bench.report.claims.evidence import missing
from bench.report.claims.verdicts import VERDICTS, ClaimResult, OnDevice, Part, reported_of
from bench.report.devices import DeviceResults
from bench.report.tables.csv import Value, to_csv
from bench.report.tables.layouts import setting_of, threads_text
from bench.text import markdown

PAPERS_CHIPS = {"gpu": "an A100", "cpu": "a Xeon 8260", "edge": "a Jetson Orin"}
CSV_COLUMNS = (
    *("number", "claim", "statement", "sentence", "where", "about", "said", "criterion"),
    "own_tables",
    *("quantity", "paper", "claimed", "device", "kind", "ours", "low", "high", "rounds"),
    *("suspect", "apart", "verdict", "why", "verdict_of_claim"),
)

INTRODUCTION = """\
This page tests every statement of the paper about latency, throughput, size, memory, the cost of \
a training step, and where the time goes. It also tests statements of ours, which the paper's \
tables show but its text does not make. For each claim it shows the source, the value in the \
paper's own tables, and our value. Claims about accuracy and convergence are not tested. Absolute \
milliseconds depend on the chip; Tables 2–6 show ours next to the paper's."""
HOW_TO_READ = """\
- *Where*: a section means that the paper makes the statement; its sentence is quoted under \
*Network by network*. *ours; Table 6* means that the statement is ours, derived from that table.
- A claim keeps its number for ever, so the numbers within a group may jump.
- *Reported*: the number or words in the paper's text. If the text gives neither, we quote the \
table.
- *Paper's own tables*: the value recomputed from the rounded numbers in Tables 2–6, and whether \
these tables support the claim.
- A ratio is latency of the network that should be slower / latency of the network that should be \
faster. For throughput it is the inverse. So a ratio above 1 supports the claim. Some claims show \
the ratio in per cent, as the paper does.
- Brackets hold the 95 % interval, computed from processes that took turns. For several \
networks, we show the range of their values and the outermost ends of their intervals. The \
interval of a mean has the mean lower end and the mean upper end; it holds for any correlation \
of errors.
- **reproduced**: the whole interval is above the criterion, its upper end is at least the \
claimed size, and its lower end is at least halfway from the criterion to the claimed size: so \
at least half of the effect is there, with the confidence of the interval. The criterion is a \
difference of more than 2 %, unless the claim's note gives another. The claimed size is the number \
in the text, or else the value in the paper's table; a claim without a number has no size to reach.
- **same direction**: the whole interval is above the criterion, but it ends below the claimed \
size or begins below half of the effect.
- **not reproduced**: the whole interval is at or below the criterion.
- **undecided**: the interval contains the criterion. Or the claim's note says that the \
measurement can only refute the claim, and it did not.
- **not measured**: there is no interval, so there is no verdict.
- **not tested**: nothing that we measure can decide the claim. *Network by network* says what \
would test it.
- A claim about several networks needs all of them; a single failure refutes it, even if other \
networks were not measured. A claim about *most* networks needs more than half. By chance, about \
one in twenty intervals misses the true value.
- *Verdict* counts only devices of the claim's kind; the least favourable of them decides. \
On a device of another kind, the claim **carries over** or **does not carry over**, by the same \
rule. This does not tell whether the paper measured correctly.
- We use only rows in the paper's setting: eager, fp32, the table's resolution, batch 1 for \
latency, batch 128 for throughput and batch 32 for training steps. All rows have one number of \
threads: the chip's default, or else the number of its last case. INVALID rows are not used.
- A device whose cases have several allocators has a column for each, which counts as a device of \
its own: `arena` keeps the memory that a network frees, `default` gives it back to the system.
- †: the value uses a SUSPECT row. *apart*: the networks did not take turns, so the interval \
includes the machine's drift. *(2 of 8)*: only 2 of 8 values have an interval. *exact*: the value \
was counted, not timed.
- Intervals hold for the times of the measurement and the kinds of processes that were met; on \
another day, a ratio may differ by more."""


def to_markdown(judged: Sequence[ClaimResult], devices: Sequence[DeviceResults]) -> str:
    """The page: summary, definitions, one table per subject, and the values per network."""
    parts = [
        "# The paper's claims about efficiency",
        INTRODUCTION,
        "## In short",
        "\n".join(f"- {line}" for line in _in_short(judged, devices)),
        "## How to read it",
        HOW_TO_READ,
    ]
    by_number = {each.claim.number: each for each in judged}
    for title, claims in catalogue.groups().items():
        table = _table([by_number[claim.number] for claim in claims], devices)
        parts += [f"## {title}", table]
    parts += ["## Network by network", "\n".join(_details(judged))]
    return "\n\n".join(parts) + "\n"


def in_csv(judged: Sequence[ClaimResult]) -> str:
    """A line per claim, device and quantity; ratios and shares are plain numbers, not per cent.

    A claim that is not tested has one line.
    """
    lines = [
        {**_of_claim(each), **_of_part(found, part)}
        for each in judged
        for found in each.devices or [_untested(each)]
        for part in _parts(each, found)
    ]
    return to_csv(CSV_COLUMNS, ([line[key] for key in CSV_COLUMNS] for line in lines))


def lines(judged: Sequence[ClaimResult], devices: Sequence[DeviceResults]) -> list[html.Claim]:
    """A line per claim for the table of claims in the HTML page."""
    return [
        html.Claim(
            title=each.claim.title,
            where=words.where(each.claim),
            reported=each.claim.said,
            recomputed=words.own_tables(each),
            ours={device.label: words.device_cell(each, device.label) for device in devices},
            verdict=words.headline(each),
        )
        for each in judged
    ]


def _in_short(judged: Sequence[ClaimResult], devices: Sequence[DeviceResults]) -> Iterator[str]:
    named = [
        f"{device.label} ({KINDS.get(device.kind, 'a kind that the paper does not have')}"
        + f", {threads_text(setting_of(device))}" * (device.kind == "cpu")
        + ")"
        for device in devices
    ]
    yield f"On record: {markdown(', '.join(named)) or 'no device'}."
    missing = [kind for kind in PAPERS_CHIPS if kind not in {device.kind for device in devices}]
    if missing:
        count = sum(each.claim.kind in missing for each in judged)
        yield (
            f"No {' and no '.join(KINDS[kind] for kind in missing)} was measured: {count} of the "
            f"{len(judged)} claims are about such devices and have no verdict. Their results on "
            "other devices only show whether a claim carries over."
        )
    yield from _verdicts(judged)
    ours = [str(each.claim.number) for each in judged if each.claim.quote is None]
    yield (
        f"{len(judged) - len(ours)} of the {len(judged)} claims are sentences of the paper. "
        f"{len(ours)} are ours: {', '.join(ours)}."
    )
    yield (
        f"The paper measured on {', '.join(PAPERS_CHIPS.values())}. Our verdicts hold for the "
        "devices and software versions listed in this report. Another chip of the same kind may "
        "give another verdict."
    )


def _verdicts(judged: Sequence[ClaimResult]) -> Iterator[str]:
    """Counts of the verdicts, how many rest on SUSPECT rows, and the paper's own tables."""
    found: dict[str, list[str]] = {verdict: [] for verdict in reversed(VERDICTS)}
    for each in judged:
        found[each.verdict].append(str(each.claim.number))
    counts = [
        f"{len(numbers)} {verdict}" + f" ({', '.join(numbers)})" * (verdict != "not measured")
        for verdict, numbers in found.items()
        if numbers
    ]
    yield f"Of {len(judged)} claims: {'; '.join(counts)}."
    decided = [each for each in judged if each.verdict not in ("not measured", "not tested")]
    doubted = sum(each.doubted for each in decided)
    if doubted:
        yield (
            f"{doubted} of these {len(decided)} verdicts rest on SUSPECT rows (†): the measurement "
            "was disturbed or did not settle. The footnotes of the tables give the reasons."
        )
    against = [str(each.claim.number) for each in judged if each.paper_agrees is False]
    refuted = [number for number in found["not reproduced"] if number in against]
    agree = f" Our records contradict these too: {', '.join(refuted)}." if refuted else ""
    yield (
        f"The paper's own tables contradict {len(against)} of the {len(judged)} claims: "
        f"{', '.join(against)}.{agree}"
    )


def _table(judged: Sequence[ClaimResult], devices: Sequence[DeviceResults]) -> str:
    labels = [device.label for device in devices]
    titles = ["", "Claim", "Where", "About", "Reported", "Paper's own tables", *labels, "Verdict"]
    frame = pd.DataFrame(
        [_line(each, labels) for each in judged],
        columns=[markdown(title) for title in titles],
    )
    align = ["right", *["left"] * (len(titles) - 1)]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _line(judged: ClaimResult, labels: Sequence[str]) -> list[str]:
    claim = judged.claim
    cells = [
        str(claim.number),
        claim.title,
        words.where(claim),
        {"any": "any", "none": "counts"}.get(claim.kind) or KINDS[claim.kind],
        claim.said,
        words.own_tables(judged),
        *(words.device_cell(judged, label) for label in labels),
    ]
    verdict = markdown(words.headline(judged))
    return [*map(markdown, cells), verdict if judged.why else f"**{verdict}**"]


def _details(judged: Sequence[ClaimResult]) -> Iterator[str]:
    for each in judged:
        claim, against = each.claim, words.contradicting(each)
        notes = [words.sentence(claim), claim.note]
        notes += [f"The paper's table contradicts it in: {against}."] if against else []
        notes += [f"Not tested: {claim.untested}"] if claim.untested else []
        title = f"**{claim.number}. {markdown(claim.title)}.**"
        yield " ".join([f"- {title}", *(markdown(note) for note in notes if note)])
        for on in each.devices:
            label, text = on.label, words.details(claim, on)
            if text:
                yield f"  - {'Counted' if label is None else markdown(label)}: {markdown(text)}."


def _parts(judged: ClaimResult, found: OnDevice) -> list[Part]:
    """The quantities of the claim, followed by their mean if the claim is about the mean."""
    if found.found is None:
        return found.parts
    (value,) = reported_of(judged.claim)
    return [*found.parts, Part("mean", value, judged.claim.size, found.found, found.verdict)]


def _untested(judged: ClaimResult) -> OnDevice:
    """The line of a claim that is not tested: no quantity, and the reason."""
    part = Part("", None, None, missing(judged.claim.untested), judged.verdict)
    return OnDevice(None, "", [part], None, judged.verdict)


def _of_claim(judged: ClaimResult) -> dict[str, Value]:
    claim = judged.claim
    return {
        "number": claim.number,
        "claim": claim.title,
        "statement": "paper" if claim.quote else words.OURS,
        "sentence": claim.quote.words if claim.quote else "",
        "where": claim.where,
        "about": claim.kind,
        "said": claim.said,
        "criterion": claim.edge,
        "own_tables": {None: "", True: "yes", False: "no"}[judged.paper_agrees],
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
