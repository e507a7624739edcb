"""Without torchvision, timm cannot be imported; networks that do not need it can be measured."""

import subprocess
import sys

import pytest

SETUP = """
import sys
sys.modules["torchvision"] = None  # each import of it fails
import torch
from bench.devices import DEVICES
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import Job
from bench.harness.worker import prepare
from bench.harness.worker.timing import StageClock
from bench.records import Case

def measurable(model, form):
    case = Case(model, form, resolution=32, threads=1)
    cpu = CpuSession(Host())
    clock = StageClock(cpu.now, lambda stage: None)
    with torch.inference_mode():
        prepared = prepare.prepare(Job(case, 1, PRESETS["quick"], None), cpu, clock)
        return prepared.inspect(prepared.call())

DEVICES["cpu"].preload()
assert "timm" not in sys.modules
"""
OURS = """
assert measurable("repnext_u3_t", "rrep").check.largest_relative_error < 1e-3
"""
OF_OTHERS = """
from bench.models.fuse import forms_of
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
assert forms_of(net) == ("plain",)
from bench.models import fold
assert fold._computes_as_usual(*net)
assert "timm" not in sys.modules
"""
OF_TIMM = """
from bench.errors import UnavailableError
for model in ("resnet50", "ln2bn_t"):
    try:
        measurable(model, "plain")
    except UnavailableError as error:
        print(error)
"""


def output_of(code):
    command = [sys.executable, "-c", SETUP + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_network_without_timm_is_built_merged_and_checked():
    output_of(OURS)


def test_a_network_of_timm_fails_with_the_command_that_installs_what_is_missing():
    lines = output_of(OF_OTHERS + OF_TIMM).splitlines()
    assert len(lines) == 4
    assert all("timm cannot be imported: ModuleNotFoundError" in line for line in lines[::2])
    assert lines[1] == lines[3] == "Run: pip install torchvision timm"
