"""Records with extreme numbers: `bench settle` and `bench run` go on from them."""

import io
import itertools
import json

import msgspec
import pytest
from msgspec import structs
from rich.console import Console
from support.every_number import MEASURED, RUN, again, changed, extremes, stored
from support.runs import PLAN, Listener, measure

from bench.analysis.recorded import latest
from bench.analysis.settle import Question, choose
from bench.analysis.settle.ledger import Ledger
from bench.cli import answers
from bench.cli.choice import Choice
from bench.cli.forecast import forecast
from bench.cli.sweep import sweep_of
from bench.devices import DEVICES
from bench.harness.plan import PRESETS
from bench.harness.suite import Suite
from bench.records import Case, Stages
from bench.storage.history import history
from bench.storage.reader import FILE_NAME, read

OTHER = Case("swin_t", "plain", device="fake")
OTHERS = [
    structs.replace(MEASURED, case=OTHER, case_id=OTHER.case_id, round=number, sitting=number)
    for number in (1, 2)
]
# What a resumed run computes with; the other numbers are tried by `nox -s slow`.
RESUMED_FROM = {"samples_s", "stages_s", "share_s", "round", "sitting", "generation", "rested_s"}
AT_ONCE = 20  # cases of a run


def of_measured(fields=None):
    """The extremes of measurements, but of those of their cases: (path, value)."""
    for record, path, value in extremes():
        if record is MEASURED and path[0] != "case" and (fields is None or path[0] in fields):
            yield path, value


def in_no_time(record):
    """The record of a round that took no time."""
    return structs.replace(record, stages_s=Stages(), share_s=0.0)


def lines():
    """A line for each extreme of a measurement, and rounds of another case."""
    for record, path, value in extremes():
        if record is MEASURED:
            yield changed(record, path, value, "resnet50"), OTHERS
    yield msgspec.json.encode(in_no_time(MEASURED)), [in_no_time(each) for each in OTHERS]


def test_whatever_is_read_can_be_settled_and_estimated(tmp_path):
    for line, others in lines():
        out = stored(tmp_path / "out", [RUN, line, again(line, 2), *others])
        (recorded,) = latest(out)
        pairs = itertools.combinations(recorded.cases, 2)
        questions = [Question(*pair) for pair in pairs if pair[0].group == pair[1].group]
        console = Console(file=io.StringIO())
        if questions:
            board = Ledger(recorded, 0.02).board(questions)
            choose(board, 60.0)
            answers.show(console, board)
            json.dumps(answers.to_builtins(board), allow_nan=False)
        choice = Choice(Suite(), DEVICES["fake"], RUN, recorded.cases, {})
        sweep = sweep_of(choice, out, console, retry_failed=False)
        assert forecast(sweep, PRESETS["quick"], as_json=False) == 0


def check_resumed(folder, places):
    """Resume runs of which each case has one round on record, with an extreme number in it."""
    plan = structs.replace(PLAN, timed_s=0.1, min_samples=1)
    for number in itertools.count():
        some = list(itertools.islice(places, AT_ONCE))
        if not some:
            return
        written = [changed(MEASURED, *place, f"net{n}") for n, place in enumerate(some)]
        cases = [Case(f"net{n}", "plain", device="fake") for n in range(len(some))]
        part = folder / str(number)
        part.mkdir()
        (part / FILE_NAME).write_bytes(b"\n".join([msgspec.json.encode(RUN), *written, b""]))
        _, failed = measure(part, cases, plan, Listener())
        assert not failed
        records, skipped = read(part / FILE_NAME)
        assert not skipped
        for case, place in zip(cases, some, strict=True):
            assert len(history(records, case, RUN.environment_id).rounds) >= plan.rounds, place


def test_whatever_is_read_can_be_resumed(tmp_path):
    check_resumed(tmp_path, of_measured(RESUMED_FROM))


@pytest.mark.slow
def test_whatever_is_read_can_be_resumed_whatever_the_field(tmp_path):
    check_resumed(tmp_path, of_measured())
