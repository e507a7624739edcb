"""The rules of CUDA_VISIBLE_DEVICES, and the messages if no GPU is found."""

import sys

import pytest
from support import fake_pynvml
from support.fake_pynvml import a100, h200, mig_a100

from bench.devices.sensors.nvml import open_gpu
from bench.errors import UnavailableError

UUIDS = [board.answers["nvmlDeviceGetUUID"] for board in (h200(), a100())]


@pytest.mark.parametrize(
    ("visible", "name"),
    [
        (None, "NVIDIA H200"),
        ("0", "NVIDIA H200"),
        ("1", "NVIDIA A100-SXM4-80GB"),
        (" 1,0", "NVIDIA A100-SXM4-80GB"),
        ("1,-1", "NVIDIA A100-SXM4-80GB"),
        (UUIDS[0], "NVIDIA H200"),
        (UUIDS[1], "NVIDIA A100-SXM4-80GB"),
        ("GPU-1f2e9,0", "NVIDIA A100-SXM4-80GB"),
        ("GPU-1f2e3d4c-00", "NVIDIA H200"),
    ],
)
def test_the_first_gpu_of_cuda_visible_devices_is_opened(opened, visible, name):
    assert opened(h200(), a100(), visible=visible).name == name


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        ("", "CUDA_VISIBLE_DEVICES '' hides all"),
        ("-1", "CUDA_VISIBLE_DEVICES '-1' hides all"),
        ("-1,0", "CUDA_VISIBLE_DEVICES '-1,0' hides all"),
        (",0", "CUDA_VISIBLE_DEVICES ',0' hides all"),
        ("NoDevFiles", "CUDA_VISIBLE_DEVICES 'NoDevFiles' hides all"),
        ("2", "CUDA_VISIBLE_DEVICES begins with 2, and NVML finds 2"),
        ("GPU-1f2e", "CUDA_VISIBLE_DEVICES begins with GPU-1f2e, which is that of 2 GPUs"),
        ("GPU-0,1", "CUDA_VISIBLE_DEVICES begins with GPU-0, which is that of 0 GPUs"),
        ("MIG-0", "CUDA_VISIBLE_DEVICES begins with MIG-0, which is that of 0 GPUs"),
    ],
)
def test_gpus_that_cuda_visible_devices_hides_are_not_available(opened, visible, message):
    with pytest.raises(UnavailableError) as refused:
        opened(h200(), a100(), visible=visible)
    assert refused.value.message == f"no NVIDIA GPU here: {message}"
    assert "CUDA_VISIBLE_DEVICES" in refused.value.remedy
    assert sys.modules["pynvml"].users == 0


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByUUID", "nvmlDeviceGetUUID"])
def test_a_full_uuid_is_found_without_either_function(opened, function):
    gpu = opened(h200(), a100(), visible=UUIDS[1], errors={function: "NotSupported"})
    assert gpu.name == "NVIDIA A100-SXM4-80GB"


@pytest.mark.parametrize("error", ["DriverNotLoaded", "LibraryNotFound"])
def test_without_a_driver_there_is_no_gpu(opened, error):
    with pytest.raises(UnavailableError) as refused:
        opened(h200(), errors={"nvmlInit": error})
    text = fake_pynvml.ERRORS[error][1]
    assert refused.value.message == f"no NVIDIA GPU here: NVML says {text}"
    assert "--device cpu" in refused.value.remedy


@pytest.mark.parametrize("visible", [None, "0", "GPU-1"])
def test_a_driver_without_gpus_is_refused(opened, visible):
    with pytest.raises(UnavailableError) as refused:
        opened(visible=visible)
    assert refused.value.message == "no NVIDIA GPU here: NVML finds none"
    assert "--device cpu" in refused.value.remedy
    assert sys.modules["pynvml"].users == 0


def test_a_gpu_without_permission_is_not_available(opened):
    with pytest.raises(UnavailableError) as refused:
        opened(h200(), errors={"nvmlDeviceGetHandleByIndex": "NoPermission"})
    assert "of GPU 0 NVML says Insufficient Permissions" in refused.value.message
    assert "--device cpu" in refused.value.remedy


def test_without_pynvml_the_remedy_is_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UnavailableError) as refused:
        open_gpu()
    assert refused.value.message == "no NVIDIA GPU here: pynvml is not installed"
    assert "pip install nvidia-ml-py" in refused.value.remedy


def test_a_chip_with_mig_on_and_no_instance_is_not_available(opened):
    chip = mig_a100()
    chip.instances = []
    with pytest.raises(UnavailableError) as refused:
        opened(chip)
    assert "MIG is on and there is no instance" in refused.value.message
    assert "turn MIG off" in refused.value.remedy
    assert sys.modules["pynvml"].users == 0
