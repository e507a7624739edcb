"""Names of cases: the name on the command line, and the title in tables and figures.

Importing this file imports no torch.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bench.devices import driver_of
from bench.models import forms, zoo
from bench.records import Case, Chip

USUAL = Case(model="", form="")  # names omit the backend, precision and resolution of this case
USUAL_SETTING = f"{USUAL.backend} {USUAL.precision}"


class Family(NamedTuple):
    """The family of a network, such as ConvNeXt, and its size, such as T; "" without a size."""

    name: str
    size: str


def selector(case: Case, *, batch: bool = False) -> str:
    """Return the name on the command line, then the unusual settings: `repnext_u3_t@srep compile`.

    With `batch`, a batch size above 1 is added: `repnext_u3_t@srep compile batch 128`.
    """
    words = [case.name, setting(case)]
    if batch and case.batch > 1:
        words.append(f"batch {case.batch}")
    return " ".join(filter(None, words))


def title(case: Case, *, with_threads: bool = False) -> str:
    """Return the name in tables and figures: `RepNeXt-u3-T-sRep compile`."""
    words = [network_title(case.model, case.form), setting(case, with_threads=with_threads)]
    return " ".join(filter(None, words))


def network_title(model: str, form: str) -> str:
    """Return the paper's name of the network with the suffix of its form: `RepNeXt-u3-T-sRep`."""
    return _title_of(model) + forms.find(form).suffix


def setting(case: Case, *, with_threads: bool = False) -> str:
    """Return the settings that differ from eager, fp32 and 224 pixels: `compile fp16 288²`.

    With `with_threads`, the number of threads is always added: `compile 4 threads`.
    """
    pairs = ((case.backend, USUAL.backend), (case.precision, USUAL.precision))
    words = [word for word, usual in pairs if word != usual]
    if case.resolution != USUAL.resolution:
        words.append(f"{case.resolution}²")
    if with_threads:
        words.append(threads(case.threads))
    return " ".join(words)


def threads(count: int) -> str:
    """Return the number of threads in words: `1 thread`, `2 threads`."""
    return f"{count} thread" + "s" * (count != 1)


def has_unusual_threads(case: Case, chip: Chip) -> bool:
    """Whether the case ran on a CPU, and not with the default number of threads of the chip.

    The kind of a chip that is not on record is that of the case's device.
    """
    driver = driver_of(case.device)
    kind = chip.kind or (driver.kind if driver else "")
    return kind == "cpu" and case.threads != chip.threads


def family(model: str) -> Family:
    """Return family and size of a network: `ConvNeXt` and `T`, `ResNet` and `50`.

    A user's network (`net.py:net#1a2b3c4d`) is a separate family without a size.
    """
    if is_user_model(model):
        return Family(model, "")
    whole = _title_of(model)
    name, dash, size = whole.rpartition("-")
    if dash:
        return Family(name, size)
    found = re.fullmatch(r"(.*\D)(\d+)", whole)
    return Family(found[1], found[2]) if found else Family(whole, "")


def is_user_model(model: str) -> bool:
    """Whether `model` names a user's file, factory or weights, and not a model of zoo or timm."""
    is_path = "/" in model and not model.startswith(zoo.TIMM_PREFIX)
    return is_path or ":" in model or "#" in model


def _title_of(model: str) -> str:
    return zoo.ZOO[model].title if model in zoo.ZOO else model
