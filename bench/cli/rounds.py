"""The rounds of `bench settle`: what the records answer now, and one round more."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from bench.analysis.recorded import Recorded
from bench.analysis.settle import Board, Question, Round
from bench.analysis.settle.ledger import Ledger
from bench.analysis.verdict import usable_cpus
from bench.cli import answers, interrupts
from bench.cli.console import say
from bench.cli.messages import disturbance_lines
from bench.cli.sweep import Sweep
from bench.harness import remeasure, settling
from bench.harness.plan import Plan
from bench.harness.scheduler.listener import Listener
from bench.models.naming import selector
from bench.records import Case, Environment, Failure, Measurement, of_cases
from bench.report import devices, questions
from bench.text import duration


class Rounds(Listener):
    """The questions about one folder of results, their answers, and the rounds that are added.

    `named` are the pairs that the user asks about, with the words of the question.
    """

    def __init__(
        self, sweep: Sweep, named: Sequence[tuple[Case, Case, str]], margin: float
    ) -> None:
        self._sweep = sweep
        self._named = named
        self._margin = margin
        here = sweep.environment.environment_id
        records = [each for each in sweep.store.records if each.environment_id == here]
        self._environments = [each for each in records if isinstance(each, Environment)]
        own = list(of_cases(records))
        recorded = Recorded(sweep.environment, own, usable_cpus=usable_cpus(self._environments))
        self._ledger = Ledger(recorded, margin)
        self._questions = self._ask()
        self._number = 0
        self.failures: list[Failure] = []

    @property
    def console(self) -> Console:
        """The console for progress."""
        return self._sweep.console

    def look(self) -> Board:
        """Return what the records answer."""
        return self._ledger.board(self._questions)

    def ask_again(self) -> Board:
        """Return what the records answer of the questions that the new order of rows asks."""
        self._questions = self._ask()
        return self.look()

    def settle(self, plan: Plan, for_s: float) -> Board:
        """Measure rounds until every question is answered or the time is over."""
        board = self.look()
        if not board.open:
            return board
        cases = self._ledger.recorded.cases
        sources, reasons = remeasure.found_again(cases)
        self._ledger = Ledger(self._ledger.recorded, self._margin, reasons)
        measure = remeasure.one_by_one(
            plan, self._sweep.store, self._sweep.environment, self, sources
        )
        return settling.settle(self.look, measure, for_s, self._tell, ask_again=self.ask_again)

    def _ask(self) -> list[Question]:
        records = [*self._environments, *self._ledger.recorded.records]
        device = devices.of(self._sweep.chip.slug, records)[-1]
        every = [*self._named, *questions.asked(device)]
        return questions.merged(every)

    def _tell(self, board: Board, chosen: Round, left_s: float) -> None:
        self._number += 1
        names = ", ".join(selector(case, batch=True) for case in chosen.cases)
        say(self.console, f"round {self._number}, about {duration(chosen.seconds)}: {names}")
        say(
            self.console,
            f"  {answers.counted(board)}; {answers.cost(board)}; "
            f"ends in {duration(left_s)} at the latest",
        )

    # --- the events of Listener ---

    def sampled(
        self, case: Case, earlier: Sequence[Sequence[float]], samples: Sequence[float]
    ) -> None:
        """Let Ctrl-C end the run."""
        interrupts.check()

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """Keep the round, and say which other network disturbed it."""
        self._ledger.add([rounds[-1]])
        for line in disturbance_lines(rounds[-1]):
            say(self.console, line)

    def failed(self, record: Failure) -> None:
        """Keep the failure."""
        self._ledger.add([record])
        self.failures.append(record)
