"""The table of models and their forms. Names follow the paper (`reported_results.csv`).

Importing this file imports no torch: `bench list` and the expansion of suites need only names.
"""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from bench.devices.installation import how_to_install
from bench.errors import UnavailableError, UsageError, starting, unknown
from bench.models import forms
from bench.process import command_for_code

UNITS = ("u1", "u2", "u3")  # keys of the tables in `bench.models.repnext`, which imports torch
SIZES = ("t", "s", "b")
TIMM_PREFIX = "timm/"
ASK_TIMM = """
import json, sys, timm, torch
from bench.models.fuse import forms_of
known = timm.list_models() + timm.list_pretrained()
with torch.device("meta"):
    asked = {name: forms_of(timm.create_model(name)) for name in {*sys.argv[1:]} & {*known}}
print(json.dumps([known, asked]))
"""


class Spec(NamedTuple):
    """A model that can be built. `title` is its name in tables and figures.

    If `maker` is `timm`, `variant` is the model's name in timm. Otherwise `maker` names a function
    of this package (see `bench.models.build`), and `variant` its argument.
    """

    name: str
    title: str
    forms: tuple[str, ...]
    maker: str
    variant: str


class TimmName(NamedTuple):
    """The network of timm that is used for a network of the paper.

    `evidence` says why it is the same network: its parameters and MACs.
    """

    title: str
    timm: str
    evidence: str
    family: str = forms.PLAIN


# Parameters and MACs in the paper (Table 4, at 224 pixels) identify the variant of timm.
TIMM_NAMES = {
    "resnet50": TimmName("ResNet50", "resnet50", "25.6 M, 4.1 G"),
    "resnet101": TimmName("ResNet101", "resnet101", "44.5 M, 7.8 G (paper: 7.9)"),
    "resnet152": TimmName("ResNet152", "resnet152", "60.2 M, 11.5 G (paper: 11.6)"),
    "mobilenetv3_s": TimmName("MobileNetV3-S", "mobilenetv3_small_100", "2.5 M, 0.06 G"),
    "mobilenetv3_l": TimmName(
        "MobileNetV3-L", "mobilenetv3_large_100", "5.5 M, 0.22 G; Table 6 says 0.4 G"
    ),
    "efficientnet_b3": TimmName(
        "EffNet-B3", "efficientnet_b3", "12.2 M; 1.0 G at 224, not at its native 300"
    ),
    "efficientnet_b4": TimmName(
        "EffNet-B4", "efficientnet_b4", "19.3 M; 1.5 G at 224, not at its native 380"
    ),
    "efficientnet_b5": TimmName(
        "EffNet-B5", "efficientnet_b5", "30.4 M; 2.4 G at 224, not at its native 456"
    ),
    "deit_s": TimmName("DeiT-S", "deit_small_patch16_224", "22.1 M, 4.6 G"),
    "deit_b": TimmName("DeiT-B", "deit_base_patch16_224", "86.6 M, 17.6 G"),
    "vit_b": TimmName(
        "ViT-B",
        "vit_base_patch16_224",
        "DeiT-B's network; 85 M, 16.9 G leave out head and attention",
    ),
    "maxvit_t": TimmName(
        "MaxViT-T", "maxvit_tiny_tf_224", "30.9 M, 5.6 G; the rw variants have 29 M"
    ),
    "swin_t": TimmName("Swin-T", "swin_tiny_patch4_window7_224", "28.3 M, 4.5 G"),
    "swin_s": TimmName("Swin-S", "swin_small_patch4_window7_224", "49.6 M, 8.7 G"),
    "swin_b": TimmName("Swin-B", "swin_base_patch4_window7_224", "87.8 M, 15.4 G"),
    "convnext_t": TimmName("ConvNeXt-T", "convnext_tiny", "28.6 M, 4.5 G"),
    "convnext_s": TimmName("ConvNeXt-S", "convnext_small", "50.2 M, 8.7 G"),
    "convnext_b": TimmName("ConvNeXt-B", "convnext_base", "88.6 M, 15.4 G"),
    "repvgg_b1": TimmName("RepVGG-B1", "repvgg_b1", "57.4 M, 13.1 G (paper: 13.2)", forms.MERGING),
    "repvgg_b2": TimmName("RepVGG-B2", "repvgg_b2", "89.0 M, 20.4 G (paper: 20.5)", forms.MERGING),
    "repghost_2_0x": TimmName(
        "RepGhost-2.0x", "repghostnet_200", "9.8 M, 0.52 G (paper: 0.56)", forms.KEEPING
    ),
}


def _zoo() -> dict[str, Spec]:
    rows = [(name, of.title, of.family, "timm", of.timm) for name, of in TIMM_NAMES.items()]
    rows.append(("replknet_31b", "RepLKNet-31B", forms.KEEPING, "replknet", "31b"))
    rows.append(("lc2pwconv_t", "Lc2pwconv-T", forms.PLAIN, "lc2pwconv", "t"))
    rows.append(("ln2bn_t", "Ln2bn-T", forms.PLAIN, "ln2bn", "t"))
    for size in SIZES:
        title = f"Shortcut-act-{size.upper()}"
        rows.append((f"shortcut_act_{size}", title, forms.SHORTCUT_ACT, "repnext", f"plain_{size}"))
    for unit, size in itertools.product(UNITS, SIZES):
        name, title = f"repnext_{unit}_{size}", f"RepNeXt-{unit}-{size.upper()}"
        rows.append((name, title, forms.REPNEXT, "repnext", f"{unit}_{size}"))
    return {
        name: Spec(name, title, forms.of(family), maker, variant)
        for name, title, family, maker, variant in rows
    }


ZOO = _zoo()


def find(name: str) -> Spec:
    """Return the model called `name`. A name `timm/<name>` is not checked; see `timm_forms`.

    Raises UsageError for any other unknown name; the message has similar valid names.
    """
    if name.startswith(TIMM_PREFIX) and len(name) > len(TIMM_PREFIX):
        some = forms.of(forms.PLAIN) + forms.of(forms.KEEPING)
        return Spec(name, name, some, "timm", name.removeprefix(TIMM_PREFIX))
    if name not in ZOO:
        remedy = "`bench list models` names all of them; any other timm model is timm/<name>."
        raise unknown("model", name, ZOO, remedy)
    return ZOO[name]


def check_form(spec: Spec, form: str) -> None:
    """Raise UsageError if the model does not have `form`."""
    if not forms.has(spec.forms, form):
        raise UsageError(
            f"{spec.name} has no form {form!r}", f"It has: {forms.choice(spec.forms)}."
        )


def timm_forms(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the forms of each network of timm in `names`, which have no prefix.

    A separate process imports timm, because timm imports torch, and the parent process of a run
    must not. Raises UsageError for the first unknown name, and UnavailableError if the import of
    timm fails.
    """
    if not names:
        return {}
    known, asked = _ask_timm(tuple(names))
    for name in names:
        if name not in known:
            remedy = (
                f"`timm.list_models()` lists the names; write {TIMM_PREFIX} before one of them."
            )
            choices = [TIMM_PREFIX + other for other in known]
            raise unknown("model", TIMM_PREFIX + name, choices, remedy)
    return {name: tuple(asked[name]) for name in names}


@functools.lru_cache(maxsize=1)
def _ask_timm(names: tuple[str, ...]) -> tuple[list[str], dict[str, list[str]]]:
    """Return all names that timm knows, and the forms of the networks in `names`."""
    command = command_for_code(ASK_TIMM, *names)
    with starting("a process that imports timm"):
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        last_line = asked.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"cannot import timm: {last_line}", f"Run: {how_to_install('timm')}")
    known, found = json.loads(asked.stdout.rstrip().rpartition("\n")[2])
    return known, found
