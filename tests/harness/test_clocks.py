"""A clock that code of the user replaces: the times are right, or the round is INVALID."""

import ast
import math
import time
from pathlib import Path

import msgspec
import pytest
from support import clocks as replaced
from support.networks import conv, head, measured, module
from torch import nn

import bench
from bench.analysis.ratio import usual_state
from bench.analysis.reasons import Observation
from bench.analysis.verdict import Machine, judge, quiet_of
from bench.devices.cpu import CpuSession

CALL_S = 0.02


def sleeping(on_build):
    """Return a factory whose network takes CALL_S seconds or more; building it calls `on_build`."""

    def forward(self, x):
        time.sleep(CALL_S)
        return self.layers(x)

    def make():
        on_build()
        return module(forward, layers=nn.Sequential(conv(), head()))

    return make


@pytest.mark.parametrize("factor", [5, math.inf])
def test_a_clock_that_a_package_replaces_is_not_read(factor):
    """freezegun rebinds the attributes of modules, and so does the helper of this test."""
    with replaced.put_back():
        made = measured(sleeping(lambda: replaced.replace(replaced.slowed(factor))))
        assert time.perf_counter is not replaced.REAL["perf_counter"]
    assert min(made.samples_s) >= CALL_S
    assert not doubts_of_clock(made)
    assert made.conditions.counted_s == pytest.approx(made.conditions.waited_s, rel=0.2, abs=0.05)


def test_time_that_freezegun_freezes_is_not_read():
    frozen = pytest.importorskip("freezegun").freeze_time("2020-01-01")
    try:
        made = measured(sleeping(frozen.start))
        assert time.perf_counter() == time.perf_counter()
    finally:
        frozen.stop()
    assert min(made.samples_s) >= CALL_S
    assert not doubts_of_clock(made)


def test_a_round_by_a_clock_at_a_fifth_of_its_speed_is_invalid(monkeypatch):
    real = CpuSession.now

    def build():
        monkeypatch.setattr(CpuSession, "now", lambda self: real(self) / 5)

    made = measured(sleeping(build))
    assert max(made.samples_s) < CALL_S
    (doubt,) = doubts_of_clock(made)
    assert doubt.level == "INVALID"
    assert "freezegun" in doubt.doubt.value
    honest = msgspec.structs.replace(made, conditions=None, block_compute_s=[9.0, 9.0])
    assert quiet_of([made, honest]).compute_s == 9.0
    assert usual_state([made, honest])[0] == math.log(9.0)
    assert quiet_of([made]) is usual_state([made]) is None


def doubts_of_clock(made):
    verdict = judge(made, Machine())
    return [each for each in verdict.reasons if each.observation is Observation.FALSE_CLOCK]


def test_no_code_that_measures_reads_a_clock_that_can_be_replaced():
    root = Path(bench.__file__).parent
    read = [
        f"{path.relative_to(root)}: time.{node.attr}"
        for room in ("devices", "backends", "harness/worker")
        for path in sorted((root / room).rglob("*.py"))
        if path != root / "devices/clocks.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("time", name) for name in replaced.REAL}
    ]
    assert read == []
