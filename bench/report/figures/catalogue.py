"""The figures of a report: one file each in this folder, and one entry in FIGURES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bench.records import Profile
from bench.report import curves
from bench.report.devices import DeviceResults
from bench.report.figures import distributions, figure1, figure5, printed, roofline, speedups

Files = dict[str, bytes]


class Figure(NamedTuple):
    """One figure of the report.

    `name`: the stem of its files. `about`: its description in `report.md`. `draw` takes devices,
    each in its latest environment, and returns file names with their content, or {} if there is
    nothing to show. `joins_devices`: the figure has a panel per device; it is drawn for each device
    and once for all devices. Other figures are drawn for one device only.
    """

    name: str
    about: str
    draw: Callable[[Sequence[DeviceResults]], Files]
    joins_devices: bool = False


def named(name: str, picture: Mapping[str, bytes]) -> Files:
    """Bytes by format (`png`, `svg`) to bytes by file name (`name.png`, `name.svg`)."""
    return {f"{name}.{kind}": content for kind, content in picture.items()}


def _printed(name: str, pictures: Mapping[str, bytes]) -> Files:
    """PDF by width (`column`, `page`) to bytes by file name (`name-column.pdf`)."""
    return {f"{name}-{width}.pdf": content for width, content in pictures.items()}


def _distributions(devices: Sequence[DeviceResults]) -> Files:
    """A figure per batch: `distributions.png` for batch 1, else `distributions-128.png`."""
    (device,) = devices
    files: Files = {}
    for batch, picture in distributions.distributions(device).items():
        files |= named("distributions" if batch == 1 else f"distributions-{batch}", picture)
    return files


def _curves(devices: Sequence[DeviceResults]) -> Files:
    return named("curves", curves.draw(devices))


def _figure5(devices: Sequence[DeviceResults]) -> Files:
    (device,) = devices
    profiles = _of_smallest_batch(device)
    return named("figure5", figure5.figure5(profiles, device.label)) if profiles else {}


def _roofline(devices: Sequence[DeviceResults]) -> Files:
    """The last cases get the panels, because suites list the paper's own networks last."""
    (device,) = devices
    profiles = _of_smallest_batch(device)
    if not profiles:
        return {}
    last, others = profiles[-roofline.PANELS :], profiles[: -roofline.PANELS]
    peaks = device.peaks.get(last[0].case_id)
    if peaks is None:
        return {}
    return named("roofline", roofline.roofline([*last, *others], peaks, device.label))


def _of_smallest_batch(device: DeviceResults) -> list[Profile]:
    found = [known.profile for known in device.profiles if known.rounds]
    found = [profile for profile in found if not profile.case.trains]
    batch = min((profile.case.batch for profile in found), default=1)
    return [profile for profile in found if profile.case.batch == batch]


FIGURES = (
    Figure(
        "figure1",
        "accuracy over latency, the paper's Figure 1",
        lambda devices: {
            **named("figure1", figure1.figure1(devices)),
            **_printed("figure1", printed.accuracy(devices)),
        },
        joins_devices=True,
    ),
    Figure(
        "speedups",
        "speed-up of each re-parameterised form",
        lambda devices: {
            **named("speedups", speedups.speedups(devices)),
            **_printed("speedups", printed.speed_ups(devices)),
        },
        joins_devices=True,
    ),
    Figure(
        "latency",
        "latency of every network, to print in a paper",
        lambda devices: _printed("latency", printed.latencies(devices)),
    ),
    Figure("curves", "throughput over the batch size", _curves),
    Figure("distributions", "all samples of every case of one batch", _distributions),
    Figure("figure5", "latency by category of operator, the paper's Figure 5", _figure5),
    Figure("roofline", "operators against the peak of the chip", _roofline),
)
