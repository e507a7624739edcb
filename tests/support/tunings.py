"""Simulated tunings: process effects, drift and heavy tails, in scripted time.

`PYTHONPATH=tests python -m support.tunings` prints what `docs/tune.md` says of them.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis.settle import Board, answer
from bench.harness.settling import settle
from bench.records import Case, Conditions, Measurement
from bench.tune import final
from bench.tune.search import Search
from bench.tune.space import Space
from bench.tune.tuner import FINAL_ROUNDS, SEARCH_SHARE
from bench.tune.tuning import Tuning
from support.noise_models import MODELS, SLOW_FAULTS, process
from support.records import measurement

FORMS = ("train", "rrep", "rrep_fc", "srep")
RUNTIMES = (
    ("eager", "fp32"),
    ("channels_last", "fp32"),
    ("compile", "fp32"),
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("aotinductor", "fp32"),
    ("executorch", "fp32"),
)
SPACE = Space(
    tuple(Case("repnext_u3_t", form, threads=2) for form in FORMS),
    RUNTIMES,
    ("default", "arena"),
    ("default", "always"),
    (2, 1),
)
TUNE_S = 1200.0  # of `bench tune --for 20m`
START_S = 5.0
ROUND_S = 5.0
DRIFT = 0.03  # of the machine, as a standard deviation of logs
MEMORY = 0.8  # correlation of the machine's state between rounds
LATENCY_S = 0.1
CALLS = 20  # of a tuner that takes the mean of so many calls of one process
CALL_SPREAD = 0.05  # between calls of one process
GOOD_ENOUGH = 0.02
TUNINGS = 200

Cost = Callable[[Case], float]  # the log of the latency of a case over LATENCY_S


def alike(_: Case) -> float:
    """All candidates are the same."""
    return 0.0


def costs(seed: int) -> Cost:
    """Draw how much forms, runtimes and settings change the log of the latency, and pairs."""

    def log(case: Case) -> float:
        parts = [
            (0.15, case.form),
            (0.3, case.backend),
            (0.05, case.form + case.backend),
            (0.08, case.allocator + case.huge_pages) if case.backend == "eager" else (0.0, ""),
        ]
        drawn = [random.Random(f"{seed} {word}").gauss(0, spread) for spread, word in parts]
        return sum(drawn) + 0.5 * (case.threads == 1)

    return log


class Machine:
    """A machine whose state drifts, with a clock, and the rounds that it has measured."""

    def __init__(self, seed: int, cost: Cost) -> None:
        self._draw = random.Random(f"tuning {seed}")
        self._cost = cost
        self._noise = self._draw.choice(MODELS)
        self._state = 0.0
        self._sittings = 0
        self.run_id = "search"
        self.now_s = 0.0
        self.rounds: list[Measurement] = []

    def measure(self, cases: Sequence[Case]) -> list[Case]:
        """Add a round of these cases, which take turns; nothing spoils it."""
        self._sittings += 1
        self._state = MEMORY * self._state + self._draw.gauss(0, DRIFT * math.sqrt(1 - MEMORY**2))
        self.now_s += START_S + ROUND_S * len(cases)
        for case in cases:
            log, is_slow = process(self._noise, self._draw)
            latency_s = LATENCY_S * math.exp(self._cost(case) + log + self._state)
            changes = {
                "samples_s": [latency_s],
                "run_id": self.run_id,
                "sitting": self._sittings,
                "conditions": Conditions(page_faults=SLOW_FAULTS * is_slow),
            }
            number = 1 + sum(each.case == case for each in self.of(self.run_id))
            self.rounds.append(measurement(case, number, **changes))
        return []

    def of(self, run_id: str) -> list[Measurement]:
        """The rounds of the search, or of the final."""
        return [each for each in self.rounds if each.run_id == run_id]

    def by_twenty_calls(self, cases: Sequence[Case]) -> Case:
        """What a tuner takes that compares the means of CALLS calls of one process each."""

        def mean(case: Case) -> float:
            spread = self._draw.gauss(0, CALL_SPREAD / math.sqrt(CALLS))
            state = self._draw.gauss(0, DRIFT)
            return self._cost(case) + process(self._noise, self._draw)[0] + state + spread

        return min(cases, key=mean)


class Tuned(NamedTuple):
    """The outcome of a tuning, what it tried, its seconds, and what twenty calls would take."""

    outcome: final.Outcome
    known: Sequence[Case]
    seconds: float
    by_calls: Case

    def regret(self, cost: Cost) -> float:
        """By which share the winner is slower than the best of everything."""
        return math.exp(cost(self.outcome.winner) - cost(min(everything(), key=cost))) - 1


def everything() -> list[Case]:
    """All combinations of the space."""
    return [
        msgspec.structs.replace(
            form,
            backend=backend,
            precision=precision,
            allocator=allocator,
            huge_pages=pages,
            threads=threads,
        )
        for form in SPACE.forms
        for backend, precision in SPACE.runtimes
        for allocator in SPACE.allocator
        for pages in SPACE.huge_pages
        for threads in SPACE.threads
    ]


def tune(seed: int, cost: Cost, for_s: float = TUNE_S) -> Tuned:
    """Tune on a simulated machine."""
    machine = Machine(seed, cost)
    search = Search(
        lambda: machine.of("search"),
        machine.measure,
        lambda _: None,
        SEARCH_SHARE * for_s,
        now=lambda: machine.now_s,
    )
    tuning = search.run(Tuning(SPACE, "env"))
    machine.run_id = "final"
    for _ in range(FINAL_ROUNDS):
        machine.measure(final.cases(tuning))

    def look() -> Board:
        known = machine.of("final")
        rounds = {c: [e for e in known if e.case == c] for c in final.cases(tuning)}
        answers = [
            answer(each, rounds[each.base], rounds[each.candidate])
            for each in final.questions(tuning)
        ]
        return Board(answers, dict.fromkeys(rounds, ROUND_S), START_S)

    board = settle(look, machine.measure, for_s - machine.now_s, now=lambda: machine.now_s)
    known = sorted(tuning.known)
    calls = machine.by_twenty_calls(known)
    return Tuned(final.outcome(tuning, board), known, machine.now_s, calls)


class Summary(NamedTuple):
    """Numbers over many tunings."""

    tunings: int
    faster: int  # said FASTER
    decided: int
    mean_regret: float
    regretted: int  # tunings whose winner is over GOOD_ENOUGH slower than the best of everything
    largest_regret: float
    wrong_by_calls: int  # by how many the winner of twenty calls is over GOOD_ENOUGH slower
    seconds: float


def summary(count: int, cost_of: Callable[[int], Cost]) -> Summary:
    """Tune `count` times, each with costs of its own."""
    tuned = [tune(seed, cost_of(seed)) for seed in range(count)]
    regrets = [each.regret(cost_of(seed)) for seed, each in enumerate(tuned)]
    wrong = 0
    for seed, each in enumerate(tuned):
        cost = cost_of(seed)
        best = min(each.known, key=cost)
        wrong += cost(each.by_calls) - cost(best) > GOOD_ENOUGH
    return Summary(
        count,
        sum(each.outcome.finding == "FASTER" for each in tuned),
        sum(each.outcome.finding != "UNDECIDED" for each in tuned),
        statistics.fmean(regrets),
        sum(each > GOOD_ENOUGH for each in regrets),
        max(regrets),
        wrong,
        statistics.fmean(each.seconds for each in tuned),
    )


if __name__ == "__main__":
    print("all alike:", summary(TUNINGS, lambda _: alike))
    print("of different speed:", summary(TUNINGS, costs))
