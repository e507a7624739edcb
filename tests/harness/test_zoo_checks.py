"""The network whose weights made it most chaotic once: checks pass, and little is magnified."""

import copy

import pytest
import torch
from support.conditioning import gain
from support.paper_sweep import USUAL, built, check_form

HARDEST = "efficientnet_b5"
# The other settings compute in 16 bits, which takes minutes on most CPUs: `nox -s paper_zoo`.
SETTINGS = [("channels_last", "fp32"), ("eager", "tf32")]
MOST_GAIN = 20.0

pytestmark = pytest.mark.slow


def test_the_checks_of_the_hardest_network_pass():
    checks = check_form(HARDEST, "plain", SETTINGS).checks
    assert [each.setting for each in checks] == [" ".join(setting) for setting in SETTINGS]
    assert {each.setting: each.why for each in checks if each.why} == {}


@torch.inference_mode()
def test_the_hardest_network_magnifies_little():
    net, images = built(HARDEST, USUAL.resolution)
    assert gain(copy.deepcopy(net).double(), images) < MOST_GAIN
