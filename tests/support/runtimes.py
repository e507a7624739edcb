"""What tests of the runtimes for exported networks share."""

import json

import pytest

from bench.backends import BACKENDS, onnx_file

LACK = BACKENDS["onnxruntime"].missing("cpu")  # as `bench doctor` prints it
needs_onnxruntime = pytest.mark.skipif(LACK is not None, reason=str(LACK))


def passport_of(content):
    """Return the passport in the metadata of an ONNX file."""
    (entry,) = onnx_file.parse(content).metadata_props
    assert entry.key == onnx_file.PASSPORT
    return json.loads(entry.value)
