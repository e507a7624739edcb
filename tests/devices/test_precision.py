"""Switches for TF32, requirements of a precision, and tolerances of checks."""

import subprocess
import sys

import pytest
import torch

from bench.devices import DEVICES, precision
from bench.records import Chip


@pytest.fixture(autouse=True)
def restored():
    yield
    precision.set_switches("fp32")


@pytest.mark.parametrize(
    ("name", "allowed"), [("fp32", False), ("tf32", True), ("fp16", False), ("bf16", False)]
)
def test_only_tf32_switches_tf32_on(name, allowed):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not allowed
    torch.backends.cudnn.benchmark = True
    precision.set_switches(name)
    assert precision.switches() == {
        "matmul_tf32": allowed,
        "cudnn_tf32": allowed,
        "cudnn_benchmark": False,
        "float32_matmul_precision": "high" if allowed else "highest",
    }


def test_switches_can_be_set_and_read_repeatedly():
    """PyTorch raises if older and newer switches are mixed; warnings are errors here."""
    code = """
import warnings; warnings.simplefilter("error")
from bench.devices import precision
for name in [*precision.PRECISIONS] * 2:
    precision.set_switches(name); precision.switches()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", precision.PRECISIONS)
def test_every_precision_has_a_type_of_torch(name):
    assert precision.dtype(name).is_floating_point


@pytest.mark.parametrize(
    ("device", "capability", "said"),
    [
        ("cpu", "", "mode of NVIDIA GPUs"),
        ("cuda", "7.5", "this chip has 7.5"),
        ("cuda", "8.0", None),
        ("cuda", "10.0", None),
        ("orin", "8.7", None),
        ("cuda", "", None),
        ("fake", "", None),
    ],
)
def test_tf32_needs_a_chip_with_tf32(device, capability, said):
    facts = {"compute_capability": capability} if capability else {}
    chip = Chip(device, "", "Test", 1, facts)
    found = DEVICES[device].missing_precision("tf32", chip)
    assert (found is None) == (said is None)
    assert (said or "") in (found or "")
    assert DEVICES[device].missing_precision("fp32", chip) is None


@pytest.mark.parametrize(
    ("value", "capability", "refused"),
    [
        ("1", "9.0", [*precision.PRECISIONS]),  # each is checked in fp32
        ("1", "", [*precision.PRECISIONS]),
        ("0", "9.0", ["tf32"]),
        ("", "9.0", []),
    ],
)
@pytest.mark.parametrize("device", ["cuda", "orin"])
def test_a_variable_that_switches_tf32_in_the_libraries_is_refused(
    monkeypatch, device, value, capability, refused
):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    chip = Chip(device, "", "Test", 1, {"compute_capability": capability})
    found = {name: DEVICES[device].missing_precision(name, chip) for name in precision.PRECISIONS}
    assert [name for name, why in found.items() if why] == refused
    assert all("unset NVIDIA_TF32_OVERRIDE" in found[name] for name in refused)
    assert DEVICES["cpu"].missing_precision("fp32", chip) is None


def test_the_variable_does_not_count_on_a_gpu_without_tf32(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    chip = Chip("cuda", "", "Test", 1, {"compute_capability": "7.5"})
    assert DEVICES["cuda"].missing_precision("fp32", chip) is None
    assert "has 7.5" in DEVICES["cuda"].missing_precision("tf32", chip)


@pytest.mark.parametrize(
    ("name", "error", "tolerated"),
    [
        ("fp32", 0.3, 5e-4),
        ("bf16", 0.05, 0.2),
        ("bf16", 0.001, 0.05),
        ("bf16", 0.5, 0.7),
        ("fp16", 0.08, 0.04),
        ("tf32", 0.001, 0.01),
        ("tf32", 9.0, 0.1),
        ("bf16", None, 0.7),
        ("bf16", float("nan"), 0.7),
    ],
)
def test_the_tolerance_is_four_times_the_rounding_error_within_limits(name, error, tolerated):
    assert precision.tolerance(name, error) == pytest.approx(tolerated)


@pytest.mark.parametrize("name", ["fp32", "tf32"])
def test_modes_are_set_back_exactly_to_those_of_a_new_process(name):
    """In this process, other tests may have changed what an older switch then changes, too."""
    code = (
        "from bench.devices import precision\n"
        f"precision.set_switches({name!r})\n"
        "before = precision.modes()\n"
        "precision.set_switches('fp32')\n"
        "precision.set_modes(before)\n"
        "assert precision.modes() == before, (before, precision.modes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
