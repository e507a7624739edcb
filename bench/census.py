"""Counts every model-form of the zoo: `python -m bench.census` writes `bench/data/zoo.csv`.

The networks are built without weights, so it takes seconds; a test holds the file to the code.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import torch

from bench import models
from bench.models import cost, zoo
from bench.paper import ZOO_FILE, Counted

RESOLUTION = 224


def count(name: str, form: str) -> Counted:
    """Parameters and bytes of weights of one model-form, MACs and bytes of one 224-pixel image."""
    with torch.device("meta"):
        net = models.build(name, form, resolution=RESOLUTION)
    seen = cost.survey(net, RESOLUTION)
    return Counted(
        model=name,
        form=form,
        params=cost.count_params(net),
        macs=seen.macs,
        weight_bytes=cost.weight_bytes(net),
        activation_bytes=seen.activation_bytes,
    )


def table() -> str:
    """All of the zoo as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Counted.__struct_fields__)
    for spec in zoo.ZOO.values():
        for form in spec.forms:
            row = count(spec.name, form)
            writer.writerow(getattr(row, field) for field in Counted.__struct_fields__)
    return text.getvalue()


if __name__ == "__main__":
    Path(ZOO_FILE).write_text(table(), encoding="utf-8")
