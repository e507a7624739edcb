"""Count every form of every model of the zoo; `python -m bench.paper.census` writes `data/zoo.csv`.

It takes seconds, because the networks have no weights. A test compares the file with the code.
`python -m bench.paper.census results-imagenet.csv` writes `data/timm_imagenet1k.csv` instead, from
timm's published results (see docs/accuracy.md).
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path

import timm
import torch

from bench import models
from bench.models import cost, zoo
from bench.paper.accuracy import TIMM_FILE, Published
from bench.paper.tables import ZOO_FILE, Counted

RESOLUTION = 224


def count(name: str, form: str) -> Counted:
    """Count one form of a model: parameters, and bytes of weights.

    MACs, bytes of activations and elements are for one image of 224 x 224 pixels.
    """
    with torch.device("meta"):
        net = models.build(name, form, resolution=RESOLUTION)
    image = torch.zeros(1, 3, RESOLUTION, RESOLUTION)
    seen = cost.survey(net, [image])
    assert seen.macs is not None, seen.uncounted
    assert seen.activation_bytes is not None, seen.uncounted
    return Counted(
        model=name,
        form=form,
        params=cost.count_params(net),
        macs=seen.macs,
        weight_bytes=cost.weight_bytes(net),
        activation_bytes=seen.activation_bytes,
        **cost.count_small_operators(net, [image])._asdict(),
    )


def table() -> str:
    """Return the counts of the whole zoo as CSV."""
    counted = [count(spec.name, form) for spec in zoo.ZOO.values() for form in spec.forms]
    columns = Counted.__struct_fields__
    return _csv(columns, ([getattr(row, field) for field in columns] for row in counted))


def published(results: str) -> str:
    """Return the lines for `timm_imagenet1k.csv`, from timm's `results-imagenet.csv`.

    Weights that the installed timm does not know are omitted.
    """
    names = set(timm.list_pretrained())
    ours = []
    for row in csv.DictReader(io.StringIO(results)):
        name, _, tag = row["model"].partition(".")
        if row["model"] in names:
            default = tag == timm.models.get_pretrained_cfg_value(name, "tag")
            ours.append((row["model"], int(default), int(row["img_size"]), row["top1"]))
    return _csv(Published.__struct_fields__, sorted(ours))


def _csv(header: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue()


if __name__ == "__main__":
    if sys.argv[1:]:
        Path(TIMM_FILE).write_text(published(Path(sys.argv[1]).read_text("utf-8")), "utf-8")
    else:
        Path(ZOO_FILE).write_text(table(), encoding="utf-8")
