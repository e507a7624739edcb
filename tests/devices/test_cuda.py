"""The CUDA driver with fakes of torch.cuda and NVML."""

import contextlib
import os
import subprocess
import sys
import types

import pytest
import torch
from support.fake_cuda import Event

from bench import devices
from bench.devices import cuda, proof
from bench.devices.cuda import Cuda, CudaSession, with_gauges
from bench.devices.host import Host
from bench.devices.kernels import GPU
from bench.devices.sensors import nvml
from bench.errors import UnavailableError
from bench.harness.worker.errors import kind_of
from bench.process import command_for_module
from bench.records import Case, Gauges, Reading

CASE = Case("resnet50", "plain", precision="tf32", device="cuda", threads=1)


class Gpu(nvml.Gpu):
    """An open GPU with one set of gauges."""

    def __init__(self):
        self.name = "NVIDIA H200"
        self.closed = False
        self.mode = "default"

    def gauges(self):
        return Gauges(clock_hz=1.98e9, power_w=300.0, missing={"temperature_c": "no", "x": "y"})

    def facts(self):
        return {}

    def compute_mode(self):
        return self.mode

    def free_bytes(self):
        return 10

    def process_bytes(self, pid):
        return 700

    def close(self):
        self.closed = True


@pytest.fixture
def gpu(monkeypatch):
    """An open fake GPU, and a torch.cuda that needs no GPU."""
    opened = Gpu()
    monkeypatch.setattr(nvml, "open_gpu", lambda: opened)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 500)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 600)
    threads = torch.get_num_threads()
    yield opened
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def test_a_session_sets_precision_and_threads_and_opens_the_sensor(gpu):
    with Cuda().session(CASE) as session:
        assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 1
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
        assert session.sensor() is gpu
        assert session.memory() == (500, 600, 700)
        assert not gpu.closed
    assert gpu.closed
    assert not torch.is_inference_mode_enabled()


def test_a_reading_has_values_of_host_and_gpu(gpu):
    with Cuda().session(CASE) as session:
        reading = session.sense()
    assert reading.busy_cpu_s > 0
    assert (reading.clock_hz, reading.power_w, reading.temperature_c) == (1.98e9, 300.0, None)
    assert reading.missing == {"temperature_c": "no"}
    assert os.getpid() in reading.thread_s  # tells whether the process was stopped
    assert reading.counts_waits is Host().sense().counts_waits


def test_the_clock_of_the_gpu_replaces_the_missing_clock_of_the_host():
    host = Reading(at_s=0, missing={"clock_hz": "no cpufreq", "busy_cpu_s": "no /proc/stat"})
    reading = with_gauges(host, Gauges(clock_hz=1e9))
    assert (reading.clock_hz, reading.missing) == (1e9, {"busy_cpu_s": "no /proc/stat"})


def test_memory_of_the_calibration_kernels_is_subtracted(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100)
    monkeypatch.setattr(cuda, "torch_kernels", lambda size, where: None)
    with Cuda().session(CASE) as session:
        session.kernels()
        assert session.memory() == (400, 500, 600)


def test_free_bytes_are_the_smaller_of_gpu_and_host(gpu, monkeypatch):
    monkeypatch.setattr(nvml, "open_gpu", lambda: contextlib.nullcontext(gpu))
    assert Cuda().free_bytes() == 10


def test_a_reading_has_the_reason_if_nvml_fails(monkeypatch):
    def refuse():
        raise UnavailableError("no NVIDIA GPU here: NVML says no", "")

    monkeypatch.setattr(nvml, "open_gpu", refuse)
    with Cuda().session(CASE) as session:
        reading = session.sense()
        assert session._process_bytes() is None
    assert "NVML says no" in reading.missing["clock_hz"]


def test_a_gpu_in_exclusive_mode_serves_one_process_at_a_time(gpu):
    assert (
        devices.DEVICES["cuda"].most_children()
        == devices.DEVICES["cpu"].most_children()
        == sys.maxsize
    )
    gpu.mode = "exclusive_process"
    assert devices.DEVICES["cuda"].most_children() == 1


def test_the_driver_of_a_gpu_is_held_open_during_a_run(gpu, monkeypatch):
    with devices.DEVICES["cuda"].keep_ready():
        assert not gpu.closed
    assert gpu.closed

    def absent():
        raise UnavailableError("no NVML", "")

    monkeypatch.setattr(nvml, "open_gpu", absent)
    with devices.DEVICES["cuda"].keep_ready():
        pass


def test_device_times_are_between_events_with_one_synchronisation(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: Event.log.append("waited"))
    Event.log.clear()

    def call():
        Event.log.append("called")
        Event.chip += 5.0

    assert CudaSession(Gpu(), GPU).device_times(call, 2) == [0.005, 0.005]
    created = ["made"] * 4 + ["recorded"] * 4 + ["waited"]  # the first record creates an event
    assert Event.log == [*created, *["recorded", "called", "recorded"] * 2, "waited"]


@pytest.mark.parametrize(
    ("alias", "name", "accepted"),
    [
        ("a100", "NVIDIA A100-SXM4-40GB", True),
        ("a100", "NVIDIA RTX A1000", False),
        ("h100", "NVIDIA H100 80GB HBM3", True),
        ("h200", "NVIDIA H200", True),
        ("h200", "NVIDIA GH200 480GB", False),
        ("h100", "NVIDIA H200", False),
    ],
)
def test_an_alias_needs_a_chip_of_that_name(monkeypatch, alias, name, accepted):
    chip = types.SimpleNamespace(name=name)
    monkeypatch.setattr(devices.DEVICES["cuda"], "identify", lambda: chip)
    if accepted:
        assert devices.select(alias)[1] is chip
    else:
        with pytest.raises(UnavailableError, match=f"no {alias.upper()} here: the chip is {name}"):
            devices.select(alias)


def test_cuda_numbers_gpus_like_nvml(monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(nvml, "open_gpu", lambda: contextlib.nullcontext(Gpu()))
    Cuda().identify()
    assert cuda.os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "OutOfMemory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "OutOfMemory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "OutOfMemory"),
        (RuntimeError("NvMapMemAllocInternalTagged: 1075072515 error 12"), "OutOfMemory"),
        (MemoryError(), "OutOfMemory"),
        (RuntimeError("CUDA error: out of memory"), "OutOfMemory"),
        (RuntimeError("CUDA driver error: out of memory"), "OutOfMemory"),
        (RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED when calling cublasCreate"), "OutOfMemory"),
        (RuntimeError("std::bad_alloc"), "OutOfMemory"),
        (type("Long" * 10**6, (Exception,), {})(), "Long" * 20),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "RuntimeError"),
    ],
)
def test_every_out_of_memory_error_has_one_name(error, kind):
    assert kind_of(error) == kind


def test_the_operators_of_the_proof_are_correct_on_the_cpu():
    errors = {name: proof.error_of(each, "cpu") for name, each in proof.operators().items()}
    assert max(errors.values()) < 1e-5
    proof.main("cpu")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("", None),
        ("import sys; sys.exit('RuntimeError: no kernel image is available')", "no kernel image"),
        ("import os; os.abort()", "exit code -6"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_torch_that_cannot_compute_on_the_gpu_is_refused(monkeypatch, script, said):
    real = subprocess.run

    def run(command, **options):
        assert command == command_for_module("bench.devices.proof")
        return real([sys.executable, "-c", script], **options)

    monkeypatch.setattr(proof.subprocess, "run", run)
    monkeypatch.setattr(proof, "DEADLINE_S", 1.0 if "sleep" in script else 30.0)
    if said is None:
        proof.prove("Test GPU")
    else:
        with pytest.raises(UnavailableError, match=f"torch cannot compute on Test GPU: .*{said}"):
            proof.prove("Test GPU")


def test_a_variable_that_switches_tf32_on_does_not_fail_the_proof(monkeypatch):
    real = subprocess.run
    script = "import os, sys; sys.exit(os.environ.get('NVIDIA_TF32_OVERRIDE'))"
    monkeypatch.setattr(
        proof.subprocess,
        "run",
        lambda _, **options: real([sys.executable, "-c", script], **options),
    )
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "wrong by 0.0003")
    proof.prove("Test GPU")
    assert os.environ["NVIDIA_TF32_OVERRIDE"]  # here it stays


def test_the_proof_fails_without_traceback_if_there_is_no_gpu():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.devices.proof"],
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize("name", proof.operators())
def test_the_proof_refuses_a_wrong_or_missing_operator_of_each_kind(monkeypatch, name):
    def missing(images, kernel):
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    def wrong(images, kernel):
        return sound[name](images, kernel) * (1.25 if images.dtype == torch.float32 else 1)

    sound = proof.operators()
    for fault, said in ((wrong, "wrong by 0.25"), (missing, "RuntimeError: no kernel image")):
        planted = {**sound, name: fault}
        monkeypatch.setattr(proof, "operators", lambda planted=planted: planted)
        with pytest.raises(SystemExit, match=f"^{name}: {said}.*$"):
            proof.main("cpu")


def test_memory_of_a_check_is_returned_and_its_peak_forgotten(gpu, monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("cache"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: done.append("peak"))
    with Cuda().session(CASE) as session:
        session.free_memory()
    assert done == ["cache", "peak"]
