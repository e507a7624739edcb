"""Which models there are, and in which forms. Names are the paper's (`reported_results.csv`).

Importing this file imports no torch: `bench list` and the expansion of suites need names only.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from bench.errors import UnavailableError, UsageError, unknown

PLAIN = ("plain",)
UNITS = ("u1", "u2", "u3")  # of the tables in `bench.models.repnext`, which imports torch
SIZES = ("t", "s", "b")
BRANCHED = ("train", "rrep", "rrep_fc", "srep")

TIMM_PREFIX = "timm/"
LIST_TIMM = "import json, timm; print(json.dumps(timm.list_models() + timm.list_pretrained()))"


class Spec(NamedTuple):
    """A model that can be built: its forms, and what builds the first of them.

    `timm` names a network of timm; otherwise `unit` and `size` are a row of the RepNeXt tables.
    """

    name: str
    forms: tuple[str, ...]
    timm: str = ""
    unit: str = ""
    size: str = ""


TIMM_NAMES = {
    "mobilenetv3_l": "mobilenetv3_large_100",
    "resnet50": "resnet50",
    "swin_t": "swin_tiny_patch4_window7_224",
    "convnext_t": "convnext_tiny",
}


def _zoo() -> dict[str, Spec]:
    specs = [Spec(name, PLAIN, timm=timm) for name, timm in TIMM_NAMES.items()]
    specs += [
        Spec(f"repnext_{unit}_{size}", BRANCHED, unit=unit, size=size)
        for unit in UNITS
        for size in SIZES
    ]
    return {spec.name: spec for spec in specs}


ZOO = _zoo()
FORMS = {
    "plain": "the only form",
    "train": "as trained, with branches",
    "rrep": "regular re-parameterisation: one 7x7 depthwise convolution, every BN folded",
    "rrep_fc": "rrep with each 1x1 convolution as a fully connected layer",
    "srep": "rrep and shortcut re-parameterisation: no branch and no addition left",
}


def find(name: str) -> Spec:
    """The model called `name`; `timm/<name>` is taken on trust, see `check_timm_names`.

    Raises UsageError for any other name, with the nearest valid ones.
    """
    if name.startswith(TIMM_PREFIX) and len(name) > len(TIMM_PREFIX):
        return Spec(name, PLAIN, timm=name.removeprefix(TIMM_PREFIX))
    if name not in ZOO:
        remedy = "`bench list models` names all of them; any other timm model is timm/<name>."
        raise unknown("model", name, ZOO, remedy)
    return ZOO[name]


def check_form(spec: Spec, form: str) -> None:
    """Raise UsageError unless the model has `form`."""
    if form not in spec.forms:
        raise UsageError(f"{spec.name} has no form {form!r}", f"It has: {', '.join(spec.forms)}.")


def check_timm_names(names: Sequence[str]) -> None:
    """Raise UsageError for the first of `names` (without the prefix) that timm does not know.

    timm is asked in a process of its own, since it imports torch, which a parent process that
    schedules measurements has no use for. Raises UnavailableError where timm does not import.
    """
    known = _timm_models() if names else ()
    for name in names:
        if name not in known:
            remedy = f"The names are those of `timm.list_models()`, after {TIMM_PREFIX}."
            choices = [TIMM_PREFIX + other for other in known]
            raise unknown("model", TIMM_PREFIX + name, choices, remedy)


@functools.lru_cache(maxsize=1)
def _timm_models() -> tuple[str, ...]:
    asked = subprocess.run(
        [sys.executable, "-c", LIST_TIMM], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        last_line = asked.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"timm does not import: {last_line}", "pip install timm")
    return tuple(json.loads(asked.stdout))
