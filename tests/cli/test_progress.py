"""What a run prints while it measures: exact text, on consoles of several widths."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from support.records import ENVIRONMENT, failure, measurement

from bench.analysis.reasons import Observation, Reason, percent
from bench.analysis.verdict import Verdict
from bench.cli.choice import Choice
from bench.cli.live_table import LiveTable
from bench.cli.messages import FIRST_WAIT
from bench.cli.outcome import Outcome
from bench.cli.plain_lines import PlainLines
from bench.cli.sweep import conclude, sweep_of
from bench.cli.tracker import Tracker
from bench.devices import DEVICES
from bench.harness.plan import PRESETS
from bench.harness.scheduler.estimate import CaseProgress
from bench.harness.suite import Suite
from bench.records import Case
from bench.storage.history import History

QUICK = PRESETS["quick"]
FAST = Case("mobilenetv3_l", "plain")
FORM = Case("repnext_u3_t", "rrep_fc")
BROKEN = Case("timm/[red]trap", "plain")


class Screen:
    """A console that stores what it prints."""

    def __init__(self, width, terminal):
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, width=width, height=30, force_terminal=terminal, highlight=False
        )

    @property
    def text(self):
        return self.file.getvalue()


def play(display):
    """Send the events of a short run: two cases are measured, a third fails."""
    with display:
        display.started([FAST, FORM, BROKEN], [])
        for case, iteration_s in ((FAST, 0.012), (FORM, 0.070)):
            display.preparing(case)
            display.warmed(case, iteration_s)
        display.failed(failure(BROKEN, message="no\nsuch thing"))
        display.sampled(FAST, [], [0.0121, 0.0119])
        display.measured(FAST, [measurement(FAST)])
        display.measured(FORM, [measurement(FORM, stopped_by="rounds")])


def tracker():
    return Tracker(QUICK, {case: CaseProgress(0.1) for case in (FAST, FORM, BROKEN)})


def test_plain_lines_have_a_row_for_each_case_and_each_round():
    screen = Screen(200, terminal=False)
    play(PlainLines(screen.console, tracker()))
    lines = screen.text.splitlines()
    assert lines[0].startswith("3 to measure, about ")
    first = "mobilenetv3_l batch 1 12.0 ms 83.3 img/s n=1 provisional"
    assert lines[1] == FIRST_WAIT  # nothing else is printed for some ten seconds
    assert " ".join(lines[2].split()) == first
    assert lines[4] == "timm/[red]trap at batch 1 failed at check: CheckError: no such thing"
    assert "round 1," in lines[5]
    assert lines[6].endswith("done after 1 (rounds)")
    assert "\x1b" not in screen.text


def test_plain_lines_of_a_simulated_device_import_nothing():
    screen = Screen(200, terminal=False)
    case = Case("mobilenetv3_l", "plain", device="fake")
    PlainLines(screen.console, tracker()).started([case], [])
    assert FIRST_WAIT not in screen.text


def test_the_live_table_shows_what_a_case_waits_for():
    screen = Screen(120, terminal=True)
    with LiveTable(screen.console, tracker()) as display:
        display.started([FAST, FORM], [])
        assert "imports torch and timm" in screen.text
        assert "builds, checks, warms up" not in screen.text
        display.preparing(FAST)
        assert "builds, checks, warms up" in screen.text


@pytest.mark.parametrize("width", [40, 60, 100])
def test_the_live_table_fits_its_terminal(width):
    screen = Screen(width, terminal=True)
    play(LiveTable(screen.console, tracker()))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.text)
    assert "latency" in shown
    assert "mobilenetv3" in shown
    rows = [line for line in shown.replace("\r", "\n").splitlines() if line.startswith("repnext")]
    assert rows
    assert max(len(line) for line in rows) <= width
    assert rows[-1].split()[1:3] == ["11.0", "90.9"]


def test_the_latency_is_the_mean_of_the_medians_while_a_round_runs_and_at_the_end():
    screen = Screen(100, terminal=True)
    with LiveTable(screen.console, tracker()) as display:
        display.started([FORM], [])
        display.sampled(FORM, [[0.010] * 9], [0.020, 0.020])
    assert re.search(r"repnext_u3_t@rrep_fc +15\.0 +66\.7 +11 ", screen.text)
    latencies = ([0.010] * 9, [0.020] * 2, [0.015])
    rounds = [measurement(FORM, n, samples_s=each) for n, each in enumerate(latencies, 1)]
    (found,) = Outcome({FORM: History(rounds, None)}, {}).to_builtins()
    assert (found["latency_s"], found["median_s"]) == (pytest.approx(0.015), 0.010)
    assert found["mean_s"] == pytest.approx(0.145 / 12)
    assert found["throughput_img_s"] == pytest.approx(1 / 0.015)
    low, high = found["interval_s"]
    assert low < found["latency_s"] < high
    (few,) = Outcome({FORM: History(rounds[:2], None)}, {}).to_builtins()
    assert few["interval_s"] is None


def test_names_are_not_interpreted_as_markup():
    screen = Screen(100, terminal=True)
    play(LiveTable(screen.console, tracker()))
    assert "timm/[red]trap" in screen.text


def test_a_run_ends_with_a_table_the_file_of_results_and_the_next_command(tmp_path):
    screen = Screen(100, terminal=False)
    histories = {
        FAST: History([measurement(FAST, stopped_by="rounds")], None),
        BROKEN: History([], failure(BROKEN)),
    }
    seen = Reason(Observation.OTHERS, "SUSPECT", (percent(0.12),))
    verdicts = {FAST: Verdict("SUSPECT", [seen])}
    choice = Choice(Suite(), DEVICES["fake"], ENVIRONMENT, [FAST, BROKEN], {})
    sweep = sweep_of(choice, tmp_path, screen.console, retry_failed=False)
    outcome = Outcome(histories, verdicts)
    outcome.show(screen.console)
    assert conclude(sweep, outcome.failures, Path("my out")) == 1
    lines = [line.rstrip() for line in screen.text.splitlines() if line.strip()]
    assert lines[1].split() == ["mobilenetv3_l", "1", "11.0", "90.9", "11.0", "±", "1.0", "3"]
    assert lines[2].split() == ["timm/[red]trap", "1", "failed:", "check"]
    doubt = "mobilenetv3_l at batch 1 is SUSPECT: other processes used 12 % of the CPUs"
    assert doubt in lines
    assert "timm/[red]trap at batch 1 failed at check: CheckError: output is not finite" in lines
    assert "again:   add --retry-failed to measure the failed cases again" in lines
    assert f"results: {tmp_path}/test-chip-9000/results.jsonl" in lines
    assert lines[-1] == "next:    bench report 'my out'"


def test_the_time_left_decreases_to_zero():
    follow = tracker()
    before = follow.left_s()
    follow.warmed(FAST, 0.02)
    follow.measured(measurement(FAST, stopped_by="rounds"))
    assert 0 < follow.left_s() < before
    follow.failed(BROKEN)
    follow.measured(measurement(FORM, stopped_by="budget"))
    assert follow.left_s() == 0
