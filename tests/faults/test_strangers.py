"""Text of strangers: nothing in a record or a name acts on a terminal, a page or a table."""

import functools
import io
import os
import types
from importlib import metadata

import msgspec
import psutil
import pytest
from msgspec import structs
from rich.console import Console
from support import command, every_string
from support.every_number import EVERY, FAILED, MEASURED, PEAKS, PROFILED, RUN
from support.every_string import FILE, SEEN, canary, planted, wrong_in
from support.records import SPREAD, failure, timed

from bench import report
from bench.analysis.profile.recorded import ProfileHistory
from bench.cli import forecast
from bench.cli import profile as profile_command
from bench.cli.console import say, say_table
from bench.cli.live_table import LiveTable
from bench.cli.messages import profile_line
from bench.cli.outcome import Outcome
from bench.cli.plain_lines import PlainLines
from bench.devices import DEVICES
from bench.diagnostics.hardware import page as hardware_page
from bench.diagnostics.hardware.line import Line
from bench.diagnostics.hardware.recorded import waiting
from bench.diagnostics.selfcheck import page as selfcheck_page
from bench.diagnostics.selfcheck.findings import Criterion, Findings
from bench.models import labels
from bench.models.user.packages import GROUP
from bench.records import Case
from bench.report import devices
from bench.report.figures.catalogue import FIGURES
from bench.storage.history import History
from bench.storage.reader import FILE_NAME, decode

# Fields of a case that decide whether it is drawn, and that the last test therefore keeps.
IDENTITY = frozenset(
    {"model", "form", "device", "backend", "precision", "scenario", "environment_id", "kind"}
)
TIGHT = frozenset({"scenario"})  # a case of the tight loop, which more pages show
LINES = [planted(each, TIGHT if each is MEASURED else frozenset()) for each in EVERY]
LINES.append(every_string.renamed(planted(MEASURED), "Other"))
LINES[EVERY.index(FAILED)] = every_string.renamed(planted(FAILED), "Failed")
OUT, DEVICE = FILE.format("Out"), FILE.format("Device")


@pytest.mark.parametrize("record", EVERY, ids=lambda each: type(each).__name__)
def test_a_canary_is_in_every_text_of_the_schema(record):
    expected = set(every_string.schema(msgspec.inspect.type_info(type(record))))
    missing = expected - every_string.places(record)
    assert missing <= {("case_id",)}, "give it a value in tests/support/every_number.py"
    decode(planted(record))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Results in two folders, with a canary in every text and in every name."""
    monkeypatch.setattr(report, "FIGURES", [])
    for name in (OUT, "base"):
        folder = tmp_path / name / DEVICE
        folder.mkdir(parents=True)
        (folder / FILE_NAME).write_bytes(b"\n".join([*LINES, b'{"' + canary("line").encode()]))
    (tmp_path / OUT / FILE.format("Lost")).symlink_to("nowhere")
    return functools.partial(checked, tmp_path)


def checked(folder, *words):
    """Call `bench`; check everything that it prints, and every file below the folder."""
    done = command.call(*words, cwd=folder)
    assert "Traceback" not in done.stderr
    is_json, is_page = "--json" in words and done.stdout, words[0] == "compare"
    kind = ".json" if is_json else ".md" if is_page else "terminal"
    wrong = [("stdout", each) for each in wrong_in(kind, done.stdout.encode()) if done.stdout]
    wrong += [("stderr", each) for each in wrong_in("terminal", done.stderr.encode())]
    for path in folder.rglob("*"):
        if path.suffix in every_string.CHECKS and path.is_file():
            wrong += [(path.name, each) for each in wrong_in(path.suffix, path.read_bytes())]
    assert wrong == [], words
    return done


def test_reports(world, tmp_path):
    done = world("report", OUT)
    assert "CanaryOut" in done.stderr
    written = [path for path in (tmp_path / OUT).rglob("*.*") if path.name != FILE_NAME]
    assert {path.suffix for path in written} == {".md", ".csv", ".html", ".tex"}
    for suffix in (".md", ".csv", ".html", ".tex"):
        texts = [path.read_text() for path in written if path.suffix == suffix]
        assert "CanaryModel" in "".join(texts)
    (tmp_path / FILE.format("Top")).write_text("model,top1\n'=mine,80\n")
    done = world("report", OUT, "base", "--to", "to", "--list", "--top1", FILE.format("Top"))
    assert "CanaryDevice" in done.stdout


def test_explanations_and_comparisons(world):
    names = [decode(line).case_id for line in (LINES[0], LINES[-1])]
    said = world("explain", names[0], "--in", OUT).stdout
    assert "CanaryModel" in said
    assert "CanaryWarnings" in said
    world("explain", names[0], "--in", OUT, "--json")
    world("explain", FILE.format("Nothing"), "--in", OUT)
    for words in (("--in", OUT), ("--in", OUT, "--json", "--to", "to")):
        assert "CanaryOther" in world("compare", *names, *words).stdout
    assert "CanaryModel" in world("compare", OUT, "base").stdout
    world("compare", OUT, FILE.format("Nothing"))


def test_lists_and_the_machine(world, monkeypatch):
    point = metadata.EntryPoint(FILE.format("Point"), "a.b:c", GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
    chip = msgspec.structs.replace(
        DEVICES["fake"].identify(), name=canary("chip", has_controls=True)
    )
    monkeypatch.setattr(DEVICES["fake"], "identify", lambda: chip)
    monkeypatch.setattr(psutil, "process_iter", lambda *_: [Busy()])
    assert "CanaryPoint" in world("list", "models").stdout
    assert "CanaryChip" in world("list", "devices").stdout
    assert "CanaryPoint" in world("list", "--json").stdout
    said = world("doctor", "--out", OUT).stdout
    assert "CanaryProcess" in said
    assert "CanaryOut" in said
    world("doctor", "--out", OUT, "--json")


class Busy:
    """A process with a canary for a name."""

    pid = 0
    info = {"name": canary("process", has_controls=True)}  # noqa: RUF012

    def environ(self):
        return {}

    def cpu_percent(self):
        return 99.0


def test_runs(world, tmp_path, monkeypatch):
    """The folder has a run of an environment of somebody else, whose versions are then named."""
    chip = structs.replace(DEVICES["fake"].identify(), name=canary("chip", has_controls=True))
    monkeypatch.setattr(DEVICES["fake"], "identify", lambda: chip)
    out = FILE.format("Run")
    folder = tmp_path / out / chip.slug
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_bytes(LINES[EVERY.index(RUN)] + b"\n{half a line")
    run = ("run", "--device", "fake", "--models", "resnet50", "--rounds", "1", "--batch", "1")
    run += ("--out", out)
    said = world(*run, "--label", f"resnet50=CanaryLabel{SEEN}").stdout
    for name in ("Run", "Chip", "Variables", f"Label{SEEN}"):
        assert f"Canary{name}" in said
    for words in (("--json",), ("--dry-run",), ("--dry-run", "--json"), ("--again",)):
        world(*run, *words)
    world("report", out)


def test_settling(world, tmp_path, monkeypatch):
    """One of the networks has a canary for a name; its `case_id` asks about it."""
    chip = structs.replace(DEVICES["fake"].identify(), name=canary("chip", has_controls=True))
    monkeypatch.setattr(DEVICES["fake"], "identify", lambda: chip)
    out = FILE.format("Run")
    run = ("run", "--device", "fake", "--models", "resnet50,swin_t", "--rounds", "2")
    assert world(*run, "--batch", "1", "--out", out).returncode == 0
    path = tmp_path / out / chip.slug / FILE_NAME
    records = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    for record in records:
        if record.get("case", {}).get("model") == "swin_t":
            record["case"]["model"] = canary("model")
    lines = [every_string.line_of(record) for record in records]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    case_id = next(decode(line).case_id for line in lines if b"CanaryModel" in line)
    for words in (("--dry-run",), ("--dry-run", "--json"), ("--for", "60s")):
        done = world("settle", out, *words, "--question", f"resnet50 < {case_id}")
        assert done.returncode in (0, 1), done.stderr
        assert "CanaryModel" in done.stdout
    assert "CanaryChip" in done.stdout
    for question in (FILE.format("Question"), f"{FILE.format('Question')} < swin_t"):
        done = world("settle", out, "--question", question)
        assert done.returncode == 2
        assert "CanaryQuestion" in done.stderr


@pytest.mark.parametrize("shown", ["page", "difference", "json"])
def test_profiles(shown, capsys):
    lines = (planted(PROFILED), every_string.renamed(planted(PROFILED), "Other"))
    found = [ProfileHistory([decode(line)], None, 1) for line in lines]
    store = types.SimpleNamespace(records=list(map(decode, LINES[: len(EVERY)])))
    profile_command._show(
        found, store, is_difference=shown == "difference", as_json=shown == "json"
    )
    said = capsys.readouterr().out
    assert wrong_in(".json" if shown == "json" else ".md", said.encode()) == []
    assert "CanaryLabel" in said
    file = io.StringIO()
    for known in found:
        say(Console(file=file, width=400), profile_line(known))
    assert wrong_in("terminal", file.getvalue().encode()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("report", "--" + FILE.format("Option").replace("=", "")),
        ("report", FILE.format("Nothing")),
        ("list", FILE.format("Kind")),
        ("list", "models", FILE.format("More")),
        (FILE.format("Command"),),
        ("run", "--batch", FILE.format("Number")),
        ("run", "--models", FILE.format("Model"), "--device", "fake"),
        ("run", "--suite", FILE.format("Suite"), "--device", "fake"),
        ("run", "--device", FILE.format("Device")),
        ("profile", "--models", "resnet50", "--backend", FILE.format("Backend")),
    ],
)
def test_wrong_arguments(tmp_path, words):
    done = checked(tmp_path, *words)
    assert done.returncode == 2
    assert "Canary" in done.stderr


def test_pages_of_a_selfcheck_and_of_a_first_contact():
    environment = decode(planted(RUN))
    texts = [canary(name, has_controls=True) for name in ("claim", "required", "found")]
    findings = Findings([Criterion(*texts, passed=True)], {}, [], [], {texts[0]: texts[2]})
    lines = [Line(texts[0], "FAIL", *texts), waiting(texts[0], texts[1])]
    for page in (
        selfcheck_page.to_markdown(findings, environment),
        hardware_page.to_markdown(lines, environment),
    ):
        assert wrong_in(".md", page.encode()) == []
        for name in ("Command", "Claim", "Found"):
            assert f"Canary{name}" in page


@pytest.mark.parametrize("display", [PlainLines, LiveTable])
def test_progress(display):
    """On a terminal too, where rich writes escape sequences of its own."""
    case = Case(canary("model"), canary("form"), device="fake")
    failed = failure(case, error=canary("error"), message=canary("message", has_controls=True))
    file = io.StringIO()
    console = Console(file=file, width=400, force_terminal=display is LiveTable, color_system=None)
    with display(console, Tracked()) as shown:
        shown.started([case], [])
        shown.warmed(case, 0.01)
        shown.failed(failed)
    text = every_string.without_sequences(file.getvalue())
    assert wrong_in("terminal", text.encode()) == []
    assert "CanaryMessage[red]" in text


def test_tables():
    """Labels come from flags and records, and a name of a file may look like markup of rich."""
    case = Case(f"CanaryModel{SEEN}", canary("form"), device="fake")
    file = io.StringIO()
    console = Console(file=file, width=400)
    Outcome({case: History([], failure(case))}, {}).show(console)
    say_table(console, forecast.table_of([case], ["1 s"]))
    assert wrong_in("terminal", file.getvalue().encode()) == []
    assert file.getvalue().count(f"CanaryModel{SEEN}@=CanaryForm{SEEN}") == 2


class Tracked:
    """A tracker that knows nothing."""

    def __getattr__(self, name):
        return lambda *_: 0.0


@pytest.mark.parametrize("kept", [IDENTITY, IDENTITY - {"form", "backend", "precision"}])
@pytest.mark.parametrize("figure", FIGURES, ids=lambda each: each.name)
def test_pictures(figure, kept):
    """A letter that cannot be drawn would be a warning of matplotlib, which is an error here."""
    measured = [
        timed(model, form, device="fake", spread=SPREAD * 30)
        for model, form in (("resnet50", "plain"), ("repnext_u3_t", "train"))
    ]
    measured += [timed("repnext_u3_t", "srep", device="fake"), timed("timm/x", device="fake")]
    if figure.name == "curves":
        measured += [timed("resnet50", device="fake", batch=size) for size in (2, 4)]
    records = [*measured, RUN, PEAKS, PROFILED]
    lines = [decode(planted(record, kept)) for record in records]
    named = {"resnet50": canary("label"), "repnext_u3_t": canary("other label")}
    (device,) = devices.of(DEVICE, labels.stamped(lines, named))
    drawn = figure.draw([device])
    assert drawn or "form" not in kept
    for name, content in drawn.items():
        assert wrong_in(os.path.splitext(name)[1], content) == []
