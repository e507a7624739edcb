"""Random numbers of a training: each depends on the seed and on its place alone.

So a training that was stopped continues with the same numbers as one that never was.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def number(*place: object) -> int:
    """Return 32 bits that depend on `place`, such as (seed, epoch, image)."""
    return int.from_bytes(hashlib.sha256(repr(place).encode()).digest()[:4], "big")


def seed_all(*place: object) -> None:
    """Seed the generators of Python, NumPy and torch in this process."""
    drawn = number(*place)
    random.seed(drawn)
    np.random.seed(drawn)
    torch.manual_seed(drawn)


def seed_image(*place: object) -> None:
    """Seed the generators that change an image on the CPU, which is faster than `seed_all`."""
    drawn = number(*place)
    random.seed(drawn)
    np.random.seed(drawn)
    torch.default_generator.manual_seed(drawn)


def order(count: int, *place: object) -> list[int]:
    """Return the numbers below `count` in an order that depends on `place`."""
    shuffled = list(range(count))
    random.Random(number(*place)).shuffle(shuffled)
    return shuffled
