"""Packages of AOTInductor (.pt2): a ZIP with a library and the code that Inductor generated for it.

One function of that code calls the kernels one after the other: those of torch, and generated ones,
whose code is there, too.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from bench.backends import onnx_file
from bench.backends.backend import WrongEngineError
from bench.records import Gelus

SOURCE = re.compile(r"/data/aotinductor/.*\.cpp$")
COMMENT = re.compile(r"^\s*//.*$", re.M)
RUN = re.compile(r"AOTInductorModel::run_impl\((.*?)^\}", re.M | re.S)
# A kernel: its name; its arguments and what it does. A declaration has no {
KERNEL = re.compile(r'^extern "C" [^;{]*?\b(cpp_\w+)\(([^;{]*\)\s*\{.*?)^\}', re.M | re.S)
OF_TORCH = re.compile(r"aoti_torch_(cpu_\w+|proxy_executor_call_function)\(.*")
GENERATED = re.compile(r"^ *(cpp_\w+)\(", re.M)
NUMBER = re.compile(r"_\d+$")  # of a generated kernel
# A fused activation is a word of the call; which formula a GELU has is in a variable before it.
WORD = re.compile(r'const char\* (\w+) = "(\w+)"')
ACTIVATION = re.compile(r'"(gelu|tanh)"')
VARIABLE = re.compile(r"&(\w+)")
CALLS = {"erf": re.compile(r"\berf\("), "tanh": re.compile(r"\btanh\(")}  # in a kernel
OF_VALUE = re.compile(r"\bcached_torch_dtype_(\w+)")
OF_ARGUMENT = re.compile(r"\b(?:\w+::)*(\w+?)(?:_t)?\*")
REDUCED = re.compile(r"\b(Half|BFloat16|half|bfloat16|Float8\w+)\b")  # anywhere in a kernel
ONNX_TYPES = {  # where they differ from the names in the code
    **{"float32": "float", "float64": "double"},
    **{"Half": "float16", "half": "float16", "BFloat16": "bfloat16"},
}
EXTRA = f"extra/{onnx_file.PASSPORT}.json"


class Code(NamedTuple):
    """The function that calls the kernels, and the generated kernels by name."""

    run: str
    kernels: dict[str, str]

    def generated(self) -> list[str]:
        """Return the names of the generated kernels that are called, in order."""
        return [str(each) for each in GENERATED.findall(self.run)]

    def of_torch(self) -> list[str]:
        """Return the calls of torch's kernels, in order: name and arguments."""
        return [each[0] for each in OF_TORCH.finditer(self.run)]


def read(content: bytes) -> Code:
    """Return the code in a package. Raises WrongEngineError if some of it is not there."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [each for each in archive.namelist() if SOURCE.search(each)]
        return code_of("\n".join(archive.read(each).decode() for each in names))


def code_of(text: str) -> Code:
    """Return the code in the text of all files. Raises WrongEngineError if some is not there."""
    text = COMMENT.sub("", text)
    run = RUN.search(text)
    code = Code(run[1] if run else "", dict(KERNEL.findall(text)))
    unknown = [each for each in code.generated() if each not in code.kernels]
    if unknown or not code.run:
        raise WrongEngineError(f"the package has no code of {unknown[0] if unknown else 'a call'}")
    return code


def operators(code: Code) -> Counter[str]:
    """Count the calls of each kernel; the names of generated ones are without their numbers."""
    of_torch = [OF_TORCH.sub(r"\1", each).removeprefix("cpu_") for each in code.of_torch()]
    return Counter([*of_torch, *(NUMBER.sub("", each) for each in code.generated())])


def types(code: Code) -> list[str]:
    """Return ONNX's names of the types of all values, and of what a kernel computes in fewer bits.

    The names are sorted.
    """
    found = set(OF_VALUE.findall(code.run))
    for name in code.generated():
        arguments = code.kernels[name].partition("{")[0]
        found |= {*OF_ARGUMENT.findall(arguments), *REDUCED.findall(code.kernels[name])}
    return sorted({ONNX_TYPES.get(each, each) for each in found})


def gelus(code: Code) -> Gelus:
    """Count the kernels in which a GELU is computed, by its formula, or erf or tanh alone.

    Inductor may compute a GELU again in each kernel that needs it.
    """
    bodies = [code.kernels[each] for each in code.generated()]
    formulas = [name for body in bodies for name, each in CALLS.items() if each.search(body)]
    return Gelus.of([*formulas, *_fused_formulas(code)])


def _fused_formulas(code: Code) -> list[str]:
    """Return the formula of each activation that is fused with a kernel of torch."""
    words = dict(WORD.findall(code.run))
    found = []
    for call in code.of_torch():
        for activation in ACTIVATION.findall(call):
            known = {activation, *(words.get(each) for each in VARIABLE.findall(call))}
            found.append("tanh" if "tanh" in known else "erf")
    return found


def with_passport(content: bytes, passport: Mapping[str, object]) -> bytes:
    """Return the package with the passport, as JSON, among its extra files."""
    packed = io.BytesIO(content)
    with zipfile.ZipFile(packed, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        entry = zipfile.ZipInfo(f"{root}/{EXTRA}")
        archive.writestr(entry, msgspec.json.encode(passport))
    return packed.getvalue()
