"""Ranges of all numbers of the schema: what no run can have measured is set apart, and named."""

import contextlib
import math
import re

import msgspec
import pytest
from msgspec import structs
from support import every_number
from support.every_number import (
    EVERY,
    MEASURED,
    PEAKS,
    PLACES,
    RUN,
    again,
    changed,
    extremes,
    stored,
)

from bench import report
from bench.analysis import compare, explain
from bench.analysis.gather import gather
from bench.analysis.recorded import latest
from bench.analysis.tally import LeftOut
from bench.errors import UsageError
from bench.harness.plan import calls_per_sample
from bench.models.zoo import ZOO
from bench.records import Case
from bench.records.fields import SHORTEST_S
from bench.storage.reader import FILE_NAME, Flaw, read

# Numbers that may be below 0: levels of sensors, differences, and values of settings.
SIGNED = {"temperature_c", "power_w", "highest_temperature_c", "highest_power_w", "set_s", "sync_s"}
SIGNED |= {"residual_s", "overhead_s", "overhead_expected_s", "memory_gib", "load_1min"}
NO_NUMBER = re.compile(r"\b(inf|nan)\b")


def is_signed(path):
    return path[0] in ("settings", "state") or not SIGNED.isdisjoint(path)


def unread(folder, lines):
    """What the reader says about each line that it skipped, by the number of the line."""
    _, skipped = read(stored(folder, lines) / "fake" / FILE_NAME)
    return {each.line: each for each in skipped}


def test_every_number_of_the_schema_is_among_the_examples():
    places = {
        (type(record), *(key for key in path if isinstance(key, str))) for record, path in PLACES
    }
    missing = [field for field in schema() if field not in places]
    assert missing == [], "give it a value in tests/support/every_number.py"


def schema():
    """The path to each field that may hold a number, in each type of record."""
    for record in EVERY:
        yield from fields(msgspec.inspect.type_info(type(record)), (type(record),))


def fields(kind, path):
    """The paths below `path` whose type has numbers; a dictionary of any names ends a path."""
    if isinstance(kind, (msgspec.inspect.IntType, msgspec.inspect.FloatType)):
        yield path
    elif isinstance(kind, msgspec.inspect.StructType):
        for each in kind.fields:
            yield from fields(each.type, (*path, each.encode_name))
    elif isinstance(kind, msgspec.inspect.ListType):
        yield from fields(kind.item_type, path)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            yield from fields(each, path)


@pytest.mark.parametrize("value", [-1, -(10**18)])
def test_a_negative_number_is_set_apart_unless_it_is_a_difference_or_a_level(tmp_path, value):
    places = [(record, path) for record, path in PLACES if not is_signed(path)]
    found = unread(tmp_path, [changed(*place, value, "resnet50") for place in places])
    missed = [path for line, (_, path) in enumerate(places, 1) if line not in found]
    assert missed == []
    assert {each.flaw for each in found.values()} <= {Flaw.DAMAGED, Flaw.SCHEMA}


@pytest.mark.parametrize("value", [10**19, 1.1e300, -1.1e300])
def test_a_number_beyond_all_ranges_is_set_apart(tmp_path, value):
    found = unread(tmp_path, [changed(*place, value, "resnet50") for place in PLACES])
    kept = [path[-1] for line, (_, path) in enumerate(PLACES, 1) if line not in found]
    errors = {"largest_absolute_error", "largest_relative_error", "tolerance", "smooth_error"}
    errors |= {"error", "added"}
    assert set(kept) == (errors if value == 10**19 else set()), "errors of wrong outputs are large"


def test_a_line_that_was_set_apart_is_named_and_counted(tmp_path):
    line = changed(MEASURED, ("stages_s", "build"), -1, "resnet50")
    (device,) = gather([stored(tmp_path, [RUN, MEASURED, line])]).devices
    assert device.tally.left_out == {LeftOut.FLAWED: 1}
    (skipped,) = device.skipped
    assert f"{FILE_NAME}:3 is not a record and was left out" in str(skipped)
    assert "stages_s.build" in str(skipped)


@pytest.mark.parametrize(
    "name",
    ["block_sizes", "block_starts_s", "block_compute_s", "block_memory_s", "block_pipelined_s"],
)
def test_lists_of_blocks_have_an_entry_for_each_block(tmp_path, name):
    content = msgspec.to_builtins(MEASURED)
    lines = []
    for entries in (content[name][:1], [*content[name], 1], []):
        lines.append(msgspec.json.encode({**content, name: entries}))
    allowed = {"block_pipelined_s": {1, 2}}
    assert set(unread(tmp_path, lines)) == allowed.get(name, {1, 2, 3})


def test_more_calls_in_a_sample_than_any_run_needs_are_set_apart(tmp_path):
    """A resumed run makes groups of as many calls as the first round on record has."""
    counts = [calls_per_sample(SHORTEST_S), 10**6, 10**6 + 1, 10**9]
    lines = [changed(MEASURED, ("calls_per_sample",), count, "resnet50") for count in counts]
    assert set(unread(tmp_path, lines)) == {3, 4}


def test_whatever_is_read_can_be_explained_and_compared(tmp_path):
    """No traceback, and no number that is infinite: nothing overflows."""
    theirs = structs.replace(MEASURED, case=Case("swin_t", "plain", device="fake"))
    theirs = structs.replace(theirs, case_id=theirs.case.case_id)
    others = [structs.replace(theirs, round=n, sitting=n) for n in (1, 2)]
    both = [structs.replace(each, run_id="0") for each in (MEASURED, *others)]
    base = stored(tmp_path / "base", [RUN, PEAKS, *both])
    for place in extremes():
        line = changed(*place, "resnet50")
        twice = [line, again(line, 2)] if place[0] is MEASURED else [MEASURED, line]
        out = stored(tmp_path / "out", [RUN, PEAKS, *twice, *others])
        texts = [dict(explain.explain(e, case)) for e in latest(out) for case in e.cases]
        assert not NO_NUMBER.search(str(texts)), place[1:]
        for sides in ((out, base), (base, out)):
            compared(compare.two_runs, *sides, 0.02)
        compared(compare.two_cases, out, "resnet50", "swin_t", 0.02)


def compared(command, *arguments):
    """Call a command; that nothing is comparable is no error here."""
    with contextlib.suppress(UsageError):
        command(*arguments)


def test_latencies_as_far_apart_as_records_can_be_have_a_finite_interval(tmp_path):
    """Samples of a nanosecond and of thirty years, from the fewest processes; the largest drift."""
    sides = []
    for name, samples, kernels_s in (("a", (1e-9,) * 3, 1e-9), ("b", (1e-9, 1e9, 1e9), 1e9)):
        made = [
            every_number.at_once(samples_s, kernels_s, run_id=name, round=number, sitting=number)
            for number, samples_s in enumerate(samples, 1)
        ]
        sides.append(stored(tmp_path / name, [RUN, *made]))
    ((one,),) = [each.compared for each in compare.two_runs(*sides, 0.02)]
    assert 0 < one.ratio.low < one.ratio.high < math.inf
    assert one.finding == "INVALID"


def check_report(folder):
    """Report all extremes at once, each as a case of another network; look for infinite numbers."""
    names = list(ZOO)
    lines = []
    for number, place in enumerate(extremes()):
        model = names[number] if number < len(names) else f"timm/n{number}"
        lines.append(changed(*place, model))
    written, _ = report.write([stored(folder, [RUN, PEAKS, *lines])], folder / "to")
    texts = [path.read_text() for path in written if path.suffix in (".md", ".csv", ".tex")]
    assert not any(NO_NUMBER.search(text) for text in texts)


def test_whatever_is_read_can_be_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "FIGURES", [])
    check_report(tmp_path)


@pytest.mark.slow
def test_whatever_is_read_can_be_drawn(tmp_path):
    check_report(tmp_path)
