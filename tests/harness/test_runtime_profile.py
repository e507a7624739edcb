"""A runtime's own profiler tells where the time of an exported network goes."""

import contextlib

import msgspec
import pytest
import torch
from support import networks
from support.runtimes import AOTINDUCTOR, EACH_OF_ONNX, needs_executorch, needs_onnxruntime
from torch import nn

from bench.analysis.profile.trace import TraceError
from bench.backends import onnxruntime
from bench.backends.backend import WrongEngineError
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import ProfilePlan
from bench.harness.worker import profile, runtime_pass
from bench.harness.worker.runtime_pass import RuntimeRecorder

pytestmark = pytest.mark.usefixtures("cache")
SECONDS = 0.3
EACH_RUNTIME = pytest.mark.parametrize("runtime", EACH_OF_ONNX)


class Net(nn.Module):
    """Convolutions with and without an activation, a LayerNorm, a residual addition, a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.branch = nn.Conv2d(32, 32, 5, padding=2, groups=32)
        self.norm = nn.LayerNorm(32)
        self.mlp = nn.Linear(32, 128)
        self.act = nn.GELU()
        self.head = networks.head(128)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.branch(x)
        x = self.act(self.mlp(self.norm(x.permute(0, 2, 3, 1))))
        return self.head(x.permute(0, 3, 1, 2))


def net():
    torch.manual_seed(0)
    return Net()


def profiled(runtime, make=net, **changes):
    """The profile of a network of 128 pixels in a runtime."""
    given = {"backend": runtime, "resolution": 128, **changes}
    plan = ProfilePlan(seconds=SECONDS, block_s=0.02, trace=True)
    job = msgspec.structs.replace(networks.job(**given), profile=plan)
    subject, _ = networks.prepared(make, **given)
    with torch.inference_mode():
        return profile.profile(job, CpuSession(Host()), subject)


@EACH_RUNTIME
def test_the_parts_have_modules_and_costs_and_add_up_to_the_latency(runtime):
    found = profiled(runtime)
    rows = {row.module: row for row in found.rows if row.macs}
    assert rows.keys() == {"stem.0", "branch", "mlp", "head.2"}
    assert rows["stem.0"].category == "other conv"
    assert rows["stem.0"].macs == 3 * 9 * 32 * 64 * 64
    assert rows["branch"].category == "depthwise or group conv"
    assert rows["mlp"].category == "fully connected"
    assert sum(row.time_s for row in found.rows) == pytest.approx(found.waterfall.busy_s)
    assert sum(msgspec.structs.astuple(found.waterfall)[1:5]) == pytest.approx(
        found.waterfall.plain_s
    )
    unknown = {row.operator for row in found.rows if row.category == "unattributed"}
    assert unknown <= {"ReduceMean", "Subgraph"}  # what OpenVINO makes of a LayerNorm
    assert found.trace is None
    assert found.notes == [profile.NO_TRACE]


@needs_onnxruntime
def test_a_profile_whose_calls_differ_is_refused(monkeypatch):
    decode = msgspec.json.decode

    def shortened(content, **options):
        found = decode(content, **options)
        if options.get("type") != list[onnxruntime._Event]:
            return found
        nodes = [each for each in found if each.name.endswith(onnxruntime.KERNEL)]
        return [each for each in found if each is not nodes[-1]]

    monkeypatch.setattr(onnxruntime.msgspec.json, "decode", shortened)
    with pytest.raises(WrongEngineError, match="differ between calls"):
        profiled("onnxruntime")


@pytest.mark.parametrize(
    "runtime", [pytest.param("executorch", marks=needs_executorch), AOTINDUCTOR]
)
def test_a_runtime_without_a_profiler_says_so(runtime):
    with pytest.raises(TraceError, match=f"no profiler shows what {runtime} executes"):
        profiled(runtime)


class NoProfiler:
    """A profiler without nodes, which counts how often it was closed."""

    closed = 0

    def __call__(self):
        return None

    def count(self, *, on):
        pass

    def end(self):
        return []

    def close(self):
        NoProfiler.closed += 1


def test_a_chain_without_nodes_is_no_cost_and_profilers_are_closed_after_an_error(monkeypatch):
    one = NoProfiler()
    monkeypatch.setattr(runtime_pass, "CHAIN_CALLS", 2)
    both = runtime_pass.RuntimeProfile(one, one, one)
    recorder = RuntimeRecorder(both, 1, [], CpuSession(Host()))
    with contextlib.closing(recorder), pytest.raises(TraceError, match="no nodes"):
        recorder.event_cost_s()
    assert NoProfiler.closed == 2
