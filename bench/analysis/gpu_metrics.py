"""Metrics of a GPU besides latency: device time, pipelined throughput, utilisation, energy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.stats import mean_of_known, summarise
from bench.records import Measurement, Telemetry


class GpuMetrics(NamedTuple):
    """Metrics over all rounds of a case; None when no round has the samples.

    `device_s` is the median seconds per iteration by the device's clock. `pipelined_img_s` is the
    throughput of blocks whose calls were queued without waiting: batch / median seconds per
    iteration. The steady loop gives the mean utilisation (0 to 1), the mean power in watts, and
    the energy per image: counter difference in joules / (iterations x batch), with idle power.
    """

    device_s: float | None
    pipelined_img_s: float | None
    utilisation: float | None
    power_w: float | None
    energy_per_image_j: float | None


def gpu_metrics(rounds: Sequence[Measurement]) -> GpuMetrics:
    """The metrics of a case over all its `rounds`."""
    device = [record.device_samples_s for record in rounds if record.device_samples_s]
    pipelined = [seconds for record in rounds for seconds in record.block_pipelined_s]
    seen = [record.telemetry for record in rounds if record.telemetry]
    return GpuMetrics(
        device_s=summarise(device).median if device else None,
        pipelined_img_s=rounds[0].case.batch / statistics.median(pipelined) if pipelined else None,
        utilisation=mean_of_known(value for each in seen for value in each.utilisation),
        power_w=mean_of_known(value for each in seen for value in each.power_w),
        energy_per_image_j=mean_of_known(_energy(each, rounds[0].case.batch) for each in seen),
    )


def _energy(seen: Telemetry, batch: int) -> float | None:
    return None if seen.energy_j is None else seen.energy_j / (seen.iterations * batch)
