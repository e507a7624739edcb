"""A stand-in for the module `tensorrt` of NVIDIA, of the lines 10 and 11.

An engine is the ONNX file itself; ONNX Runtime executes it on the CPU, at the addresses that it is
given. It has what the backend calls, by the names in NVIDIA's documentation.
"""

import ctypes
import enum
import json
import sys
from typing import ClassVar

import numpy as np

from bench.backends import onnx_file

PLAN = b"engine of the stand-in: "
NUMPY = {1: np.float32, 7: np.int64, 10: np.float16}  # by ONNX's number of a type
DataType = enum.Enum("DataType", {"FLOAT": 1, "INT64": 7, "HALF": 10})
WORDS = {1: "FP32", 7: "Int64", 10: "FP16"}


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class ProfilingVerbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


BuilderFlag = enum.Enum("BuilderFlag", ["TF32"])
TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
LayerInformationFormat = enum.Enum("LayerInformationFormat", ["ONELINE", "JSON"])


class Logger:
    ERROR = 1

    def __init__(self, level):
        assert level == self.ERROR


class Network:
    def __init__(self, flags):
        self.flags, self.content = flags, b""


class Config:
    def __init__(self):
        self.flags = {BuilderFlag.TF32}  # TensorRT's default
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)


class Builder:
    """`built` has network and configuration of each engine; `fails` makes the next one fail."""

    built: ClassVar = []
    fails = False

    def __init__(self, log):
        pass

    def create_network(self, flags):
        return Network(flags)

    def create_builder_config(self):
        return Config()

    def build_serialized_network(self, network, config):
        self.built.append((network, config))
        has_details = config.profiling_verbosity == ProfilingVerbosity.DETAILED
        return None if self.fails else PLAN + bytes([has_details]) + network.content


class OnnxParser:
    errors = ()

    def __init__(self, network, log):
        self._network = network

    @property
    def num_errors(self):
        return len(self.errors)

    def get_error(self, place):
        return self.errors[place]

    def parse(self, content):
        self._network.content = content
        return not self.errors


class Runtime:
    def __init__(self, log):
        pass

    def deserialize_cuda_engine(self, content):
        if not content.startswith(PLAN):
            return None
        return Engine(content[len(PLAN) + 1 :], has_details=bool(content[len(PLAN)]))


class Engine:
    """`words` describes a value of a layer: by default as TensorRT 10 does."""

    words = staticmethod(lambda kind: {"Format/Datatype": f"Row major linear {WORDS[kind]}"})

    def __init__(self, content, *, has_details):
        self._has_details = has_details
        self.content = content
        self._proto = onnx_file.parse(content)
        graph = self._proto.graph
        values = (*graph.output, *reversed(graph.input))  # in another order than the file
        self._values = {each.name: each.type.tensor_type for each in values}
        self._inputs = {each.name for each in graph.input}

    @property
    def num_io_tensors(self):
        return len(self._values)

    def get_tensor_name(self, place):
        return list(self._values)[place]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType(self._values[name].elem_type)

    def get_tensor_shape(self, name):
        return [each.dim_value or -1 for each in self._values[name].shape.dim]

    def create_execution_context(self):
        return Context(self)

    def create_engine_inspector(self):
        return self

    def get_engine_information(self, form):
        assert form == LayerInformationFormat.JSON
        nodes = self._proto.graph.node
        if not self._has_details:
            return json.dumps({"Layers": [node.name for node in nodes]})
        kind = next(iter(self._values.values())).elem_type
        value = {"Name": "x", **type(self).words(kind)}
        layers = [
            {"Name": each.name, "LayerType": each.op_type, "Inputs": [value], "Outputs": [value]}
            for each in nodes
        ]
        return json.dumps({"Layers": layers})


class Context:
    """Executes an engine at the addresses of tensors on the CPU."""

    fails = False

    def __init__(self, engine):
        import onnxruntime

        self._engine, self._addresses = engine, {}
        self._session = onnxruntime.InferenceSession(
            engine.content, providers=["CPUExecutionProvider"]
        )

    def set_tensor_address(self, name, address):
        self._addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == 7
        inputs = {each.name: self._array(each.name) for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        for name, answer in zip(outputs, self._session.run(outputs, inputs), strict=True):
            self._array(name)[...] = answer
        return not self.fails

    def _array(self, name):
        shape = self._engine.get_tensor_shape(name)
        kind = np.dtype(NUMPY[self._engine.get_tensor_dtype(name).value])
        count = int(np.prod(shape)) * kind.itemsize
        memory = (ctypes.c_byte * count).from_address(self._addresses[name])
        return np.frombuffer(memory, kind).reshape(shape)


def module():
    """Return this file as the module `tensorrt`."""
    return sys.modules[__name__]
