"""Variables of the shell that decide how torch computes are on record, and part of the id."""

import pytest

from bench.devices import DEVICES
from bench.devices.variables import deciding_variables
from bench.harness.scheduler.environment import describe, environment_id
from bench.records import Chip

CHIP = Chip("cpu", "cpu", "Test", threads=2, facts={})
VARIABLES = (
    "OMP_THREAD_LIMIT",
    "OMP_PROC_BIND",
    "GOMP_CPU_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NVIDIA_TF32_OVERRIDE",
    "CUDA_LAUNCH_BLOCKING",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in deciding_variables():
        monkeypatch.delenv(name)


def described(device="cpu"):
    return describe(DEVICES[device], CHIP, "run", "bench run")


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_alone_is_recorded_and_makes_another_environment(name, monkeypatch):
    before = described()
    monkeypatch.setenv(name, "1")
    after = described()
    assert (before.variables, after.variables) == ({}, {name: "1"})
    assert before.environment_id != after.environment_id
    assert described("fake").variables == {}
    monkeypatch.setenv(name, "")
    assert described().environment_id == before.environment_id


def test_ids_without_variables_are_as_before():
    assert environment_id(DEVICES["cpu"], CHIP, {}) == environment_id(DEVICES["cpu"], CHIP, {}, {})
    assert environment_id(DEVICES["cpu"], CHIP, {"torch": "2.6"}) == "9c446ac1605b8272"


def test_values_and_names_are_bounded_and_without_paths():
    found = deciding_variables(
        {
            "OMP_A": "/home/somebody/places.txt",
            "OMP_B": "x" * 10**6,
            "OMP_C": "\x1b[31mred\n",
            "OMP_\n": "1",
            "MKL_" + "A" * 1000: "1",
            "HOME": "/home/somebody",
        }
    )
    assert list(found) == ["OMP_A", "OMP_B", "OMP_C"]
    assert found["OMP_A"] == "places.txt"
    assert len(found["OMP_B"]) < 3000
    assert found["OMP_C"].isprintable()
