import math

import numpy as np
import pytest

from bench.stats import summarise


def test_pools_all_iterations_of_all_processes():
    summary = summarise([[1.0, 2.0, 4.0], [3.0, 10.0]])
    pooled = np.array([1.0, 2.0, 4.0, 3.0, 10.0])
    assert summary.mean == pytest.approx(pooled.mean())
    assert summary.std == pytest.approx(pooled.std(ddof=1))
    assert summary.median == np.median(pooled)
    assert (summary.samples, summary.processes) == (5, 2)


def test_one_sample_has_no_spread():
    assert math.isnan(summarise([[1.0]]).std)


def test_nothing_has_no_summary():
    with pytest.raises(ValueError, match="no samples"):
        summarise([[], []])
