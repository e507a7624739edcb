"""Which models there are, and in which forms. Names are the paper's (`reported_results.csv`).

Importing this file imports no torch: `bench list` and the expansion of suites need names only.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from bench.errors import UnavailableError, UsageError, unknown
from bench.process import command_for_code

PLAIN = ("plain",)
UNITS = ("u1", "u2", "u3")  # of the tables in `bench.models.repnext`, which imports torch
SIZES = ("t", "s", "b")
BRANCHED = ("train", "rrep", "rrep_fc", "srep")
SHORTCUT = ("train", "rrep", "srep")
MERGED = ("train", "rrep")

TIMM_PREFIX = "timm/"
ASK_TIMM = """
import json, sys, timm, torch
from bench.models import MERGE_METHODS
known = timm.list_models() + timm.list_pretrained()
merging = []
with torch.device("meta"):
    for name in set(sys.argv[1:]) & set(known):
        modules = list(timm.create_model(name).modules())
        if any(hasattr(module, method) for module in modules for method in MERGE_METHODS):
            merging.append(name)
print(json.dumps([known, merging]))
"""


class Spec(NamedTuple):
    """A model that can be built: its forms, and what builds the first of them.

    `maker` is `timm`, with `variant` its name there, or a function of ours (see
    `bench.models._first_form`), with `variant` what it takes.
    """

    name: str
    forms: tuple[str, ...]
    maker: str
    variant: str


class TimmName(NamedTuple):
    """A network of timm that stands for one of the paper, and what identifies it."""

    timm: str
    why: str
    forms: tuple[str, ...] = PLAIN


# The paper's parameters and MACs (Table 4, at 224 pixels) identify the variant.
TIMM_NAMES = {
    "resnet50": TimmName("resnet50", "25.6 M, 4.1 G"),
    "resnet101": TimmName("resnet101", "44.5 M, 7.8 G (paper: 7.9)"),
    "resnet152": TimmName("resnet152", "60.2 M, 11.5 G (paper: 11.6)"),
    "mobilenetv3_s": TimmName("mobilenetv3_small_100", "2.5 M, 0.06 G"),
    "mobilenetv3_l": TimmName("mobilenetv3_large_100", "5.5 M, 0.22 G; Table 6 says 0.4 G"),
    "efficientnet_b3": TimmName("efficientnet_b3", "12.2 M; 1.0 G at 224, not at its native 300"),
    "efficientnet_b4": TimmName("efficientnet_b4", "19.3 M; 1.5 G at 224, not at its native 380"),
    "efficientnet_b5": TimmName("efficientnet_b5", "30.4 M; 2.4 G at 224, not at its native 456"),
    "deit_s": TimmName("deit_small_patch16_224", "22.1 M, 4.6 G"),
    "deit_b": TimmName("deit_base_patch16_224", "86.6 M, 17.6 G"),
    "vit_b": TimmName(
        "vit_base_patch16_224",
        "DeiT-B's network; 85 M, 16.9 G leave out head and attention",
    ),
    "maxvit_t": TimmName("maxvit_tiny_tf_224", "30.9 M, 5.6 G; the rw variants have 29 M"),
    "swin_t": TimmName("swin_tiny_patch4_window7_224", "28.3 M, 4.5 G"),
    "swin_s": TimmName("swin_small_patch4_window7_224", "49.6 M, 8.7 G"),
    "swin_b": TimmName("swin_base_patch4_window7_224", "87.8 M, 15.4 G"),
    "convnext_t": TimmName("convnext_tiny", "28.6 M, 4.5 G"),
    "convnext_s": TimmName("convnext_small", "50.2 M, 8.7 G"),
    "convnext_b": TimmName("convnext_base", "88.6 M, 15.4 G"),
    "repvgg_b1": TimmName("repvgg_b1", "57.4 M, 13.1 G (paper: 13.2)", MERGED),
    "repvgg_b2": TimmName("repvgg_b2", "89.0 M, 20.4 G (paper: 20.5)", MERGED),
    "repghost_2_0x": TimmName("repghostnet_200", "9.8 M, 0.52 G (paper: 0.56)", MERGED),
}


def _zoo() -> dict[str, Spec]:
    specs = [Spec(name, of.forms, "timm", of.timm) for name, of in TIMM_NAMES.items()]
    specs.append(Spec("replknet_31b", MERGED, "replknet", "31b"))
    specs.append(Spec("lc2pwconv_t", PLAIN, "lc2pwconv", "t"))
    specs.append(Spec("ln2bn_t", PLAIN, "ln2bn", "t"))
    specs += [Spec(f"shortcut_act_{size}", SHORTCUT, "repnext", f"plain_{size}") for size in SIZES]
    specs += [
        Spec(f"repnext_{unit}_{size}", BRANCHED, "repnext", f"{unit}_{size}")
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
    """The model called `name`; `timm/<name>` is taken on trust, see `timm_forms`.

    Raises UsageError for any other name, with the nearest valid ones.
    """
    if name.startswith(TIMM_PREFIX) and len(name) > len(TIMM_PREFIX):
        return Spec(name, (*PLAIN, *MERGED), "timm", name.removeprefix(TIMM_PREFIX))
    if name not in ZOO:
        remedy = "`bench list models` names all of them; any other timm model is timm/<name>."
        raise unknown("model", name, ZOO, remedy)
    return ZOO[name]


def check_form(spec: Spec, form: str) -> None:
    """Raise UsageError unless the model has `form`."""
    if form not in spec.forms:
        raise UsageError(f"{spec.name} has no form {form!r}", f"It has: {', '.join(spec.forms)}.")


def timm_forms(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The forms of each of timm's `names` (without the prefix), by what the network is made of.

    timm is asked in a process of its own, since it imports torch, which a parent process that
    schedules measurements has no use for. Raises UsageError for the first name that it does not
    know, UnavailableError where timm does not import.
    """
    if not names:
        return {}
    known, merging = _ask_timm(tuple(names))
    for name in names:
        if name not in known:
            remedy = f"The names are those of `timm.list_models()`, after {TIMM_PREFIX}."
            choices = [TIMM_PREFIX + other for other in known]
            raise unknown("model", TIMM_PREFIX + name, choices, remedy)
    return {name: MERGED if name in merging else PLAIN for name in names}


@functools.lru_cache(maxsize=1)
def _ask_timm(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """All names that timm knows, and those of `names` whose networks have branches to merge."""
    command = command_for_code(ASK_TIMM, *names)
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        last_line = asked.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"timm does not import: {last_line}", "pip install timm")
    known, merging = json.loads(asked.stdout.rstrip().rpartition("\n")[2])
    return known, merging
