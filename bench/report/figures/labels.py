"""Placement of names next to the spots of a figure, without overlap. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Candidate positions of a name's box round its spot, in quarters of the box, at growing distances.
STEPS = (0.0, 0.5, -0.5, 1.0, -1.0, 0.25, -0.25, 0.75, -0.75)
AROUND = np.array([(x, y) for y in STEPS for x in STEPS if max(abs(x), abs(y)) == 1.0])
GAPS = (1.0, 4.0, 9.0, 15.0, 22.0, 30.0, 40.0, 52.0, 66.0, 84.0, 106.0, 132.0, 164.0, 200.0, 250.0)
NEAR = 5.0  # points; a name further from its spot gets a leader (a line to the spot)
AMBIGUOUS = 1.4  # a name also gets a leader if another spot is nearer than this times the distance
PADDING = 1.0  # points between objects that must not overlap
# Penalties of a position, in points of distance.
LEADER, CROSSED, CROSSED_BY_LEADER = 12.0, 14.0, 4.0
DRIVEN_OUT, FOUGHT_OVER = 60.0, 8.0
TRIES = 6  # attempts per name to place all names


class Place(NamedTuple):
    """The centre of a name's box, and the end of its leader at the box; None without a leader."""

    x: float
    y: float
    leader: tuple[float, float] | None


def places(
    spots: Array, radius: float, sizes: Array, area: tuple[float, float], lines: Array
) -> list[Place | None]:
    """A position for the name of each spot; None if there is no free one.

    All lengths are in points. `spots` (n, 2): positions. `sizes` (n, 2): widths and heights of the
    names. `area`: names must lie between (0, 0) and this corner. `lines` (m, 2, 2): segments that
    names should avoid. Names overlap neither other names, nor spots, nor other names' leaders.

    A greedy search with rip-up: names, the widest first, take the cheapest position. A name may
    evict others, which then search again. Positions where this happened become more expensive.
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
    for i in [*waiting, *found]:  # a second pass: without conflicts, some names can improve
        others = {j: place for j, place in found.items() if j != i}
        asked = _Question(spots, i, radius, sizes, area, lines, np.empty((0, 4)))
        best = _best(asked, others, np.inf)
        if best:
            found[i], _ = best
    return [found.get(i) for i in range(len(spots))]


class _Question(NamedTuple):
    """The search for a position of the name of spot `i`; arguments as in `places`."""

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
    """The cheapest position, and the names to evict for it; None if every position is forbidden.

    cost = distance to the spot + penalties for crossings, a leader and contested positions
    + `price` per evicted name. An infinite `price` forbids evictions.
    """
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
    """The boxes (n, 4) and leaders (n, 2, 2) of placed names; a missing leader ends at nan.

    nan compares false, so such a leader crosses nothing.
    """
    boxes = [_box((place.x, place.y), sizes[j]) for j, place in found.items()]
    ends = [place.leader or (np.nan, np.nan) for place in found.values()]
    leaders = [(spots[j], end) for j, end in zip(found, ends, strict=True)]
    return np.reshape(boxes, (-1, 4)), np.reshape(leaders, (-1, 2, 2))


def _box(middles: Array | tuple[float, float], size: Array) -> Array:
    """The edges left, bottom, right, top of boxes with these centres, including the padding."""
    half = size / 2 + PADDING
    return np.concatenate([middles - half, middles + half], axis=-1)


def _overlap(one: Array, other: Array) -> Flags:
    """Whether box i of `one` (n, 4) overlaps box j of `other` (m, 4): flags (n, m)."""
    first, second = one[:, None], other[None]
    overlap = (first[..., :2] < second[..., 2:]) & (second[..., :2] < first[..., 2:])
    return np.asarray(overlap.all(axis=-1))


def _distance(boxes: Array, points: Array) -> Array:
    """Distances (n, m) from boxes (n, 4) to points (m, 2); 0 inside a box."""
    near = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    return np.linalg.norm(near - points[None], axis=-1)


def _meet(lines: Array, boxes: Array) -> Flags:
    """Whether segment i of `lines` (n, 2, 2) meets box j of `boxes` (m, 4): flags (n, m).

    Liang-Barsky clipping: the segment is inside the box for parameters from `enter` to `leave`.
    """
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
    """Whether segment i of `one` (n, 2, 2) crosses segment j of `other` (m, 2, 2): flags (n, m)."""
    a, b = one[:, None, 0], one[:, None, 1]
    c, d = other[None, :, 0], other[None, :, 1]
    apart = np.maximum(_side(a, b, c) * _side(a, b, d), _side(c, d, a) * _side(c, d, b))
    return np.asarray(apart < 0)


def _side(a: Array, b: Array, p: Array) -> Array:
    """The cross product (b − a) x (p − a): above 0 if `p` is to the left of the line a to b."""
    return (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        p[..., 0] - a[..., 0]
    )
