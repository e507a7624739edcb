"""`bench settle` on the fake device: questions, time, bad input, and going on after an end."""

import contextlib
import json
from collections import Counter

import msgspec
import pytest
from support import command
from support.records import ENVIRONMENT, rounds
from support.results import write
from support.runs import recorded

from bench.cli import interrupts
from bench.cli.rounds import Rounds
from bench.errors import UsageError
from bench.harness import grid
from bench.harness.scheduler.patience import Patience
from bench.records import Environment, Measurement
from bench.storage import lock, reader
from bench.storage.results import Store

RUN = ("run", "--device", "fake", "--models", "resnet50,swin_t,mobilenetv3_l", "--batch", "1")
RUN += ("--preset", "quick", "--out", "out", "--rounds")
SETTLE = ("settle", "out", "--for", "60s")
BEFORE = 6  # rounds on record before settling


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The file of a run of two rounds, which answers no question yet."""
    folder = tmp_path_factory.mktemp("measured")
    assert command.call(*RUN, "2", cwd=folder).returncode == 0
    return folder / "out" / "fake" / reader.FILE_NAME


def copied(measured, folder):
    """Copy the file into a folder where `bench` can go on with it."""
    path = folder / "out" / "fake" / reader.FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(measured.read_bytes())
    return path


@pytest.fixture
def out(measured, tmp_path):
    """A copy of that file."""
    return copied(measured, tmp_path)


@pytest.fixture(scope="module")
def settled(measured, tmp_path_factory):
    """What `bench settle --json` said, and its folder."""
    folder = tmp_path_factory.mktemp("settled")
    copied(measured, folder)
    return command.call(*SETTLE, "--json", cwd=folder), folder


def changed(path, change):
    """Write the records of a file anew, each as `change` returns it."""
    records, _ = reader.read(path)
    write(path.parent, [change(record) for record in records])


def test_the_order_of_all_rows_is_found(settled):
    done, _ = settled
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [(each["base"], each["candidate"], each["finding"]) for each in answers] == [
        ("mobilenetv3_l", "swin_t", "SLOWER"),
        ("swin_t", "resnet50", "SLOWER"),
    ]
    assert all("neighbours in Table 6" in each["asked_by"] for each in answers)
    assert all(each["interval"][0] < each["ratio"] < each["interval"][1] for each in answers)


def test_progress_says_what_is_open_what_it_costs_and_when_it_ends(settled):
    said = settled[0].stderr
    assert "Settling 2 questions on fake" in said
    assert "round 1, about " in said
    assert "0 decided, 0 tied within 2.00 %, 2 open; about " in said
    assert "ends in 60 s at the latest" in said
    assert "2 questions: 2 decided, 0 tied within 2.00 %, 0 open" in said
    assert "bench report out" in said


def test_opponents_have_one_sitting_and_each_round_another(settled):
    new = recorded(settled[1], "measurement")[BEFORE:]
    sittings = Counter((each["run_id"], each["sitting"]) for each in new)
    assert min(sittings.values()) >= 2
    assert [sitting for _, sitting in sittings] == list(range(1, len(sittings) + 1))


def test_each_round_is_an_ordinary_one_which_a_run_counts(settled):
    folder = settled[1]
    new = recorded(folder, "measurement")[BEFORE:]
    assert {each["stopped_by"] for each in new} == {"rounds"}
    size = len(recorded(folder, "measurement"))
    assert command.call(*SETTLE, cwd=folder).returncode == 0  # all is answered
    assert command.call(*RUN, "3", cwd=folder).returncode == 0  # three rounds are on record
    assert len(recorded(folder, "measurement")) == size


def test_a_dry_run_says_what_is_open_and_writes_nothing(bench, out):
    before = out.read_bytes()
    done = bench(*SETTLE, "--dry-run")
    assert done.returncode == 0
    assert "about 2 more rounds of both" in done.stdout
    assert out.read_bytes() == before


def test_a_device_that_cannot_be_read_is_named_and_the_rest_is_settled(bench, out, tmp_path):
    (tmp_path / "out" / "lost").symlink_to("away")
    said = "error: cannot read out/lost: it is a link to a folder that does not exist"
    for words in (("--dry-run",), ("--dry-run", "--json"), ()):
        done = bench(*SETTLE, *words)
        assert done.returncode == 2
        assert done.stderr.count(said) == 1
        assert "Traceback" not in done.stderr
    assert len(recorded(tmp_path, "measurement")) > BEFORE


def test_a_named_question_is_asked_and_the_order_of_its_names_does_not_matter(bench, out):
    for sign in "<>":
        named = f"resnet50 {sign} mobilenetv3_l"
        done = bench(*SETTLE, "--dry-run", "--json", "--question", named)
        asked = [each for each in json.loads(done.stdout) if named in each["asked_by"]]
        assert [(each["base"], each["candidate"]) for each in asked] == [
            ("resnet50", "mobilenetv3_l")
        ]


def test_the_time_is_over_while_a_question_is_open(bench, out, monkeypatch):
    """The true ratio of two networks is 1.3525: next to the margin, so no few rounds tell."""
    for name in ("round_seconds", "start_seconds"):
        monkeypatch.setattr(f"bench.analysis.settle.ledger.{name}", lambda _: 0.01)
    done = bench("settle", "out", "--for", "2s", "--margin", "35%")
    assert done.returncode == 0
    assert "open: " in done.stdout
    assert "more round" in done.stdout


def test_blocks_wait_for_a_quiet_machine_for_the_share_that_is_asked_for(bench, out, monkeypatch):
    shares, begin = [], Patience.__init__

    def noted(self, share):
        shares.append(share)
        begin(self, share)

    monkeypatch.setattr(Patience, "__init__", noted)
    assert bench(*SETTLE, "--patience", "0.25").returncode == 0
    assert shares == [0.25]


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (["settle", "out", "--patience", "1"], "invalid patience 1", "below 1"),
        (["settle", "empty"], "no results in empty", "Measure first"),
        (["settle", "nowhere"], "nowhere", ""),
        (["settle", "out", "--margin", "0%"], "--margin '0%'", "For example: --margin 3%"),
        (["settle", "out", "--margin", "x"], "--margin 'x'", "For example: --margin 3%"),
        (["settle", "out", "--for", "0s"], "--for '0s'", "For example: --for 45m"),
        (["settle", "out", "--for", "45"], "--for '45'", "For example: --for 45m"),
        (["settle", "out", "--for", "0.1s"], "one round takes about", "several rounds"),
        (["settle", "out", "--preset", "fast"], "unknown preset", ""),
        (["settle", "out", "--device", "quantum"], "unknown device", ""),
        (["settle", "out", "--question", "resnet50"], "does not name two cases", "For example"),
        (["settle", "out", "--question", "resnet50 < deit_s"], "'deit_s'", "Cases on record"),
        (["settle", "out", "--question", "swin_t < swin_t"], "the same case", "Name two different"),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, list) else "",
)
def test_bad_input_has_one_message_with_its_remedy(bench, out, tmp_path, words, message, remedy):
    before = out.read_bytes()
    (tmp_path / "empty").mkdir()
    done = bench(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert remedy in done.stderr
    assert done.stderr.startswith("error: ")
    assert out.read_bytes() == before


def test_records_of_another_machine_are_refused(bench, tmp_path):
    write(tmp_path / "out" / "chip", [ENVIRONMENT, *rounds("resnet50"), *rounds("swin_t")])
    done = bench("settle", "out")
    assert done.returncode == 2
    assert "the records are of Test Chip 9000, and this machine is " in done.stderr
    assert "on that machine" in done.stderr


def test_records_of_another_version_are_refused_with_what_changed(bench, out):
    def older(record):
        record = msgspec.structs.replace(record, environment_id="older")
        if isinstance(record, Environment):
            record = msgspec.structs.replace(record, versions={**record.versions, "bench": "0.0.1"})
        return record

    changed(out, older)
    done = bench("settle", "out")
    assert done.returncode == 2
    assert "of another environment: bench 0.0.1 → " in done.stderr
    assert "measure here first" in done.stderr


def test_an_allocator_that_the_shell_brings_is_refused_before_its_failures_replace_rounds(
    bench, out, monkeypatch
):
    def brought(name, chip):
        raise UsageError(f"no case would have the allocator {name}", "Unset LD_PRELOAD.")

    before = out.read_bytes()
    monkeypatch.setitem(grid.CHECKS, "allocator", brought)
    done = bench(*SETTLE)
    assert done.returncode == 2
    assert "no case would have the allocator default" in done.stderr
    assert out.read_bytes() == before


def test_a_single_case_leaves_nothing_to_settle(bench, out):
    changed(out, lambda record: record)
    records, _ = reader.read(out)
    write(out.parent, [r for r in records if getattr(r, "case", None) in (None, records[1].case)])
    done = bench("settle", "out")
    assert done.returncode == 2
    assert "no two cases were measured in one setting" in done.stderr


def test_ctrl_c_keeps_the_rounds_and_the_same_command_goes_on(bench, out, monkeypatch):
    kept = Rounds.measured

    def interrupted(self, case, rounds):
        kept(self, case, rounds)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Rounds, "measured", interrupted)
        done = bench(*SETTLE)
    assert done.returncode == 130
    assert "Run the same command again to resume." in done.stderr
    assert "Finished rounds are saved" in done.stderr
    assert len(reader.read(out)[0]) > 7
    assert "2 decided" in bench(*SETTLE).stdout


def test_a_signal_ends_a_round_between_two_blocks(bench, out, monkeypatch):
    monkeypatch.setattr(interrupts, "check", _interrupt)
    assert bench(*SETTLE).returncode == 130


def _interrupt():
    raise KeyboardInterrupt


def test_a_case_that_fails_now_is_named_and_ends_with_one(bench, out):
    def crashing(record):
        if not (isinstance(record, Measurement) and record.case.model == "swin_t"):
            return record
        case = msgspec.structs.replace(record.case, model="fault/raise")
        return msgspec.structs.replace(record, case=case, case_id=case.case_id)

    changed(out, crashing)
    done = bench(*SETTLE)
    assert done.returncode == 1
    assert "fault/raise at batch 1 failed at build" in done.stdout
    assert "scripted fault" in done.stdout


def test_the_folder_of_another_run_is_not_disturbed(bench, out, monkeypatch):
    monkeypatch.setattr(lock, "WAIT_S", 0.2)
    other = Store(out.parent)
    other.open()
    with contextlib.closing(other):
        done = bench(*SETTLE)
    assert done.returncode == 2
    assert "--wait" in done.stderr
