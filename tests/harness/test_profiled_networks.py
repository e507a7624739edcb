"""Profiles of networks in wrappers, and of networks with other inputs than one image."""

import msgspec
import pytest
import torch
from support.networks import conv, head, job, module, prepared, with_inputs
from torch import nn

from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import ProfilePlan
from bench.harness.worker import profile

PLAN = ProfilePlan(seconds=0.02, block_s=0.005)


def profiled(make, **changes):
    """Return the modules of the operators in a profile of the network."""
    subject, _ = prepared(make, **changes)
    asked = msgspec.structs.replace(job(**changes), profile=PLAN)
    with torch.inference_mode():
        found = profile.profile(asked, CpuSession(Host()), subject)
    return {row.module for row in found.rows}


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_a_profile_of_a_network_in_a_wrapper_is_of_the_network_itself(wrap):
    found = profiled(lambda: wrap(nn.Sequential(conv(), head())))
    assert found == {"0", "1.0", "1.1", "1.2"}


def test_a_profile_takes_several_inputs_and_a_dictionary_of_outputs():
    def forward(self, x, scale):
        return {"logits": self.head(self.stem(x)) * scale}

    def inputs(batch, resolution):
        return torch.randn(batch, 3, resolution, resolution), torch.ones(batch, 1)

    found = profiled(with_inputs(lambda: module(forward, stem=conv(), head=head()), inputs))
    assert {"", "stem", "head.2"} <= found


def test_a_profile_takes_an_image_of_one_channel_that_is_no_square():
    found = profiled(lambda: nn.Sequential(nn.Conv2d(1, 4, 3)), input="1x24x40", resolution=40)
    assert found == {"0"}
