"""Names of cases: the name on the command line, and the title in tables and figures.

Importing this file imports no torch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from bench.devices import driver_of, huge_pages
from bench.models import forms, zoo
from bench.models.user import content
from bench.models.user.names import weights_named
from bench.records import Case, Chip
from bench.records.scenario import TIGHT

USUAL = Case(model="", form="")  # names omit the backend, precision and resolution of this case
USUAL_SETTING = f"{USUAL.backend} {USUAL.precision}"
TRAINING = "training"
RANDOM, OF_THE_CODE = "random", "as the code makes them"
HASH = re.compile(rf"{content.HASH}(?=@|\+|$)")


class Family(NamedTuple):
    """The family of a network, such as ConvNeXt, and its size, such as T; "" without a size."""

    name: str
    size: str


def selector(case: Case, *, batch: bool = False) -> str:
    """Return the name that commands take, then the unusual settings: `repnext_u3_t@srep compile`.

    With `batch`, a batch size above 1 is added: `repnext_u3_t@srep compile batch 128`.
    """
    words = [name(case), setting(case)]
    if batch and case.batch > 1:
        words.append(f"batch {case.batch}")
    return " ".join(filter(None, words))


def name(case: Case) -> str:
    """Return `model@form`, or the label with the suffix of the form: `MyNet-rRep`."""
    return network_title(case.model, case.form, case.label) if case.label else case.name


def weights_of(case: Case) -> str:
    """Return the file of the case's weights with its hash, OF_THE_CODE, or RANDOM."""
    return weights_named(case.model) or (OF_THE_CODE if ":" in case.model else RANDOM)


def code_of(case: Case) -> str:
    """Return the model of a case without its file of weights."""
    return case.model.removesuffix(f"+{weights_named(case.model)}")


def title(case: Case, *, with_threads: bool = False, with_size: bool = True) -> str:
    """Return the name in tables and figures: `RepNeXt-u3-T-sRep compile`."""
    network = network_title(case.model, case.form, case.label)
    words = setting(case, with_threads=with_threads, with_size=with_size)
    return " ".join(filter(None, [network, words]))


def network_title(model: str, form: str, label: str = "") -> str:
    """Return the label, or the paper's name, with the suffix of the form: `RepNeXt-u3-T-sRep`."""
    return (label or _title_of(model)) + forms.find(form).suffix


def setting(case: Case, *, with_threads: bool = False, with_size: bool = True) -> str:
    """Return the settings that differ from eager, fp32 and 224 pixels: `compile fp16 288² arena`.

    A training step is called `training`. A scenario has its name: `pace-15hz`.

    With `with_threads`, the number of threads is always added: `compile 4 threads`. Without
    `with_size`, the size of an image is left out.
    """
    pairs = ((case.backend, USUAL.backend), (case.precision, USUAL.precision))
    words = [word for word, usual in pairs if word != usual]
    if with_size and (case.input or case.resolution != USUAL.resolution):
        words.append(size(case))
    if with_threads:
        words.append(threads(case.threads))
    return " ".join([*words, *_allocation(case), *([TRAINING] * case.trains), *_scenario(case)])


def _scenario(case: Case) -> list[str]:
    return [] if case.scenario == TIGHT else [case.scenario]


def allocation(case: Case) -> str:
    """Return allocator and huge pages where they differ from the default: `arena, huge pages`."""
    return ", ".join(_allocation(case))


def _allocation(case: Case) -> list[str]:
    allocator = case.allocator if case.allocator != USUAL.allocator else ""
    return [word for word in (allocator, huge_pages.label(case.huge_pages)) if word]


def image(case: Case) -> str:
    """Return the size of one image: `224×224 pixels`, or `1×224×320` where it has a shape."""
    square = f"{case.resolution}×{case.resolution} pixels"
    return case.input.replace("x", "×") if case.input else square


def size(case: Case) -> str:
    """Return the size of one image in short: `224²`, or `1×224×320` where it has a shape."""
    return image(case) if case.input else f"{case.resolution}²"


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


def family(case: Case) -> Family:
    """Return family and size of a network of the paper: `ConvNeXt` and `T`, `ResNet` and `50`.

    Any other network, and a network with a label, is a family of its own without a size. A label
    that is the name of a family of the paper does not join that family.
    """
    if case.label:
        own = f"{case.label} (label)" if case.label in _families() else case.label
        return Family(own, "")
    return _family_of(case.model) if case.model in zoo.ZOO else Family(case.model, "")


def names(case: Case) -> tuple[list[str], list[str]]:
    """Return the names of a case as the user may type them: exact ones, and titles in any case.

    `repnext_u3_t@srep` and `repnext_u3_t` with and without the hash of a file are exact;
    `RepNeXt-u3-T-sRep` and `RepNeXt-u3-T@srep` are titles. A label is a title.
    """
    exact = [case.name, case.model, without_hash(case.name), without_hash(case.model)]
    base = case.label or _title_of(case.model)
    return exact, [network_title(case.model, case.form, case.label), f"{base}@{case.form}"]


def is_called(case: Case, text: str) -> bool:
    """Whether `text` is a name of the case, then any of its settings: `ResNet50 compile bf16`.

    Settings are words that `selector` and `title` print: the backend, the precision, `288²`,
    `4 threads`, `batch 128`, the allocator, `training`, the scenario.
    """
    words = text.split()
    return any(
        _is_name(case, " ".join(words[:count])) and _has_settings(case, words[count:])
        for count in range(len(words), 0, -1)
    )


def by_title(entry: str) -> str:
    """Return `repnext_u3_t@srep` for `RepNeXt-u3-T-sRep` in any case, as tables print it.

    `RepNeXt-u3-T@srep` is the same network. Any other entry of --models is returned unchanged.
    """
    if entry in zoo.ZOO:
        return entry
    title, _, form = entry.rpartition("@")
    if forms.is_mixture(form):  # which `_entries` does not have
        whole = _entries().get(f"{title}@{forms.by_stage(form)[0]}".casefold(), "")
        return f"{whole.partition('@')[0] or title}@{form}"
    return _entries().get(entry.casefold(), entry)


def without_hash(name: str) -> str:
    """`net.py:net#1a2b3c4d@srep` to `net.py:net@srep`: a name without the hash of its file."""
    return HASH.sub("", name)


def _is_name(case: Case, text: str) -> bool:
    exact, titles = names(case)
    return text in exact or text.casefold() in (each.casefold() for each in titles)


def _has_settings(case: Case, words: Sequence[str]) -> bool:
    left = f" {' '.join(words).casefold()} "
    phrases = [case.backend, case.precision, size(case), threads(case.threads)]
    phrases += [f"batch {case.batch}", case.allocator, huge_pages.label(case.huge_pages)]
    for phrase in (*phrases, *([TRAINING] * case.trains), case.scenario):
        left = left.replace(f" {phrase.casefold()} ", " ", 1)
    return not left.strip()


@functools.lru_cache(maxsize=1)
def _entries() -> dict[str, str]:
    """Return the entry of --models by each title of the zoo in lower case."""
    found = {}
    for spec in zoo.ZOO.values():
        for case in (Case(spec.name, form) for form in spec.forms):
            for each in names(case)[1]:
                found[each.casefold()] = case.name
    return found


@functools.lru_cache(maxsize=1)
def _families() -> frozenset[str]:
    return frozenset(_family_of(model).name for model in zoo.ZOO)


def _family_of(model: str) -> Family:
    whole = _title_of(model)
    name, dash, size = whole.rpartition("-")
    if dash:
        return Family(name, size)
    found = re.fullmatch(r"(.*\D)(\d+)", whole)
    return Family(found[1], found[2]) if found else Family(whole, "")


def _title_of(model: str) -> str:
    return zoo.ZOO[model].title if model in zoo.ZOO else model
