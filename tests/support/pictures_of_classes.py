"""Folders of small images of several classes, as a training reads them."""

from pathlib import Path

import numpy as np
from PIL import Image

HELD_OUT = 2  # of each class


def write_classes(folder: Path, classes: tuple[str, ...], count: int) -> None:
    """Write `count` images of each class to train on, and HELD_OUT others, 20 x 24 pixels each.

    The mean of an image tells its class; the rest is noise.
    """
    rng = np.random.default_rng(0)
    for part, images in (("train", count), ("val", HELD_OUT)):
        for number, name in enumerate(classes):
            mean = 255 * (number + 1) / (len(classes) + 1)
            (folder / part / name).mkdir(parents=True)
            for place in range(images):
                pixels = np.clip(rng.normal(mean, 30, (24, 20, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{place}.png")
