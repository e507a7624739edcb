"""How numbers and names are written: the one module that formats."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

NOT_MEASURED = "not measured"
NOTHING = "–"
GIGA, MEGA, MIB = 1e9, 1e6, 2**20
ENDS_SHOWN = 1000  # letters of a long text, of its beginning and of its end
MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&]|(?<![^\W_])_|_(?![^\W_])")

DISPLAY = {
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "mobilenetv3_s": "MobileNetV3-S",
    "mobilenetv3_l": "MobileNetV3-L",
    "efficientnet_b3": "EffNet-B3",
    "efficientnet_b4": "EffNet-B4",
    "efficientnet_b5": "EffNet-B5",
    "deit_s": "DeiT-S",
    "deit_b": "DeiT-B",
    "vit_b": "ViT-B",
    "maxvit_t": "MaxViT-T",
    "swin_t": "Swin-T",
    "swin_s": "Swin-S",
    "swin_b": "Swin-B",
    "convnext_t": "ConvNeXt-T",
    "convnext_s": "ConvNeXt-S",
    "convnext_b": "ConvNeXt-B",
    "repvgg_b1": "RepVGG-B1",
    "repvgg_b2": "RepVGG-B2",
    "replknet_31b": "RepLKNet-31B",
    "repghost_2_0x": "RepGhost-2.0x",
    "lc2pwconv_t": "Lc2pwconv-T",
    "ln2bn_t": "Ln2bn-T",
    "shortcut_act_t": "Shortcut-act-T",
    "shortcut_act_s": "Shortcut-act-S",
    "shortcut_act_b": "Shortcut-act-B",
}
USUAL = ("eager", "fp32")
USUAL_RESOLUTION = 224
FORM_SUFFIX = {"rrep": "-rRep", "rrep_fc": "-rRep-fc", "srep": "-sRep"}


def display(model: str, form: str) -> str:
    """The name as the paper prints it, its re-parameterisation appended: RepNeXt-u3-T-sRep."""
    name = DISPLAY.get(model, model)
    if re.fullmatch("repnext_u[123]_[a-z]", model):
        _, unit, size = model.split("_")
        name = f"RepNeXt-{unit}-{size.upper()}"
    return name + FORM_SUFFIX.get(form, "")


def setting(backend: str, precision: str, resolution: int) -> str:
    """What sets a case apart from the usual one, eager fp32 at 224 pixels: ` compile fp16 288²`."""
    words = [word for word in (backend, precision) if word not in USUAL]
    if resolution != USUAL_RESOLUTION:
        words.append(f"{resolution}²")
    return "".join(f" {word}" for word in words)


def significant(value: float | None, digits: int = 3) -> str:
    """`value` to so many significant digits, never in exponents; a dash for None or nan."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def plus_minus(mean: float, std: float, digits: int = 3) -> str:
    """Both to the decimals of the mean: 11.9 ± 3.0; the mean alone where std is not known."""
    text = significant(mean, digits)
    if math.isnan(std):
        return text
    decimals = len(text.partition(".")[2])
    return f"{text} ± {std:.{decimals}f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 6 min, 2.5 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def milliseconds(seconds: float | None) -> float | None:
    """Seconds to milliseconds."""
    return None if seconds is None else seconds * 1e3


def in_unit(unit: float, value: float | None) -> float | None:
    """A number in units of `unit`; None stays None."""
    return None if value is None else value / unit


def facts(known: Mapping[str, str | int | float | None]) -> str:
    """`{"memory_gib": 8, "logical_cores": 2}` to `8 GiB memory, logical cores 2`."""
    words = [
        f"{value} GiB {key.removesuffix('_gib')}"
        if key.endswith("_gib")
        else f"{key.replace('_', ' ')} {value}"
        for key, value in known.items()
        if value is not None
    ]
    return ", ".join(words)


def markdown(text: str) -> str:
    """`text` as a cell of a Markdown table shows it: no markup, no end of cell, one line.

    Nothing in it is left that a terminal would obey.

    An underscore inside a word is no markup and stays as it is.
    """
    words = " ".join(text.split())
    return MARKUP.sub(r"\\\g<0>", "".join(each for each in words if each.isprintable()))


def printable(text: str) -> str:
    """`text` as one line of bounded length, without anything that a terminal would obey."""
    is_long = len(text) > 2 * ENDS_SHOWN
    shown = f"{text[:ENDS_SHOWN]}…{text[-ENDS_SHOWN:]}" if is_long else text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in shown
    )
