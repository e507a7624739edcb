"""How a case is named for people: what one types, and what tables and figures print.

Importing this file imports no torch.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bench.models import forms, zoo
from bench.records import Case, Chip

USUAL = Case(model="", form="")  # its backend, precision and resolution go without saying
USUAL_SETTING = f"{USUAL.backend} {USUAL.precision}"


class Family(NamedTuple):
    """The networks of one design, and which size of it a network is; "" where it has no size."""

    name: str
    size: str


def selector(case: Case, *, batch: bool = False) -> str:
    """What one types, with what is unusual: `repnext_u3_t@srep compile`.

    With `batch`, a batch beyond 1 is named too: `repnext_u3_t@srep compile batch 128`.
    """
    words = [case.name, setting(case)]
    if batch and case.batch > 1:
        words.append(f"batch {case.batch}")
    return " ".join(filter(None, words))


def title(case: Case, *, with_threads: bool = False) -> str:
    """What tables and figures print: `RepNeXt-u3-T-sRep compile`."""
    words = [network_title(case.model, case.form), setting(case, with_threads=with_threads)]
    return " ".join(filter(None, words))


def network_title(model: str, form: str) -> str:
    """The network as the paper prints it, its form appended: `RepNeXt-u3-T-sRep`."""
    return _title_of(model) + forms.find(form).suffix


def setting(case: Case, *, with_threads: bool = False) -> str:
    """How it is run, as far as that is not eager, fp32, 224 pixels: `compile fp16 288²`.

    With `with_threads`, the number of threads is named always: `compile 4 threads`.
    """
    pairs = ((case.backend, USUAL.backend), (case.precision, USUAL.precision))
    words = [word for word, usual in pairs if word != usual]
    if case.resolution != USUAL.resolution:
        words.append(f"{case.resolution}²")
    if with_threads:
        words.append(threads(case.threads))
    return " ".join(words)


def threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread" + "s" * (count != 1)


def has_unusual_threads(case: Case, chip: Chip) -> bool:
    """Whether the case ran on a CPU with another number of threads than the chip's default."""
    return chip.kind == "cpu" and case.threads != chip.threads


def family(model: str) -> Family:
    """Family and size: `ConvNeXt` and `T`, `ResNet` and `50`.

    A network of the user's (`net.py:net#1a2b3c4d`) is a family of its own.
    """
    if is_users(model):
        return Family(model, "")
    whole = _title_of(model)
    name, dash, size = whole.rpartition("-")
    if dash:
        return Family(name, size)
    found = re.fullmatch(r"(.*\D)(\d+)", whole)
    return Family(found[1], found[2]) if found else Family(whole, "")


def is_users(model: str) -> bool:
    """Whether a name is that of a user's file, factory or weights, and not of the zoo or timm."""
    is_path = "/" in model and not model.startswith(zoo.TIMM_PREFIX)
    return is_path or ":" in model or "#" in model


def _title_of(model: str) -> str:
    return zoo.ZOO[model].title if model in zoo.ZOO else model
