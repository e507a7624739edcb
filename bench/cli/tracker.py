"""Tracks how far a run is, and estimates how much time is left."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import msgspec

from bench.harness.plan import Plan
from bench.harness.scheduler.estimate import CaseProgress, planned_rounds, remaining_s, warm_up_s
from bench.records import Case, Measurement


class Tracker:
    """Updates the progress of each case from the events of a run."""

    def __init__(self, plan: Plan, progress: Mapping[Case, CaseProgress]) -> None:
        self._plan = plan
        self._progress = dict(progress)
        self._began = self._last_event = time.monotonic()
        self._setups: list[float] = []

    def warmed(self, case: Case, iteration_s: float) -> None:
        """Note that a case is warmed up; a call of it takes `iteration_s` seconds.

        set-up time = time since the last event - warm-up time
        """
        since = self._time_since_last_event()
        self._setups.append(max(since - warm_up_s(self._plan, case.batch, iteration_s), 0.0))
        self._update(case, iteration_s=iteration_s)

    def sampled(self, case: Case, count: int) -> None:
        """Note that the case has `count` samples in its current round."""
        self._time_since_last_event()
        self._update(case, samples=count)

    def measured(self, record: Measurement) -> None:
        """Note that a round has ended; after its last round, a case needs no more time."""
        self._time_since_last_event()
        if record.stopped_by == "round":
            self._update(record.case, rounds_done=record.round, samples=0)
        else:
            self._progress.pop(record.case, None)

    def failed(self, case: Case) -> None:
        """Note that the case has failed and needs no further round."""
        self._time_since_last_event()
        self._progress.pop(case, None)

    def planned(self, case: Case) -> int:
        """Return the number of rounds that the case will probably need."""
        return planned_rounds(self._plan, case, self._progress[case], self._setup_s())

    def elapsed_s(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    def left_s(self) -> float:
        """Return the seconds left, with the mean set-up time so far for each remaining set-up."""
        return remaining_s(self._plan, self._progress, self._setup_s())

    def _setup_s(self) -> float | None:
        return statistics.fmean(self._setups) if self._setups else None

    def _update(self, case: Case, **known: float) -> None:
        self._progress[case] = msgspec.structs.replace(self._progress[case], **known)

    def _time_since_last_event(self) -> float:
        before, self._last_event = self._last_event, time.monotonic()
        return self._last_event - before
