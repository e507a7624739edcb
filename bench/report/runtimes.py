"""`runtimes.md`: the same networks in several backends, next to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
import pandas as pd

from bench.analysis.orders import Agreement, agreement
from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.backends import BACKENDS
from bench.devices.precision import is_quantised
from bench.models import forms, naming
from bench.models.naming import USUAL
from bench.records import Case
from bench.report import claims
from bench.report.devices import DeviceResults, by_allocation
from bench.report.tables.layouts import LATENCY_BATCH
from bench.report.tables.markdown import to_markdown_table
from bench.text import NOTHING, between, markdown, milliseconds, significant, some_of

NAMED = 6  # names in a cell
EAGER = (USUAL.backend, USUAL.precision)
MARKS = {"SUSPECT": " †", "INVALID": " INVALID"}
HOLDS = {"reproduced": True, "same direction": True, "not reproduced": False}
EMPTY = "Nothing to compare."
HOW_TO_READ = """\
Latency in ms at batch 1: the mean of the processes' medians. The number after it says how many
times as fast as {usual} it is, with the 95 % interval of this ratio. There is none where either row
is INVALID or has one process. **Bold**: the fastest of the row, and those that are not told apart
from it. † marks SUSPECT rows; results.md has the reasons."""
INTEGERS = """\
Columns in int8 are never the fastest here, since their answers differ: `bench export --precision
int8 --calibrate FOLDER` says how often, with your weights and images."""
ORDER = """\
Kendall's tau is 1 where two backends put the networks into the same order, and -1 where the orders
are opposite. It takes each pair of networks as measured. In brackets, each pair that is not told
apart in one of the backends counts as opposite, and as alike. Each pair is judged alone with 95 %
confidence, so the brackets hold no interval of tau."""
CLAIMS = """\
The paper measured in eager mode. Here are its claims about latency on this kind of device that hold
in eager mode and not in another backend, or the reverse. † marks a verdict that rests on SUSPECT
rows."""

T = TypeVar("T")
Setting = tuple[str, str]  # backend, precision
Column = dict[Case, Row]  # the row of each network, by its case in eager and fp32


def render(device: DeviceResults) -> dict[str, bytes]:
    """The page of a device, or nothing unless a network was measured in several backends."""
    columns = _columns(device)
    counts = Counter(network for column in columns.values() for network in column)
    networks = [network for network, count in counts.items() if count > 1]
    if not networks:
        return {}
    threads = naming.threads(networks[0].threads)
    parts = [
        f"# Networks in several backends on {markdown(device.label)}, {threads}",
        _matrix(columns, networks),
        HOW_TO_READ.format(usual=_words(_usual(columns))),
        *([INTEGERS] if any(map(_is_quantised, columns)) else []),
        "## The fastest way to run each network",
        _best(columns, networks),
        "## The order of the networks",
        ORDER,
        _orders(columns, networks),
        "## Claims whose verdict depends on the backend",
        *_flips(device, columns),
    ]
    return {"runtimes.md": ("\n\n".join(parts) + "\n").encode()}


def _columns(device: DeviceResults) -> dict[Setting, Column]:
    """The rows of batch 1 by setting: eager in fp32, then in the order of the table of backends.

    All have one number of threads, that of most rows, and the default allocator if it was measured.
    """
    rows = [
        row
        for row in by_allocation([device])[0].rows
        if row.case.batch == LATENCY_BATCH and row.case.device == device.environment.chip.device
    ]
    usual = Counter(row.case.threads for row in rows).most_common(1)
    found: dict[Setting, Column] = {}
    for row in rows:
        case = row.case
        if case.threads == usual[0][0]:
            plain = msgspec.structs.replace(case, backend=USUAL.backend, precision=USUAL.precision)
            found.setdefault((case.backend, case.precision), {})[plain] = row
    places = {name: place for place, name in enumerate(BACKENDS)}
    order = sorted(found, key=lambda each: (each != EAGER, places.get(each[0], len(places)), each))
    return {each: found[each] for each in order}


def _usual(columns: Mapping[Setting, Column]) -> Setting:
    """The setting that the others are compared with: eager and fp32, if it was measured."""
    return next(iter(columns))


def _words(setting: Setting) -> str:
    """`onnxruntime`, or `compile bf16`."""
    backend, precision = setting
    return markdown(backend if precision == USUAL.precision else f"{backend} {precision}")


def _is_quantised(setting: Setting) -> bool:
    return is_quantised(setting[1])


def _exact(of_settings: Mapping[Setting, T]) -> dict[Setting, T]:
    """Leave out the settings in which networks compute in integers."""
    return {each: value for each, value in of_settings.items() if not _is_quantised(each)}


def _title(row: Row) -> str:
    """`RepNeXt-u3-T-rRep onnxruntime`, with the mark of its verdict."""
    words = "" if row.case.backend != USUAL.backend else f" {USUAL.backend}"
    return f"{naming.title(row.case)}{words}{_mark(row)}"


def _mark(row: Row) -> str:
    return MARKS.get(row.verdict.level, "") if row.verdict else ""


def _table(lines: Sequence[Mapping[str, str]]) -> str:
    return to_markdown_table(pd.DataFrame(lines)) if lines else EMPTY


def _matrix(columns: Mapping[Setting, Column], networks: Sequence[Case]) -> str:
    lines = []
    for network in networks:
        rows = {setting: column.get(network) for setting, column in columns.items()}
        best = _not_slower([row for row in _exact(rows).values() if row])
        line = {"Model": markdown(naming.title(network))}
        for setting, row in rows.items():
            text = _cell(row, rows[_usual(columns)])
            line[f"{_words(setting)} (ms)"] = f"**{text}**" if row in best else text
        lines.append(line)
    return _table(lines)


def _cell(row: Row | None, usual: Row | None) -> str:
    if row is None or row.typical_s is None:
        return f"failed ({row.failure.stage})" if row and row.failure else NOTHING
    ratio = _ratio(row, usual)
    return f"{significant(milliseconds(row.typical_s))}{_mark(row)}" + f", {ratio}" * bool(ratio)


def _ratio(row: Row, usual: Row | None) -> str:
    """`1.53× (1.26 to 1.85)`: latency of the usual row / latency of a row; "" if not known."""
    if usual is None or usual is row or not (row.is_ranked and usual.is_ranked):
        return ""
    found = compare(row.rounds, usual.rounds).ratio
    return _times(found) if found else ""


def _times(ratio: Estimate) -> str:
    point, low, high = (f"{value:.2f}" for value in ratio)
    return f"{point}× ({low} to {high})"


def _not_slower(rows: Sequence[Row]) -> list[Row]:
    """The fastest row that may be compared, then those that are not told apart from it.

    The fastest has the smallest latency, unless another one was found FASTER in the same rounds.
    """
    ordered = sorted((row for row in rows if row.is_ranked), key=lambda row: row.typical_s or 0.0)
    if not ordered:
        return []
    first = ordered[0]
    faster = [row for row in ordered if _finding(first, row) == "FASTER"]
    lead = faster[0] if faster else first
    others = [row for row in ordered if row is not lead and _finding(lead, row) != "SLOWER"]
    return [lead, *others]


def _finding(base: Row, candidate: Row) -> str:
    return "" if base is candidate else compare(base.rounds, candidate.rounds).finding


def _best(columns: Mapping[Setting, Column], networks: Sequence[Case]) -> str:
    """A line per network: its fastest form and setting, and what is not told apart from it."""
    lines = []
    for chain in _chains(columns, networks):
        exact = _exact(columns).values()
        rows = [column[form] for column in exact for form in chain if form in column]
        if best := _not_slower(rows):
            usual = columns[_usual(columns)].get(chain[0])
            lines.append(
                {
                    "Model": markdown(naming.title(chain[0])),
                    "Fastest": markdown(_title(best[0])),
                    "Latency (ms)": significant(milliseconds(best[0].typical_s)),
                    f"Times as fast as the model in {_words(_usual(columns))}": _ratio(
                        best[0], usual
                    )
                    or NOTHING,
                    "Not told apart from it": markdown(some_of([*map(_title, best[1:])], NAMED))
                    or NOTHING,
                }
            )
    return _table(lines)


def _chains(columns: Mapping[Setting, Column], networks: Sequence[Case]) -> list[list[Case]]:
    """All measured forms of each network that is in `networks`, the one that is trained first."""
    found: dict[Case, list[Case]] = {_plain(network): [] for network in networks}
    for network in dict.fromkeys(case for column in columns.values() for case in column):
        if (plain := _plain(network)) in found:
            found[plain].append(network)
    return [
        sorted(chain, key=lambda case: not forms.find(case.form).is_built)
        for chain in found.values()
    ]


def _plain(network: Case) -> Case:
    return msgspec.structs.replace(network, form=USUAL.form)


def _orders(columns: Mapping[Setting, Column], networks: Sequence[Case]) -> str:
    """A line per setting and size of images: how similar its order is to the usual one."""
    usual = columns[_usual(columns)]
    lines = []
    for setting, column in list(columns.items())[1:]:
        for size in dict.fromkeys(map(naming.image, networks)):
            both = [
                each
                for each in networks
                if naming.image(each) == size and _is_ranked(each, usual, column)
            ]
            found = agreement([usual[each] for each in both], [column[each] for each in both])
            if found:
                lines.append(_order_line(setting, size, both, found))
    return _table(lines)


def _order_line(
    setting: Setting, size: str, networks: Sequence[Case], found: Agreement
) -> dict[str, str]:
    opposite = [
        " and ".join(naming.title(networks[place]) for place in pair) for pair in found.opposite
    ]
    return {
        "Backend": _words(setting),
        "Images": size,
        "Networks": str(len(networks)),
        "Kendall's tau": between(found.tau, found.lowest, found.highest),
        "In the opposite order": markdown(some_of(opposite, NAMED)) or NOTHING,
    }


def _is_ranked(network: Case, *columns: Column) -> bool:
    return all(network in each and each[network].is_ranked for each in columns)


def _flips(device: DeviceResults, columns: Mapping[Setting, Column]) -> Iterator[str]:
    """The claims whose verdicts are opposite in eager mode and in another backend in fp32."""
    yield CLAIMS
    if _usual(columns) != EAGER:
        yield "Eager mode was not measured."
        return
    verdicts = {
        setting: _verdicts(device, column)
        for setting, column in columns.items()
        if setting[1] == USUAL.precision
    }
    lines = [
        {
            "Claim": markdown(title),
            "Backend": _words(setting),
            "In eager mode": before,
            "In this backend": found[title],
        }
        for setting, found in verdicts.items()
        for title, before in verdicts[EAGER].items()
        if {_holds(before), _holds(found[title])} == {True, False}
    ]
    yield _table(lines) if lines else "None."


def _holds(verdict: str) -> bool | None:
    return HOLDS.get(verdict.removesuffix(MARKS["SUSPECT"]))


def _verdicts(device: DeviceResults, column: Column) -> dict[str, str]:
    """The verdict of each claim on the rows of a column, as if they were measured in eager mode."""
    rows = [msgspec.structs.replace(row, case=network) for network, row in column.items()]
    alone = msgspec.structs.replace(device, rows=rows, profiles=[])
    return {
        f"{each.claim.number}. {each.claim.title}": on.verdict + MARKS["SUSPECT"] * on.doubted
        for each in claims.judge([alone])
        for on in each.devices
        if each.claim.kind in (on.kind, "any") and on.label is not None
    }
