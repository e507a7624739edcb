"""Fixtures for the tests of sensors: a GPU that the fake pynvml simulates."""

import sys

import pytest
from support import fake_pynvml

from bench.devices.sensors.nvml import open_gpu


@pytest.fixture(autouse=True)
def all_gpus_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def opened(monkeypatch):
    """Open the first visible GPU; `visible` is CUDA_VISIBLE_DEVICES."""

    def open_one(*boards, visible=None, **options):
        module = fake_pynvml.pynvml(*boards, **options)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return open_gpu()

    return open_one
