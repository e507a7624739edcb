"""Networks whose weights made them chaotic once: all checks pass, and little is magnified."""

import copy

import pytest
import torch
from support.conditioning import gain
from support.paper_sweep import SETTINGS, USUAL, built, check_form

HARDEST = ("efficientnet_b4", "efficientnet_b5")
MOST_GAIN = 20.0

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("network", HARDEST)
def test_all_checks_of_a_hard_network_pass(network):
    checks = check_form(network, "plain").checks
    assert [each.setting for each in checks] == [" ".join(setting) for setting in SETTINGS]
    assert {each.setting: each.why for each in checks if each.why} == {}


@pytest.mark.parametrize("network", HARDEST)
@torch.inference_mode()
def test_a_hard_network_magnifies_little(network):
    net, images = built(network, USUAL.resolution)
    assert gain(copy.deepcopy(net).double(), images) < MOST_GAIN
