"""SIGTERM at single lines of the code: a run ends in good order wherever the signal comes."""

import random
from pathlib import Path

import pytest
from support import signal_at_line
from support.sweep import Sweep, heed_signals

import bench

PLACES = 50


def ended_at(place, folder):
    """Run a sweep that gets SIGTERM at `place`; return the exit code and the output."""
    sweep = Sweep(folder, program=(signal_at_line.__file__, place))
    code = sweep.start(preexec_fn=heed_signals).wait(120)
    sweep.assert_nothing_runs()
    return code, sweep.said()


@pytest.mark.faults
def test_a_signal_at_any_line_ends_a_run_in_good_order(tmp_path):
    assert ended_at("list", tmp_path / "whole")[0] == 0
    reached = (tmp_path / "whole/lines").read_text().splitlines()
    own = [place for place in reached if place.startswith(str(Path(bench.__file__).parent))]
    assert len(own) > 10 * PLACES
    for number, place in enumerate(random.Random(1).sample(own, PLACES)):
        code, said = ended_at(place, tmp_path / f"{number}")
        assert code == 130, f"{place}: {code}\n{said}"
        assert "Traceback" not in said, place
