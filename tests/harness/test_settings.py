"""What the worker records of the settings that decide the speed of its process."""

import os

import pytest
import torch
from support.networks import conv, head, measured
from torch import nn

from bench.analysis.reasons import Observation
from bench.analysis.verdict import Machine, judge


def layers():
    return nn.Sequential(conv(), head())


def observed(made):
    return [reason.observation for reason in judge(made, Machine()).reasons]


def test_a_small_network_that_cannot_use_two_threads_is_not_accused():
    made = measured(layers, threads=2)
    assert made.conditions.threads_used == pytest.approx(2, rel=0.2)
    assert made.settings["threads"] == 2
    assert {Observation.FEWER_THREADS, Observation.SETTING_DIFFERS} & {*observed(made)} == set()


def test_what_was_off_before_the_network_was_built_is_named():
    """As a `sitecustomize` may do it; no code of the network changes it."""
    torch.backends.mkldnn.set_flags(False)
    try:
        made = measured(layers)
    finally:
        torch.backends.mkldnn.set_flags(True)
    assert made.settings["mkldnn"] is False
    assert Observation.SETTING_DIFFERS in observed(made)


@pytest.mark.parametrize(
    ("variable", "is_named"),
    [("ONEDNN_MAX_CPU_ISA", True), ("MKL_CBWR", True), ("OMP_NUM_THREADS", False)],
)
def test_a_variable_that_a_factory_sets_too_late_to_undo_is_named(monkeypatch, variable, is_named):
    """Some packages set OMP_NUM_THREADS when they are imported, which then has no effect."""
    monkeypatch.delenv(variable, raising=False)

    def make():
        os.environ[variable] = "1"
        return layers()

    try:
        made = measured(make)
    finally:
        del os.environ[variable]
    assert ("the variables of MKL and oneDNN" in made.changed) is is_named
    assert (Observation.SETTING_CHANGED in observed(made)) is is_named
    assert any(variable in warning for warning in made.warnings) is is_named
