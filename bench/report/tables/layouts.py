"""The layouts of the paper's Tables 2-6, and the rows of a device that belong into each.

Tables show the paper's setting only: eager, fp32, the table's resolution, and one number of threads
per device. Claims use the same setting.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bench import paper
from bench.analysis.rows import Row, ranked
from bench.models import forms, naming
from bench.models.naming import USUAL, network_title
from bench.records import Case, Cost, Evaluation
from bench.report.devices import DeviceResults

LATENCY_BATCH, THROUGHPUT_BATCH = 1, 128

Place = tuple[str, str, int]  # model, form, batch


class PaperDevice(NamedTuple):
    """A device of the paper: `key` in our data, printed `name`, and `kind`."""

    key: str
    name: str
    kind: str


A100 = PaperDevice("a100", "A100", "gpu")
OF_TABLE_6 = (
    PaperDevice("xeon_8260", "Xeon 8260", "cpu"),
    A100,
    PaperDevice("orin", "Jetson Orin", "edge"),
)


class Line(NamedTuple):
    """A row of a table: a model in some of its forms."""

    name: str
    model: str
    forms: tuple[str, ...]

    @property
    def timed(self) -> tuple[str, ...]:
        """The forms with a latency in the paper's tables: all but `rrep_fc`."""
        return tuple(form for form in self.forms if forms.find(form).has_latency)


class Layout(msgspec.Struct, frozen=True):
    """How the paper prints one table.

    `chained`: all forms of a model share one cell; otherwise each form has a row. `ablation`: a
    column Rep. replaces parameters and MACs. `spread`: mean ± std of our iterations has a column.
    """

    number: int
    title: str
    dataset: str
    devices: tuple[PaperDevice, ...] = (A100,)
    resolution: int = USUAL.resolution
    order: tuple[str, ...] = ()
    chained: bool = True
    ablation: bool = False
    spread: bool = False
    throughput: bool = False
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[Line]:
        """The rows in printed order."""
        reported = [row for row in paper.reported() if row.table == self.number]
        lines = []
        for model in self.order or dict.fromkeys(row.model for row in reported):
            has = {row.form for row in reported if row.model == model}
            chain = tuple(form.name for form in forms.in_order(has))
            if self.chained:
                lines.append(Line(network_title(model, forms.ONLY), model, chain))
            else:
                lines += [Line(network_title(model, form), model, (form,)) for form in chain]
        return lines

    @property
    def places(self) -> list[Place]:
        """Every (model, form, batch) that the table needs."""
        latency = [(line.model, form, LATENCY_BATCH) for line in self.lines for form in line.timed]
        if not self.throughput:
            return latency
        return latency + [
            (line.model, form, THROUGHPUT_BATCH) for line in self.lines for form in line.forms
        ]

    def reported(self, model: str, form: str, device: str = "") -> paper.Reported | None:
        """The paper's row on a device, by default the table's first; None if there is none."""
        return paper.find(self.number, device or self.devices[0].key, model, form)


FULL = (
    "The paper prints →r in this table, but its numbers are those of the full "
    "re-parameterisation; we print →s."
)
HEADS = "Our networks have heads for 1,000 classes."
OFFICIAL = (
    "For RepLKNet and RepGhost, →r leads to the form deploy: the official code merges branches "
    "only, and keeps 155 and 48 BatchNorms that rrep folds. Results of rrep are not in this table."
)
MOBILENET = "For MobileNetV3-L the paper prints 0.2 GMACs in Table 4 and 0.4 GMACs in Table 6."
LAYOUTS = (
    Layout(2, "ImageWoof classification", "ImageWoof", notes=(FULL, HEADS)),
    Layout(
        3,
        "Cifar100 classification at 64 pixels",
        "Cifar100",
        resolution=64,
        notes=(
            FULL,
            HEADS,
            "The paper prints MACs in units of 10 M in this table; we print G.",
            "The paper's 0.22 GMACs for ViT-B do not match ViT-B/16 at 64 pixels (about 1.45).",
        ),
    ),
    Layout(
        4,
        "ImageNet-1K classification",
        "ImageNet-1K",
        throughput=True,
        notes=(
            "In brackets: rrep_fc, whose 1×1 convolutions are fully connected layers.",
            OFFICIAL,
            MOBILENET,
        ),
        order=(
            *("resnet50", "resnet101", "resnet152", "mobilenetv3_s", "mobilenetv3_l"),
            *("efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "deit_s", "deit_b"),
            *("repvgg_b1", "repvgg_b2", "replknet_31b", "repghost_2_0x", "maxvit_t"),
            *("swin_t", "convnext_t", "repnext_u3_t"),
            *("swin_s", "convnext_s", "repnext_u3_s"),
            *("swin_b", "convnext_b", "repnext_u3_b"),
        ),
    ),
    Layout(
        5,
        "ablation from ConvNeXt to RepNeXt",
        "ImageNet-1K",
        ablation=True,
        spread=True,
        notes=("Rep.: whether the shortcuts can be merged.", FULL),
    ),
    Layout(
        6,
        "different devices",
        "ImageNet-1K",
        devices=OF_TABLE_6,
        chained=False,
        spread=True,
        throughput=True,
        notes=(
            MOBILENET,
            "The paper's A100 throughput for RepNeXt-u3-T-rRep belongs to rrep_fc, whose 1×1 "
            "convolutions are fully connected layers.",
        ),
    ),
)


class Shown(NamedTuple):
    """The rows of one device in a table; ranks count only these rows."""

    device: DeviceResults
    name: str
    rows: dict[Place, Row]


class Setting(NamedTuple):
    """How networks ran on a device, apart from precision, resolution and batch."""

    backend: str
    driver: str
    threads: int
    input: str = USUAL.input


def setting_of_case(case: Case) -> Setting:
    """The setting that a case was measured in."""
    return Setting(case.backend, case.device, case.threads, case.input)


def setting_of(device: DeviceResults) -> Setting:
    """The setting of the cases that tables and claims show for a device.

    It is eager, with the chip's default number of threads if a case of the paper's tables used it,
    else the number of the last such case. Training steps count where nothing else was measured. All
    cases of the device must have one allocator
    (`devices.by_allocation`).
    """
    chip = device.environment.chip
    cases = [row.case for row in device.rows or device.training]
    cases = cases or [each.rounds[0].case for each in device.profiles if each.rounds]
    counts = [
        case.threads
        for case in cases
        if (case.backend, case.precision) == (USUAL.backend, USUAL.precision)
        and case.device == chip.device
        and (case.trains or (case.resolution, _place(case)) in _tabled())
        and case.input == USUAL.input
    ]
    threads = counts[-1] if counts and chip.threads not in counts else chip.threads
    return Setting(USUAL.backend, chip.device, threads)


def threads_text(setting: Setting) -> str:
    """The threads of a setting, such as `2 threads`."""
    return naming.threads(setting.threads)


@functools.lru_cache(maxsize=1)
def _tabled() -> frozenset[tuple[int, Place]]:
    """Every (resolution, place) that any table needs."""
    return frozenset((layout.resolution, place) for layout in LAYOUTS for place in layout.places)


def matching_rows(device: DeviceResults, layout: Layout) -> list[Row]:
    """The device's rows that belong into the table, in its setting."""
    wanted, setting = set(layout.places), setting_of(device)
    return [
        row
        for row in device.rows
        if _place(row.case) in wanted
        and setting_of_case(row.case) == setting
        and (row.case.precision, row.case.resolution) == (USUAL.precision, layout.resolution)
    ]


def _place(case: Case) -> Place:
    return (case.model, case.form, case.batch)


def shown_of(device: DeviceResults, layout: Layout) -> Shown | None:
    """The device's rows in a table; None if it has none."""
    rows = [_without_label(row) for row in ranked(matching_rows(device, layout))]
    if not rows:
        return None
    threads = f", {threads_text(setting_of(device))}" if device.kind == "cpu" else ""
    return Shown(device, device.label + threads, {_place(row.case): row for row in rows})


def _without_label(row: Row) -> Row:
    """The same row under the paper's title, for a table of the paper."""
    return msgspec.structs.replace(row, case=msgspec.structs.replace(row.case, label=""))


def evaluated(layout: Layout, devices: Sequence[DeviceResults]) -> dict[str, Evaluation]:
    """The last evaluation in fp32 on the table's data set and at its resolution, by the model.

    All forms and backends of a network have one accuracy in fp32.
    """
    names = {line.model for line in layout.lines}
    dataset = next(row.dataset for row in paper.reported() if row.table == layout.number)
    wanted = (dataset, layout.resolution, USUAL.input, USUAL.precision)
    found = {}
    for made in (each for device in devices for each in device.evaluations.made):
        case = made.case
        model = naming.code_of(case)
        is_here = (made.dataset, case.resolution, case.input, case.precision) == wanted
        if is_here and model in names:
            found[model] = made
    return found


def costs_of(layout: Layout, devices: Sequence[DeviceResults]) -> dict[tuple[str, str], Cost]:
    """Cost by (model, form) at the table's resolution, from the first device that counted it."""
    found: dict[tuple[str, str], Cost] = {}
    for row in (row for device in devices for row in device.rows):
        if row.cost and row.case.resolution == layout.resolution:
            found.setdefault((row.case.model, row.case.form), row.cost)
    return found
