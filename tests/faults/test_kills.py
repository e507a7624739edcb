"""A sweep that is killed again and again: nothing lost, nothing twice, nobody left behind."""

import itertools
import json
import os
import random
import signal
import time

import pytest
from support.sweep import Sweep

QUICK_KILLS = 8
KILLS = 200
REAL_KILLS = 10
TEAR = 0.3  # of all kills leave half a line, as one in the middle of a write does
REAL = ["--device", "cpu", "--models", "timm/test_resnet.r160_in1k", "--resolution", "32"]
REAL += ["--batch", "1", "--threads", "1", "--rounds", "2", "--preset", "quick"]


class Killer:
    """Kills runs at random moments of the time that one takes, and looks at what is left."""

    def __init__(self, seed: int, took_s: float) -> None:
        self.script = random.Random(seed)
        self.took_s = took_s
        self.kills = self.midway = self.torn = 0

    def until_done(self, sweep: Sweep, kills: int) -> None:
        """Go on with a sweep until it is done, killing it until there were so many kills."""
        before, rounds = b"", 0
        tears: set[bytes] = set()
        was_killed = True
        while was_killed:
            was_killed = self.one(sweep, kills)
            sweep.assert_nothing_runs()
            whole, rest = halves(sweep.data())
            assert whole.startswith(before), "a record that was on the disk is gone"
            has_grown = len(whole) > len(before)
            records = [json.loads(line) for line in whole.splitlines()]
            keys = [(r["case_id"], r["round"]) for r in records if r["type"] == "measurement"]
            has_measured = len(keys) > rounds
            assert len(set(keys)) == len(keys), "a round is there twice"
            aside = sweep.path.with_name("results.jsonl.torn")
            set_aside = set(aside.read_bytes().splitlines()) if aside.exists() else set()
            assert set_aside | {rest} >= tears, "a torn line is gone"
            if has_grown or not was_killed:
                assert set_aside >= tears, "it went on without setting a torn line aside"
            self.midway += was_killed and has_measured
            rounds = len(keys)
            self.took_s *= 1.0 if has_grown else 1.05  # else a busy machine never ends
            before = whole
            if was_killed and not rest and records and self.script.random() < TEAR:
                rest = self.tear(sweep, whole)
            tears |= {rest} - {b""}
        assert not rest
        self.torn += len(tears)

    def tear(self, sweep: Sweep, whole: bytes) -> bytes:
        """Leave a part of a line at the end of the file."""
        last = whole.splitlines()[-1]
        part = last[: self.script.randrange(1, len(last))]
        with sweep.path.open("ab") as file:
            file.write(part)
        return part

    def one(self, sweep: Sweep, kills: int) -> bool:
        """Whether a run was killed; else it came to its end."""
        run = sweep.start()
        if self.kills < kills:
            time.sleep(self.script.uniform(0, self.took_s))
            run.kill()
        code = run.wait(300)
        if code == -signal.SIGKILL:
            self.kills += 1
            return True
        assert code == 0, sweep.said()
        self.took_s *= 0.9  # it had been a busy machine
        return False


def halves(data):
    """The whole lines, and what follows them."""
    whole, end, rest = data.rpartition(b"\n")
    return whole + end, rest


def kill_at_random(folder, kills, seed, arguments=()):
    """Sweep after sweep, each in the end with what one left alone has; the killer."""
    alone = Sweep(folder / "alone", *arguments)
    began = time.monotonic()
    assert alone.finish() == 0, alone.said()
    killer = Killer(seed, time.monotonic() - began)
    for number in itertools.takewhile(lambda _: killer.kills < kills, itertools.count()):
        sweep = Sweep(folder / f"{number}", *arguments)
        killer.until_done(sweep, kills)
        assert sorted(sweep.ends()) == sorted(alone.ends())
        if not arguments:  # scripted numbers are the same
            assert samples(sweep) == samples(alone)
    assert killer.kills == kills
    print(f"{kills} kills, {killer.midway} midway, {killer.torn} torn lines")
    return killer


def samples(sweep):
    return {(r["case_id"], r["round"]): r["samples_s"] for r in sweep.rounds()}


def test_a_few_kills_at_random_moments(tmp_path):
    assert kill_at_random(tmp_path, QUICK_KILLS, seed=1).midway


@pytest.mark.faults
def test_200_kills_at_random_moments(tmp_path):
    killer = kill_at_random(tmp_path, KILLS, seed=2)
    assert killer.midway >= KILLS / 4
    assert killer.torn >= KILLS / 10


@pytest.mark.faults
def test_10_kills_of_a_real_run_at_random_moments(tmp_path):
    killer = kill_at_random(tmp_path, REAL_KILLS, seed=3, arguments=[*REAL, "--rounds", "4"])
    assert killer.midway >= 2


@pytest.mark.slow
def test_a_real_run_that_is_killed_between_its_rounds(tmp_path):
    sweep = Sweep(tmp_path, *REAL)
    run = sweep.start()
    sweep.wait_for_rounds(1, run)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    sweep.assert_nothing_runs()
    before = sweep.data()
    assert sweep.finish() == 0, sweep.said()
    assert sweep.data().startswith(before)
    assert [number for _, number, _ in sweep.ends()] == [1, 2]


def heed_signals():
    """Whoever runs the tests may ignore them, as nohup does."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SIGINT", 130),
        ("SIGTERM", 130),
        pytest.param("SIGHUP", -signal.SIGHUP, marks=pytest.mark.faults),
        pytest.param("SIGKILL", -signal.SIGKILL, marks=pytest.mark.faults),
    ],
)
def test_other_signals_lose_nothing_either(tmp_path, name, code):
    sweep = Sweep(tmp_path)
    run = sweep.start(start_new_session=True, preexec_fn=heed_signals)
    sweep.wait_for_rounds(3, run)
    os.killpg(run.pid, signal.Signals[name])  # as a terminal or a service manager does
    assert run.wait(60) == code
    assert "Traceback" not in sweep.said()
    assert ("same command again goes on" in sweep.said()) == (code == 130)
    sweep.assert_nothing_runs()
    before = sweep.data()
    assert 3 <= len(sweep.rounds()) < 12
    assert sweep.finish() == 0, sweep.said()
    assert sweep.data().startswith(before)
    assert len(set(sweep.ends())) == len(sweep.ends()) == 12


def test_who_interrupts_again_and_again_does_not_end_the_tidying_up(tmp_path):
    sweep = Sweep(tmp_path)
    run = sweep.start(preexec_fn=heed_signals)
    sweep.wait_for_rounds(3, run)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        run.send_signal(name)
        time.sleep(0.03)
    assert run.wait(60) == 130
    assert "same command again goes on" in sweep.said()
    sweep.assert_nothing_runs()
