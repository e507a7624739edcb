"""What was measured of a case beside its latency: device time, pipelining, what the chip did."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.stats import mean_of_known, summarise
from bench.records import Measurement, Telemetry


class Beside(NamedTuple):
    """Derived from records; None of what none of them has.

    `device_s` is the median iteration by the device's clock, `pipelined_img_s` the throughput
    where blocks were queued without waiting; of the steady loop are the mean utilisation (0 to
    1), the mean power in watts, and joules an image by the chip's counter, idle power included.
    """

    device_s: float | None
    pipelined_img_s: float | None
    utilisation: float | None
    power_w: float | None
    energy_per_image_j: float | None


def beside(rounds: Sequence[Measurement]) -> Beside:
    """Of all rounds of a case."""
    device = [record.device_samples_s for record in rounds if record.device_samples_s]
    pipelined = [seconds for record in rounds for seconds in record.block_pipelined_s]
    seen = [record.telemetry for record in rounds if record.telemetry]
    return Beside(
        device_s=summarise(device).median if device else None,
        pipelined_img_s=rounds[0].case.batch / statistics.median(pipelined) if pipelined else None,
        utilisation=mean_of_known(value for each in seen for value in each.utilisation),
        power_w=mean_of_known(value for each in seen for value in each.power_w),
        energy_per_image_j=mean_of_known(_energy(each, rounds[0].case.batch) for each in seen),
    )


def _energy(seen: Telemetry, batch: int) -> float | None:
    return None if seen.energy_j is None else seen.energy_j / (seen.iterations * batch)
