"""What a run tells the display: one method per event."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import Case, Failure, Measurement


class Listener:
    """Receives the events of a run. The run calls it between blocks, never during a block.

    A class that inherits from this one does nothing at the events that it does not override.
    """

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """The run begins; `todo` are the cases to measure, `done` the finished ones."""

    def preparing(self, case: Case) -> None:
        """The process of a case has started: it builds, checks and warms up the network."""

    def warmed(self, case: Case, iteration_s: float) -> None:
        """A case is ready to be timed; `iteration_s` is the expected time of one iteration."""

    def sampled(
        self, case: Case, earlier: Sequence[Sequence[float]], samples: Sequence[float]
    ) -> None:
        """A block was timed. `earlier` has a list of samples per earlier round."""

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """A round of a case was appended to the store; `rounds` are all of its rounds."""

    def failed(self, record: Failure) -> None:
        """A failure was appended to the store."""
