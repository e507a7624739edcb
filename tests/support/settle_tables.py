"""Simulated tables that are settled: process effects, drift and heavy tails, in scripted time.

`PYTHONPATH=tests python -m support.settle_tables` prints what `docs/measuring.md` says of them.
"""

import math
import random
from typing import NamedTuple

from bench.analysis import stats
from bench.analysis.settle import Answer, Board, Question, answer
from bench.harness.settling import settle
from bench.records import Case, Conditions, Measurement
from support.noise_models import MODELS, SLOW_FAULTS, Noise, mean_log, process
from support.records import measurement

NETWORKS = 9
FIRST_ROUNDS = 3  # of `bench run --preset quick`, before the questions are asked
SETTLE_S = 1800.0  # of `settle --for 30m`
MOST_ROUNDS = 120  # of uniform rounds
START_S = 5.0
DRIFT = 0.03  # of the machine, as a standard deviation of logs
MEMORY = 0.8  # correlation of the machine's state between rounds
GAPS = (0.0, 0.01, 0.03, 0.08, 0.2)  # mean log of the distance between neighbours
TABLES = 200


class Network(NamedTuple):
    """A case, the mean log of its latency, its noise, and the seconds of a round.

    The log of the machine's state counts `sensitivity` times.
    """

    case: Case
    log: float
    noise: Noise
    sensitivity: float
    seconds: float


class Table:
    """Networks, a machine whose state drifts, a clock, and the rounds measured so far."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"table {seed}")
        self._state = 0.0
        self._sittings = 0
        self.now_s = 0.0
        self.rounds: dict[Case, list[Measurement]] = {}
        self._known: dict[tuple, Answer] = {}  # by question and the numbers of rounds
        log = math.log(0.05)
        self.networks = []
        for number in range(NETWORKS):
            case = Case(f"network_{number}", "plain")
            noise = self._draw.choice(MODELS)
            own = log - mean_log(noise)
            sensitivity, seconds = self._draw.uniform(0.5, 1.5), self._draw.uniform(3, 9)
            self.networks.append(Network(case, own, noise, sensitivity, seconds))
            mean = self._draw.choice(GAPS)
            log += self._draw.expovariate(1 / mean) if mean else 0.0
            self.rounds[case] = []

    @property
    def cases(self) -> list[Case]:
        """All cases, from the fastest to the slowest."""
        return [network.case for network in self.networks]

    @property
    def questions(self) -> list[Question]:
        """The order of neighbours, and of those with one row between them."""
        pairs = zip(self.cases, self.cases[1:], strict=False)
        return [
            Question(*pair) for pair in (*pairs, *zip(self.cases, self.cases[2:], strict=False))
        ]

    def measure(self, cases: list[Case]) -> list[Case]:
        """Add a round of these cases, which take turns; nothing spoils it."""
        self._sittings += 1
        self._state = MEMORY * self._state + self._draw.gauss(0, DRIFT * math.sqrt(1 - MEMORY**2))
        self.now_s += START_S
        for network in (each for each in self.networks if each.case in cases):
            log, is_slow = process(network.noise, self._draw)
            latency_s = math.exp(network.log + log + network.sensitivity * self._state)
            self.now_s += network.seconds
            own = self.rounds[network.case]
            changes = {
                "samples_s": [latency_s],
                "sitting": self._sittings,
                "conditions": Conditions(page_faults=SLOW_FAULTS * is_slow),
            }
            own.append(measurement(network.case, len(own) + 1, **changes))
        return []

    def look(self) -> Board:
        """All questions as the rounds answer them now."""
        answers = []
        for question in self.questions:
            both = self.rounds[question.base], self.rounds[question.candidate]
            key = (question, *map(len, both))
            if key not in self._known:
                self._known[key] = answer(question, *both)
            answers.append(self._known[key])
        return Board(answers, {each.case: each.seconds for each in self.networks}, START_S)

    def is_wrong(self, given: Answer) -> bool:
        """Whether the finding contradicts the true ratio: it is not beyond, or not within, 2 %."""
        known = {each.case: each.log + mean_log(each.noise) for each in self.networks}
        true = known[given.question.candidate] - known[given.question.base]
        edge = math.log(1 + stats.MARGIN)
        holds = {"FASTER": true < -edge, "SLOWER": true > edge, "SAME": abs(true) <= edge}
        return not holds.get(given.finding, True)


class Result(NamedTuple):
    """Questions, how many of them were decided and wrongly so, and seconds: by settle, uniformly.

    Both counts of seconds are until as many questions were decided as settle decided.
    """

    questions: int
    decided: int
    wrong: int
    settle_s: float
    uniform_s: float

    def __add__(self, other: tuple) -> "Result":  # type: ignore[override]
        return Result(*map(sum, zip(self, other, strict=True)))


def simulate(seed: int, for_s: float = SETTLE_S) -> Result:
    """Settle a table for `for_s` seconds; measure it in uniform rounds until as much is decided."""
    table = Table(seed)
    for _ in range(FIRST_ROUNDS):
        table.measure(table.cases)
    decided_at: dict[int, float] = {}  # number of decided questions: when it was first reached

    def look() -> Board:
        board = table.look()
        decided_at.setdefault(_decided(board), table.now_s)
        return board

    board = settle(look, table.measure, for_s, now=lambda: table.now_s)
    decided = [each for each in board.answers if not each.is_open]
    settle_s = min(at for count, at in decided_at.items() if count >= len(decided))
    uniform_s = _uniform_s(Table(seed), len(decided))
    wrong = sum(map(table.is_wrong, decided))
    return Result(len(board.answers), len(decided), wrong, settle_s, uniform_s)


def _uniform_s(table: Table, wanted: int) -> float:
    """The least seconds of uniform rounds until `wanted` questions are decided.

    That is one round more than at the last look with fewer decided ones; MOST_ROUNDS rounds at most
    are measured. Looks are farther apart the longer it takes, since each costs time here.
    """
    seconds, look_at = 0.0, FIRST_ROUNDS
    for number in range(1, MOST_ROUNDS + 1):
        table.measure(table.cases)
        seconds = seconds or table.now_s
        if number == look_at:
            if _decided(table.look()) >= wanted:
                break
            look_at += 1 + number // 8
            seconds = 0.0
    return seconds or table.now_s


def _decided(board: Board) -> int:
    return sum(not each.is_open for each in board.answers)


def total(tables: int, for_s: float = SETTLE_S) -> Result:
    """The sum over tables 0 to `tables` - 1."""
    every = (simulate(seed, for_s) for seed in range(tables))
    return sum(every, Result(0, 0, 0, 0.0, 0.0))


if __name__ == "__main__":
    print(total(TABLES))
