"""What tests of the runtimes for exported networks share."""

import json

import pytest

from bench.backends import BACKENDS, onnx_file, packages

OF_ONNX = ("onnxruntime", "openvino")
NAMES = (*OF_ONNX, "executorch", "aotinductor")
LACKS = {name: BACKENDS[name].missing("cpu") for name in NAMES}  # as `bench doctor` prints them


def needs(name):
    """Return a mark of tests that need a runtime."""
    return pytest.mark.skipif(LACKS[name] is not None, reason=str(LACKS[name]))


needs_onnxruntime, needs_openvino, needs_executorch, needs_aotinductor = map(needs, NAMES)
EACH_OF_ONNX = [pytest.param(name, marks=needs(name)) for name in OF_ONNX]
EACH_BUT_AOTINDUCTOR = [*EACH_OF_ONNX, pytest.param("executorch", marks=needs_executorch)]
# A compilation by AOTInductor takes 15 s.
AOTINDUCTOR = pytest.param("aotinductor", marks=[needs_aotinductor, pytest.mark.aotinductor])
EACH = [*EACH_BUT_AOTINDUCTOR, AOTINDUCTOR]


def passport_of(content):
    """Return the passport in the metadata of an ONNX file."""
    (entry,) = onnx_file.parse(content).metadata_props
    assert entry.key == onnx_file.PASSPORT
    return json.loads(entry.value)


# Versions that go with each other
NEWEST = {
    **{"onnxruntime": "1.32.0", "openvino": "2026.4.1", "onnx": "1.23.2", "onnxscript": "0.7.2"},
    **{"executorch": "1.5.1", "torch": "2.14.1+cu130"},
}


def installed(monkeypatch, **versions):
    """Let exactly these packages be installed, with these versions."""
    known = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(packages, "version", known.get)
    monkeypatch.setattr(packages.util, "find_spec", lambda name: known.get(name) and object())
