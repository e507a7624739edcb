"""Where there is room for names in a picture. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Where a name may go: its box beside the spot, in steps of a quarter round it, from near to far.
STEPS = (0.0, 0.5, -0.5, 1.0, -1.0, 0.25, -0.25, 0.75, -0.75)
AROUND = np.array([(x, y) for y in STEPS for x in STEPS if max(abs(x), abs(y)) == 1.0])
GAPS = (1.0, 4.0, 9.0, 15.0, 22.0, 30.0, 40.0, 52.0, 66.0, 84.0, 106.0, 132.0, 164.0, 200.0, 250.0)
NEAR = 5.0  # points from a spot to its name, beyond which a leader joins them
AMBIGUOUS = 1.4  # so much further away another spot must be, or a leader joins them too
PADDING = 1.0  # points between what must not overlap
# What a place costs, in points of distance.
LEADER, CROSSED, CROSSED_BY_LEADER = 12.0, 14.0, 4.0
DRIVEN_OUT, FOUGHT_OVER = 60.0, 8.0
TRIES = 6  # to find a place for all, times the number of names


class Place(NamedTuple):
    """The middle of a name's box, and the end of the line that leads to it, None without one."""

    x: float
    y: float
    leader: tuple[float, float] | None


def places(
    spots: Array, radius: float, sizes: Array, area: tuple[float, float], lines: Array
) -> list[Place | None]:
    """A place for the name of each spot; None where there is none.

    Everything in points: `spots` (n, 2), the `sizes` of their names (n, 2), an `area` from (0, 0)
    on which they must be, and `lines` (m, 2, 2) that they had better not cross. Names overlap
    neither each other, nor spots, nor lines that lead to other names.

    One after another, the widest first, takes the place that costs least. It may drive others out,
    which then look for another place; where that happens becomes dear, so that names move away.
    """
    found: dict[int, Place] = {}
    fought_over = np.empty((0, 4))
    waiting = sorted(range(len(spots)), key=lambda i: -sizes[i, 0])
    for _ in range(TRIES * len(spots)):
        if not waiting:
            break
        asked = _Question(spots, waiting.pop(0), radius, sizes, area, lines, fought_over)
        best = _best(asked, found, DRIVEN_OUT)
        if best:
            found[asked.i], losers = best
            boxes, _ = _taken({j: found[j] for j in losers}, sizes, spots)
            fought_over = np.concatenate([fought_over, boxes])
            for j in losers:
                del found[j]
            waiting += losers
    for i in [*waiting, *found]:  # when most have a place some find a better one
        others = {j: place for j, place in found.items() if j != i}
        asked = _Question(spots, i, radius, sizes, area, lines, np.empty((0, 4)))
        best = _best(asked, others, np.inf)
        if best:
            found[i], _ = best
    return [found.get(i) for i in range(len(spots))]


class _Question(NamedTuple):
    """Where does the name of spot `i` go?"""

    spots: Array
    i: int
    radius: float
    sizes: Array
    area: tuple[float, float]
    lines: Array
    fought_over: Array


def _best(
    asked: _Question, found: Mapping[int, Place], price: float
) -> tuple[Place, list[int]] | None:
    """The cheapest place, and the names that must leave for it at a `price` each."""
    spots, i, radius, sizes, area, lines, fought_over = asked
    spot, size = spots[i], sizes[i]
    reach = size / 2 + radius + np.array(GAPS)[:, None]
    middles = (spot + AROUND * reach[:, None]).reshape(-1, 2)
    dots = _box(spots, np.array([2 * radius, 2 * radius]))
    own = _box(middles, size)
    free = (own[:, :2] >= 0).all(axis=1) & (own[:, 2:] <= area).all(axis=1)
    free &= ~_overlap(own, dots).any(axis=1)
    middles, own = middles[free], own[free]
    ends = np.clip(spot, own[:, :2], own[:, 2:])
    joins = np.stack([np.broadcast_to(spot, ends.shape), ends], axis=1)
    apart = np.abs(spots - spot).max(axis=1)
    under = (apart > PADDING) & (apart <= 2 * radius)
    away = np.linalg.norm(ends - spot, axis=1)
    nearest = _distance(own, spots[apart > PADDING]).min(axis=1, initial=np.inf)
    led = (away > radius + NEAR) | (nearest < AMBIGUOUS * away)
    boxes, leaders = _taken(found, sizes, spots)
    in_the_way = _overlap(own, boxes) | _meet(leaders, own).T
    in_the_way |= led[:, None] & (_meet(joins, boxes) | _cross(joins, leaders))
    crossed = _cross(joins, lines).sum(axis=1) + 2 * _meet(joins, dots[under]).sum(axis=1)
    crossed += 6 * _meet(joins, dots[apart > 2 * radius]).sum(axis=1)
    cost = away + CROSSED * _meet(lines, own).sum(axis=0)
    cost += led * (LEADER + CROSSED_BY_LEADER * crossed)
    cost += FOUGHT_OVER * _overlap(own, fought_over).sum(axis=1)
    cost += np.where(in_the_way, price, 0.0).sum(axis=1)
    if not np.isfinite(cost).any():
        return None
    best = int(cost.argmin())
    leader = (float(ends[best, 0]), float(ends[best, 1])) if led[best] else None
    place = Place(float(middles[best, 0]), float(middles[best, 1]), leader)
    return place, [j for j, leaves in zip(found, in_the_way[best], strict=True) if leaves]


def _taken(found: Mapping[int, Place], sizes: Array, spots: Array) -> tuple[Array, Array]:
    """Boxes of names, and the lines that lead to them: nan, which meets nothing, without one."""
    boxes = [_box((place.x, place.y), sizes[j]) for j, place in found.items()]
    ends = [place.leader or (np.nan, np.nan) for place in found.values()]
    leaders = [(spots[j], end) for j, end in zip(found, ends, strict=True)]
    return np.reshape(boxes, (-1, 4)), np.reshape(leaders, (-1, 2, 2))


def _box(middles: Array | tuple[float, float], size: Array) -> Array:
    """Left, lower, right and upper edge, with the padding."""
    half = size / 2 + PADDING
    return np.concatenate([middles - half, middles + half], axis=-1)


def _overlap(one: Array, other: Array) -> Flags:
    """Which of (n, 4) boxes overlap which of (m, 4)."""
    first, second = one[:, None], other[None]
    overlap = (first[..., :2] < second[..., 2:]) & (second[..., :2] < first[..., 2:])
    return np.asarray(overlap.all(axis=-1))


def _distance(boxes: Array, points: Array) -> Array:
    """From each of (n, 4) boxes to each of (m, 2) points; 0 inside."""
    near = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    return np.linalg.norm(near - points[None], axis=-1)


def _meet(lines: Array, boxes: Array) -> Flags:
    """Which of (n, 2, 2) lines have a point in which of (m, 4) boxes."""
    # Shares of a line between which it is in the box.
    enter, leave = (np.full((len(lines), len(boxes)), share) for share in (0.0, 1.0))
    for axis in (0, 1):
        start = lines[:, 0, axis, None]
        along = lines[:, 1, axis, None] - start
        along = np.where(along == 0, 1e-9, along)
        low, high = (boxes[:, axis] - start) / along, (boxes[:, axis + 2] - start) / along
        enter = np.maximum(enter, np.minimum(low, high))
        leave = np.minimum(leave, np.maximum(low, high))
    return np.asarray(enter <= leave)


def _cross(one: Array, other: Array) -> Flags:
    """Which of (n, 2, 2) lines cross which of (m, 2, 2)."""
    a, b = one[:, None, 0], one[:, None, 1]
    c, d = other[None, :, 0], other[None, :, 1]
    apart = np.maximum(_side(a, b, c) * _side(a, b, d), _side(c, d, a) * _side(c, d, b))
    return np.asarray(apart < 0)


def _side(a: Array, b: Array, p: Array) -> Array:
    """On which side of the line through `a` and `b` a point is: above 0 to the left."""
    return (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        p[..., 0] - a[..., 0]
    )
