"""Networks in OpenVINO's intermediate representation (IR): made of an ONNX file, and read again.

An IR consists of two files, XML and weights. In the folder of exported networks they are one, an
uncompressed ZIP.
"""

from __future__ import annotations

import functools
import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.backends import onnx_file
from bench.records import Gelus
from bench.storage import lock

FILES = ("net.xml", "net.bin")
FORMULAS = {"Erf": "erf", "Tanh": "tanh"}


def module() -> Any:
    """Import OpenVINO, without the package that sends messages to its makers from a thread.

    That thread starts processes and imports modules while networks are measured.
    """
    known: dict[str, Any] = sys.modules
    known.setdefault("openvino_telemetry", None)  # its import fails, and OpenVINO does without
    import openvino

    return openvino


@functools.cache
def core() -> Any:
    """Return OpenVINO's core of this process. One made before a fork computes on one thread."""
    return module().Core()


def converted(of_onnx: bytes) -> bytes:
    """Return the packed IR of an ONNX file; the types of its weights stay as they are.

    OpenVINO numbers the nodes without a name as it makes them, over all networks of a process. Here
    such a node is named after its type and place, so that the same network gives the same bytes.
    A node that computes an output has the name of the output there, and its own name here.
    """
    model = core().read_model(of_onnx)
    made_by = onnx_file.producers(onnx_file.parse(of_onnx))
    for place, node in enumerate(model.get_ordered_ops()):
        kind, name = node.get_type_name(), node.get_friendly_name()
        if name.startswith(f"{kind}_"):
            node.set_friendly_name(f"{kind}-{place}")
        elif name in made_by and kind != "Result":
            node.set_friendly_name(made_by[name].name)
    return _packed(_serialized(model))


def with_passport(content: bytes, passport: Mapping[str, object]) -> list[bytes]:
    """Return XML and weights, with the passport in the `rt_info` of the XML."""
    model = read(content)
    model.set_rt_info(msgspec.json.encode(passport).decode(), onnx_file.PASSPORT)
    return _serialized(model)


def read(content: bytes) -> Any:
    """Return the model in a packed IR."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return core().read_model(*(archive.read(name) for name in FILES))


def gelus(model: Any) -> Gelus:
    """Count the GELUs by their formula, and the single calls of erf and tanh."""
    return Gelus.of(_formula(node) for node in model.get_ops())


def _formula(node: Any) -> str:
    kind = str(node.get_type_name())
    if kind == "Gelu":
        return str(node.get_attributes()["approximation_mode"]).lower()
    return FORMULAS.get(kind, "")


def _serialized(model: Any) -> list[bytes]:
    """Return the two files of a model."""
    with lock.scratch() as scratch:
        paths = [scratch / name for name in FILES]
        module().serialize(model, *paths)
        return [path.read_bytes() for path in paths]


def _packed(files: Sequence[bytes]) -> bytes:
    """Return both files as one; the same files give the same bytes."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        for name, content in zip(FILES, files, strict=True):
            archive.writestr(zipfile.ZipInfo(name), content)
    return found.getvalue()
