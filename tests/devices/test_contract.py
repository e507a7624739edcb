"""The contract of every device, and of every backend on every device; a fake replaces CUDA."""

import contextlib
import json
import time

import msgspec
import pytest
import torch
from support import networks
from support.runtimes import AOTINDUCTOR
from torch import nn

from bench.backends import BACKENDS
from bench.backends.of_onnx import OfOnnx
from bench.devices import DEVICES, cuda, driver_of
from bench.devices.cuda import CudaSession
from bench.devices.host import Host
from bench.devices.kernels import calibrate
from bench.devices.precision import PRECISIONS
from bench.devices.sensors import nvml
from bench.devices.sensors.sensor import MissingSensor
from bench.errors import UnavailableError
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import Job
from bench.harness.worker import prepare
from bench.harness.worker.check import CheckError
from bench.harness.worker.timing import StageClock
from bench.records import Artifact, Case, Chip, Gauges, Reading

KINDS = {"cpu", "gpu", "edge", ""}
TRIED = [AOTINDUCTOR if name == "aotinductor" else name for name in BACKENDS]


class Event:
    """A fake CUDA event with the time of the host."""

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


class Gpu(MissingSensor):
    """An open GPU without any readable level."""

    name = "NVIDIA Stand-in"

    def __init__(self):
        super().__init__("a stand-in")

    def facts(self):
        return {"compute_capability": "8.0"}

    def process_bytes(self, pid):
        return None


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(params=DEVICES.values(), ids=DEVICES)
def driver(request, monkeypatch):
    """Each driver. The CPU replaces a chip that torch calls `cuda`."""
    driver = request.param
    if driver.torch_device == "cuda":
        monkeypatch.setattr(nvml, "open_gpu", lambda: contextlib.nullcontext(Gpu()))
        monkeypatch.setattr(cuda, "_open_gpu", Gpu)
        monkeypatch.setattr(CudaSession, "torch_device", "cpu")
        monkeypatch.setattr(CudaSession, "settings", lambda self: {})
        for name in ("memory_allocated", "max_memory_allocated", "max_memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, lambda: 0)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "Event", Event)
        small = cuda.GPU._replace(channels=8, pixels=4, dtype="float32", copied_bytes=4096)
        for module in ("cuda.GPU", "orin.BOARD"):
            monkeypatch.setattr(f"bench.devices.{module}", small)
    threads = torch.get_num_threads()
    yield driver
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def case_on(driver, **changes):
    given = {"resolution": 32, "device": driver.name, "threads": 1}
    return Case("timm/test_resnet", "plain", **{**given, **changes})


def small():
    """A network that `compile` compiles in seconds: it has few kernels."""
    return nn.Sequential(networks.conv(), nn.BatchNorm2d(16), nn.GELU(), networks.head())


def test_a_driver_has_consistent_attributes(driver):
    assert DEVICES[driver.name] is driver is driver_of(driver.name)
    assert driver.kind in KINDS
    assert driver.runs_torch == bool(driver.torch_device)
    assert driver.is_shared != driver.runs_torch  # two runs on one real chip disturb each other
    assert driver.clock_follows_load == (driver.kind in {"gpu", "edge"})
    assert min(driver.speed.macs_per_s, driver.speed.macs_per_s_large) > 0
    assert "resnet50" not in driver.own_models


def test_an_unknown_device_has_no_driver():
    assert driver_of("abacus") is None


def found_on(driver):
    """Return the chip, or the error if it is not available."""
    try:
        return driver.identify()
    except UnavailableError as error:
        return error


def test_identify_describes_the_chip_or_raises_with_a_remedy(driver):
    found = found_on(driver)
    if isinstance(found, UnavailableError):
        assert found.remedy
        return
    assert (found.device, found.kind) == (driver.name, driver.kind)
    assert found.threads >= 1
    assert msgspec.json.decode(msgspec.json.encode(found), type=Chip) == found


def test_every_precision_is_available_or_missing_with_a_reason(driver):
    chip = Chip(driver.name, driver.kind, "Test", 1, {})
    for name in PRECISIONS:
        reason = driver.missing_precision(name, chip)
        assert reason is None or len(reason) > 10
    assert driver.missing_precision("fp32", chip) is None


def test_a_driver_has_no_state_between_sessions(driver):
    before = dict(vars(driver))
    with driver.session(case_on(driver)) as first:
        first.kernels()
    with driver.session(case_on(driver)) as second:
        assert first is not second
    assert vars(driver) == before


def test_a_session_has_every_method_of_the_protocol(driver):
    with driver.session(case_on(driver)) as session:
        assert (session.script is None) == driver.runs_torch
        assert session.has_queue == driver.has_queue
        calibration = calibrate(session.kernels(), session.now)
        assert min(calibration) > 0
        call = session.script.network(case_on(driver), 1) if session.script else lambda: None
        times = session.device_times(call, 3)
        assert len(times) == (3 if session.has_queue else 0)
        readings = [session.sense(), session.sense()]
        assert readings[1].at_s >= readings[0].at_s
        for reading in readings:
            assert msgspec.json.decode(msgspec.json.encode(reading), type=Reading) == reading
            named = set(reading.missing) <= set(Reading.__struct_fields__)
            assert named, reading.missing
        session.reset_peak_memory()
        assert all(size is None or size >= 0 for size in session.memory())
        json.dumps(session.settings())
        assert session.peak_work.sides
        sensor = session.sensor()
        if sensor and session.script is None:
            gauges = sensor.gauges()
            unread = {name for name in Gauges.__struct_fields__ if getattr(gauges, name) is None}
            assert {name for name in unread if name != "missing"} <= set(gauges.missing)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_available_or_missing_with_a_reason(driver, name):
    if driver.runs_torch:
        reason = BACKENDS[name].missing(driver.torch_device)
        assert reason is None or len(reason) > 10


@pytest.mark.parametrize("name", TRIED)
def test_a_backend_computes_the_same_as_eager(driver, name):
    """`inspect` raises if the output is wrong. Skips a backend that is not available."""
    job = networks.job(backend=name, device=driver.name)
    case = job.case
    with driver.session(case) as session, networks.made_by(small):
        if session.script is not None:
            assert callable(session.script.network(case, 1))
            return
        if BACKENDS[name].missing(session.torch_device):
            pytest.skip(BACKENDS[name].missing(session.torch_device))
        clock = StageClock(session.now, lambda stage: None)
        prepared = prepare.prepare(job, session, clock)
        known = prepared.inspect(prepared.call())
        same = Case(case.model, case.form)
        differs = (case.backend, case.device) != (same.backend, same.device)
        assert (known.check.against is not None) == differs
        runtime = bool(BACKENDS[name].exporters)
        assert bool(prepared.operators()) == (BACKENDS[name].one_by_one or runtime)
        assert (prepared.profiler() is not None) == isinstance(BACKENDS[name], OfOnnx)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_with_a_wrong_output_fails_its_check(driver, name, monkeypatch):
    case = case_on(driver, backend=name)
    reference = Case(case.model, case.form)
    if not driver.runs_torch or (case.backend, case.device) == (
        reference.backend,
        reference.device,
    ):
        return  # nothing to compare with
    exported = []

    def load(model, example, precision):
        return lambda: nn.Softmax(1)(model(*example))

    def export(model, *_):
        exported.append(model)
        return Artifact("", "", 0, "")

    monkeypatch.setattr(BACKENDS[name], "load", load)
    monkeypatch.setattr(BACKENDS[name], "export", export)
    monkeypatch.setattr(BACKENDS[name], "open", lambda _, *given: load(exported[-1], *given))
    with driver.session(case) as session:
        clock = StageClock(session.now, lambda stage: None)
        with pytest.raises(CheckError, match="differs from that of"):
            inspected(prepare.prepare(Job(case, 1, PRESETS["quick"], None), session, clock))


def inspected(prepared):
    return prepared.inspect(prepared.call())


def test_the_host_can_be_read_below_another_root(tmp_path):
    (tmp_path / "proc").mkdir()
    assert Host(tmp_path).sense().busy_cpu_s is None
