"""Runs that are killed repeatedly: no record is lost or doubled, and no process is left."""

import itertools
import json
import os
import random
import signal
import time

import pytest
from support.sweep import SUITE, Sweep, heed_signals, wait_until

QUICK_KILLS = 8
KILLS = 200
REAL_KILLS = 10
TEAR = 0.3  # share of kills after which half a line is added, as a kill during a write leaves it
REAL = ["--device", "cpu", "--models", "timm/test_resnet.r160_in1k", "--resolution", "32"]
REAL += ["--batch", "1", "--threads", "1", "--rounds", "2", "--preset", "quick"]


class Killer:
    """Kills runs at random moments, and checks the file and the processes after each kill."""

    def __init__(self, seed: int, took_s: float) -> None:
        self.script = random.Random(seed)
        self.took_s = took_s
        self.kills = self.midway = self.torn = 0

    def until_done(self, sweep: Sweep, kills: int) -> None:
        """Run a sweep until it is complete, and kill it until there were `kills` kills."""
        before, rounds = b"", 0
        tears: set[bytes] = set()
        was_killed = True
        while was_killed:
            was_killed = self.one(sweep, kills)
            sweep.assert_nothing_runs()
            whole, rest = halves(sweep.data())
            assert whole.startswith(before), "a record on the disk was lost"
            has_grown = len(whole) > len(before)
            records = [json.loads(line) for line in whole.splitlines()]
            keys = [(r["case_id"], r["round"]) for r in records if r["type"] == "measurement"]
            has_measured = len(keys) > rounds
            assert len(set(keys)) == len(keys), "a round is on record twice"
            aside = sweep.path.with_name("results.jsonl.torn")
            set_aside = set(aside.read_bytes().splitlines()) if aside.exists() else set()
            assert set_aside | {rest} >= tears, "an incomplete line was lost"
            if has_grown or not was_killed:
                assert set_aside >= tears, "an incomplete line was not set aside"
            self.midway += was_killed and has_measured
            rounds = len(keys)
            self.took_s *= (
                1.0 if has_grown else 1.05
            )  # more time, else a busy machine never finishes
            before = whole
            if was_killed and not rest and records and self.script.random() < TEAR:
                rest = self.tear(sweep, whole)
            tears |= {rest} - {b""}
        assert not rest
        self.torn += len(tears)

    def tear(self, sweep: Sweep, whole: bytes) -> bytes:
        """Add a part of the last line to the file; return that part."""
        last = whole.splitlines()[-1]
        part = last[: self.script.randrange(1, len(last))]
        with sweep.path.open("ab") as file:
            file.write(part)
        return part

    def one(self, sweep: Sweep, kills: int) -> bool:
        """Run once; return True if the run was killed, False if it finished."""
        run = sweep.start()
        if self.kills < kills:
            time.sleep(self.script.uniform(0, self.took_s))
            run.kill()
        code = run.wait(300)
        if code == -signal.SIGKILL:
            self.kills += 1
            return True
        assert code == 0, sweep.said()
        self.took_s *= 0.9  # the estimate was too long
        return False


def halves(data):
    """Split into the complete lines and the rest."""
    whole, end, rest = data.rpartition(b"\n")
    return whole + end, rest


def kill_at_random(folder, kills, seed, arguments=()):
    """Kill sweeps `kills` times; each must end with the records of an undisturbed sweep."""
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


def test_8_kills_at_random_moments(tmp_path):
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


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SIGINT", 130),
        ("SIGTERM", 130),
        pytest.param("SIGHUP", -signal.SIGHUP, marks=pytest.mark.faults),
        pytest.param("SIGKILL", -signal.SIGKILL, marks=pytest.mark.faults),
    ],
)
def test_other_signals_lose_no_record(tmp_path, name, code):
    sweep = Sweep(tmp_path)
    run = sweep.start(start_new_session=True, preexec_fn=heed_signals)
    sweep.wait_for_rounds(3, run)
    os.killpg(run.pid, signal.Signals[name])  # as a terminal or a service manager does
    assert run.wait(60) == code, sweep.said()
    assert "Traceback" not in sweep.said()
    assert ("same command again to resume" in sweep.said()) == (code == 130)
    assert ("Finished rounds are saved" in sweep.said()) == (code == 130)
    sweep.assert_nothing_runs()
    before = sweep.data()
    assert 3 <= len(sweep.rounds()) < 12
    assert sweep.finish() == 0, sweep.said()
    assert sweep.data().startswith(before)
    assert len(set(sweep.ends())) == len(sweep.ends()) == 12


def test_an_interrupt_before_the_first_round_does_not_claim_that_rounds_are_saved(tmp_path):
    sweep = Sweep(tmp_path)
    (tmp_path / "own.toml").write_text(SUITE.replace("0.01", "5"))  # a block then takes 5 s
    run = sweep.start(preexec_fn=heed_signals)
    wait_until(lambda: "to measure" in sweep.said())
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130, sweep.said()
    assert not sweep.rounds()
    assert "No round was finished yet" in sweep.said()
    assert "Finished rounds are saved" not in sweep.said()


def test_repeated_signals_do_not_interrupt_the_clean_up(tmp_path):
    sweep = Sweep(tmp_path)
    run = sweep.start(preexec_fn=heed_signals)
    sweep.wait_for_rounds(3, run)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        run.send_signal(name)
        time.sleep(0.03)
    assert run.wait(60) == 130, sweep.said()
    assert "same command again to resume" in sweep.said()
    sweep.assert_nothing_runs()


def test_settling_that_is_killed_goes_on_with_the_same_command(tmp_path):
    sweep = Sweep(tmp_path, "--models", "resnet50,swin_t", "--device", "fake", "--batch", "1",
                  "--rounds", "1", "--preset", "quick")  # fmt: skip
    assert sweep.finish() == 0, sweep.said()
    sweep.arguments = ["settle", "out", "--for", "60s"]
    run = sweep.start()
    sweep.wait_for_rounds(2 + 2, run)
    run.kill()
    run.wait()
    sweep.assert_nothing_runs()
    assert sweep.finish() == 0, sweep.said()
    assert "1 questions: 1 decided" in sweep.said()
    ends = sweep.ends()
    assert len({end[:2] for end in ends}) == len(ends) >= 2 + 4
    assert {end[2] for end in ends} == {"rounds"}
