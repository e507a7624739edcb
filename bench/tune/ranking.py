"""How fast the candidates of a search are, from rounds in which different ones took turns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.analysis.pairs import sitting_of
from bench.records import Case, Measurement

MACHINE_WEIGHT = 0.25  # variance of the log of a round / variance of the machine between sittings


def latencies(rounds: Sequence[Measurement]) -> dict[Case, float]:
    """Seconds of each case, as if all had taken turns with each other.

    log t(c, s) = a(c) + b(s) + noise for the median t of case c in sitting s, where b is the state
    of the machine. Least squares, with b shrunk by MACHINE_WEIGHT * b² so that sittings without a
    common case can be compared, too; returns exp(a). For the choice of candidates alone: it says
    nothing of its own uncertainty.
    """
    import numpy as np

    if not rounds:
        return {}
    cases = list(dict.fromkeys(record.case for record in rounds))
    sittings = list(dict.fromkeys(map(sitting_of, rounds)))
    count = len(cases) + len(sittings)
    matrix, logs = np.zeros((len(rounds), count)), np.zeros(len(rounds))
    for row, record in enumerate(rounds):
        matrix[row, cases.index(record.case)] = 1
        matrix[row, len(cases) + sittings.index(sitting_of(record))] = 1
        logs[row] = math.log(statistics.median(record.samples_s))
    centre = logs.mean()  # so that the state of an average machine is 0
    shrunk = math.sqrt(MACHINE_WEIGHT) * np.eye(count)[len(cases) :]
    wanted = np.concatenate([logs - centre, np.zeros(len(sittings))])
    found = np.linalg.lstsq(np.concatenate([matrix, shrunk]), wanted, rcond=None)[0]
    return {case: math.exp(centre + found[place]) for place, case in enumerate(cases)}
