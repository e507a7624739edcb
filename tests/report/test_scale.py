"""An axis holds all spans, and leaves out a wide gap before a few outliers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.figures import scale
from bench.report.figures.canvas import canvas

CROWD = [(10.0 + number, 11.0 + number) for number in range(8)]


def points(*values):
    return [(value, value) for value in values]


@pytest.mark.parametrize(
    ("spans", "is_log", "gaps"),
    [
        (CROWD, False, 0),
        ([*CROWD, (20.0, 22.0)], False, 0),  # the gap of 2 is narrow
        ([*CROWD, (60.0, 61.0)], False, 1),
        ([*CROWD, (600.0, 610.0)], True, 1),
        ([*CROWD, (0.1, 0.2), (900.0, 910.0)], True, 2),
        (points(1, 30), True, 0),  # which of two is the outlier?
        (points(1, 1.1, 1.2, 30, 31, 32), True, 0),  # two groups, no outliers
        ([(1.0, 100.0), *CROWD], True, 0),  # an interval fills the gap
        (points(5), False, 0),
    ],
)
def test_a_gap_is_left_out_only_before_a_few_outliers(spans, is_log, gaps):
    found = scale.scale_of(spans, may_be_log=True)
    assert (found.is_log, len(found.gaps)) == (is_log, gaps)
    assert found.low < min(low for low, _ in spans)
    assert found.high > max(high for _, high in spans)
    for low, high in spans:
        assert not any(low < above and below < high for below, above in found.gaps)


def test_without_outliers_the_rest_fills_the_axis():
    found = scale.scale_of([*CROWD, (600.0, 610.0)], may_be_log=True)
    left, right, outlier = found.forward([10.0, 18.0, 605.0])
    assert right - left > 0.65
    assert outlier > right


POSITIVE = st.floats(1e-3, 1e5)


@given(st.lists(POSITIVE, min_size=1, max_size=9), st.booleans())
def test_places_are_ordered_within_the_axis_and_can_be_read_back(values, may_be_log):
    found = scale.scale_of(points(*values), may_be_log=may_be_log)
    places = found.forward(sorted(values))
    assert (np.diff(places) >= 0).all()
    assert 0 < places[0] <= places[-1] < 1
    assert found.inverse(places) == pytest.approx(sorted(values), rel=1e-6)
    assert found.forward([found.low, found.high]) == pytest.approx([0, 1])


@pytest.mark.parametrize("name", ["x", "y"])
@pytest.mark.parametrize("outlier", [0.05, 60.0, 600.0])
def test_each_part_has_ticks_the_gap_none_and_slashes_mark_it(name, outlier):
    found = scale.scale_of([*CROWD, (outlier, 1.02 * outlier)], may_be_log=True)
    ((below, above),) = found.gaps
    with canvas() as figure:
        axes = figure.subplots()
        scale.apply(axes, name, found)
        figure.canvas.draw()
        assert getattr(axes, f"get_{name}lim")() == pytest.approx((found.low, found.high))
        ticks = getattr(axes, f"get_{name}ticks")()
        slashes = [line for line in axes.lines if line.get_marker() not in ("", "None", None)]
        assert [list(getattr(line, f"get_{name}data")()) for line in slashes] == [[below, above]]
    assert not any(below < tick < above for tick in ticks)
    for low, high in found.parts():
        assert any(low <= tick <= high for tick in ticks)
    places = found.forward(ticks)
    assert np.diff(places).min() >= 0.8 * scale.CLOSEST
    assert len(ticks) <= 20
