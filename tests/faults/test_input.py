"""10,000 generated suites, files of records and command lines, most of them invalid.

Invalid input gives no traceback, no exit code 0 and no file outside `--out`, but one message with
its remedy. Commands are called in this process; some valid ones measure on the fake device.
"""

import json

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import command, drawn

from bench.analysis import rows
from bench.cli import entry_point as cli
from bench.devices.cpu import Cpu
from bench.errors import UsageError
from bench.harness import suite as suites
from bench.models import zoo
from bench.records import Chip
from bench.storage import reader, shipped

QUICK = {"suites": 140, "records": 120, "reports": 5, "commands": 140}
FULL = {"suites": 3500, "records": 2500, "reports": 100, "commands": 4000}
COMMANDS = typer.main.get_command(
    cli.app_of()
)  # made once: making it takes longer than most commands
CODES = (0, 1, 2, 3, 130)
MESSAGE_LINES = 5  # at most, for the error and its remedy


def cases(count, **strategies):
    """Return a decorator that runs a test on `count` generated cases, the same ones each time."""
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    fixed = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=quiet,
    )
    return lambda test: fixed(given(**strategies)(test))


class World:
    """A folder with input files for commands. Only `work/out` may change."""

    def __init__(self, folder, patch):
        self._folder = folder
        self._patch = patch
        self.work = folder / "work"
        self.results = self.work / "stored" / "amd-epyc" / "results.jsonl"
        self.results.parent.mkdir(parents=True)
        self.store([json.dumps(record).encode() for record in drawn.REAL_RECORDS])
        (self.work / "empty").mkdir()
        (self.work / "file").write_text("")
        (self.work / "net.py").write_text("def net(): ...\n")
        patch.chdir(self.work)
        patch.setattr(cli, "app_of", lambda _: COMMANDS)
        patch.setattr(Cpu, "identify", lambda _: Chip("cpu", "cpu", "AMD EPYC", 2, {}))
        patch.setattr(zoo, "_ask_timm", ask_timm)

    def store(self, lines):
        """Write `lines` as the file of results that the commands read."""
        self.results.write_bytes(b"\n".join(lines) + b"\n")

    def bench(self, *arguments):
        """Call `bench`; assert that no file outside `work/out` changed. Passes exceptions on."""
        before = self._everything()
        done = command.call(*arguments, cwd=self.work)
        assert self._everything() == before, "something was written outside --out"
        return done

    def _everything(self):
        outside = [p for p in self._folder.rglob("*") if self.work / "out" not in (p, *p.parents)]
        seen = {path: path.stat() for path in outside}
        return {path: (s.st_mtime_ns, s.st_size) for path, s in seen.items() if path.is_file()}


def ask_timm(names):
    """Replaces the real function, which takes seconds; tests/models/ tests it."""
    assert all(name.isascii() and name.isprintable() and len(name) <= 200 for name in names)
    return ["resnet18", "mobileone_s0"], {"resnet18": ["plain"], "mobileone_s0": ["train", "rrep"]}


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path / "world", monkeypatch)


def judge(done, wrong):
    """Assert exit code 0 or 1 if nothing is wrong, else 2 or 3 with one message and its remedy."""
    assert done.returncode in CODES
    assert (done.returncode in (2, 3)) == bool(wrong), (wrong, done)
    if wrong:
        assert done.stdout == ""
        lines = done.stderr.removesuffix("\n").split("\n")
        ours = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        if ours:
            assert 2 <= len(lines) - ours[0] <= MESSAGE_LINES, done
            assert all(map(str.isprintable, lines)), done
        else:  # a message of typer: usage, then what is wrong
            assert "Usage: " in done.stderr or lines[-1].startswith("Error: "), done


# --- suites --------------------------------------------------------------------------------


def check_suite(world, suite):
    content, wrong = suite
    (world.work / "mine.toml").write_bytes(content)
    judge(world.bench("run", "--suite", "mine.toml", "--device", "fake", "--dry-run"), wrong)


@cases(QUICK["suites"], suite=drawn.suites())
def test_suites(world, suite):
    check_suite(world, suite)


@pytest.mark.faults
@cases(FULL["suites"], suite=drawn.suites())
def test_many_suites(world, suite):
    check_suite(world, suite)


@cases(100, content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_random_bytes_are_refused_unless_they_are_a_suite(world, content):
    (world.work / "mine.toml").write_bytes(content)
    try:
        loaded = suites.load("mine.toml")
    except UsageError:
        return
    assert set(shipped._parse(world.work / "mine.toml")) <= set(loaded.__struct_fields__)


# --- records ---------------------------------------------------------------------------------


def check_records(world, results):
    lines, fates = results
    world.store(lines)
    found, warnings = reader.read(world.results)
    assert len(found) + len(warnings) == len(lines)
    assert fates.count(True) <= len(warnings) <= len(lines) - fates.count(False)
    rows.of(found)
    inside = ("--in", "stored")
    for words in (
        ("explain", "resnet50", *inside),
        ("compare", "resnet50", "swin_t", *inside),
        ("compare", "resnet50", "swin_t", "--json", *inside),
    ):
        done = world.bench(*words)
        assert all(map(str.isprintable, done.stderr.split("\n"))), done
        assert all(map(str.isprintable, done.stdout.split("\n"))), done
        judge_records(done, fates)


def judge_records(done, fates):
    """Judge a command on records; where a line may or may not be valid, accept both outcomes."""
    if all(fates):
        judge(done, "nothing is left")
    else:
        judge(done, done.returncode in (2, 3) if any(fate is not False for fate in fates) else "")


@cases(QUICK["records"], results=drawn.results())
def test_records(world, results):
    check_records(world, results)


@pytest.mark.faults
@cases(FULL["records"], results=drawn.results())
def test_many_records(world, results):
    check_records(world, results)


def check_report(world, results):
    lines, fates = results
    world.store(lines)
    judge_records(world.bench("report", "stored", "--to", "out"), fates)


@cases(QUICK["reports"], results=drawn.results())
def test_reports(world, results):
    check_report(world, results)


@pytest.mark.faults
@cases(FULL["reports"], results=drawn.results())
def test_many_reports(world, results):
    check_report(world, results)


def test_a_line_that_is_too_long_is_skipped_and_the_next_is_read(world, monkeypatch):
    lines = world.results.read_bytes().splitlines()
    monkeypatch.setattr(reader, "LINE_BYTES", max(map(len, lines)) + 1)
    huge = lines[0][:-1] + b', "more": "' + b"x" * 3 * reader.LINE_BYTES + b'"}'
    world.store([lines[0], huge, *lines[1:]])
    found, warnings = reader.read(world.results)
    assert len(found) == len(lines)
    assert [str(warning).rpartition(":")[2] for warning in warnings] == [
        f" it has more than {reader.LINE_BYTES} bytes"
    ]


# --- command lines -------------------------------------------------------------------------


@cases(QUICK["commands"], command=drawn.commands())
def test_commands(world, command):
    words, wrong = command
    judge(world.bench(*words), wrong)


@pytest.mark.faults
@cases(FULL["commands"], command=drawn.commands())
def test_many_commands(world, command):
    words, wrong = command
    judge(world.bench(*words), wrong)


def test_each_invalid_command_is_refused(world):
    for words in [[], *drawn.BAD_COMMANDS]:
        judge(world.bench(*words), "words")
