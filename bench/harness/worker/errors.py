"""Errors of a network: their kind and message for the parent, and what the network was given."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.errors import MORE_PROCESSES, is_thread_refused
from bench.records import OUT_OF_MEMORY, Case

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# On CUDA, torch raises torch.OutOfMemoryError. The CPU allocator, cuDNN and cuBLAS raise a
# RuntimeError, which only its text distinguishes from other errors.
OUT_OF_MEMORY_PATTERN = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|not enough memory|bad_alloc|_ALLOC_FAILED"
    r"|Failed to allocate memory|smaller than requested bytes"  # of ONNX Runtime's arena
    r"|cudaErrorMemoryAllocation|cublasCreate|NvMapMemAlloc|NVML_SUCCESS == r INTERNAL ASSERT"
)
MAX_MESSAGE_CHARS = 2000
MAX_REASON_CHARS = 600
MAX_NAME_CHARS = 80
OTHER_INPUT = (
    "Use another --resolution, an --input of other channels, height and width such as 1x224x224, "
    "or write a function `example_inputs(batch, resolution)` beside the factory that returns the "
    "inputs."
)
# What torch raises, and what networks raise themselves, for an input that does not fit.
OF_THE_INPUT = (RuntimeError, TypeError, ValueError, AssertionError, IndexError)


class InputRefusedError(Exception):
    """The network does not accept the input that it was given."""


def message_of(error: BaseException) -> str:
    """Return the text of an error, cut to MAX_MESSAGE_CHARS. A user's `__str__` may raise.

    Where the system allows no more threads, the text says what to do.
    """
    try:
        if is_thread_refused(error):
            return f"{error}. {MORE_PROCESSES}"
        return str(error)[:MAX_MESSAGE_CHARS].encode(errors="replace").decode()
    except Exception as another:
        return f"the message of the error raised {type(another).__name__}"


def kind_of(error: BaseException) -> str:
    """Return the name of the error's type, or OUT_OF_MEMORY if an allocation failed."""
    if isinstance(error, MemoryError) or OUT_OF_MEMORY_PATTERN.search(
        f"{type(error)} {message_of(error)}"
    ):
        return OUT_OF_MEMORY
    return type(error).__name__[:MAX_NAME_CHARS]


def kind_and_paragraph(error: BaseException) -> str:
    """Return the type of an error and the first paragraph of its message, without a full stop."""
    paragraph = message_of(error).strip().partition("\n\n")[0][:MAX_REASON_CHARS]
    return f"{type(error).__name__}: {paragraph.rstrip('. !')}"


def explained(error: Exception, case: Case, net: nn.Module, inputs: Sequence[Tensor]) -> Exception:
    """Return an InputRefusedError that says what the network was given, and what changes it.

    Returns `error` itself where it cannot come from the input: memory, threads, or a missing
    attribute.
    """
    of_the_input = isinstance(error, OF_THE_INPUT) and not is_thread_refused(error)
    if not of_the_input or kind_of(error) == OUT_OF_MEMORY:
        return error
    return InputRefusedError(
        f"the network does not accept its input ({described(inputs)}): "
        + f"{kind_and_paragraph(error)}. "
        + _remedy(case, net, inputs)
    )


@contextlib.contextmanager
def explaining(case: Case, net: nn.Module, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Replace an error that may come from the input by `explained`."""
    try:
        yield
    except Exception as error:
        if (told := explained(error, case, net, inputs)) is error:
            raise
        raise told from error


def described(inputs: Sequence[Tensor]) -> str:
    """Return types and shapes: `float32 1x3x224x224`."""
    types = [_name(each.dtype) for each in inputs]
    shapes = ["x".join(map(str, each.shape)) for each in inputs]
    return ", ".join(f"{kind} {shape}" for kind, shape in zip(types, shapes, strict=True))


def _remedy(case: Case, net: nn.Module, inputs: Sequence[Tensor]) -> str:
    """Return what the user can change."""
    import torch

    types = {each.dtype for each in inputs if each.is_floating_point()}
    weights = {each.dtype for each in [*net.parameters(), *net.buffers()]}
    odd = sorted(_name(each) for each in weights - types if each.is_floating_point)
    if types & {torch.float16, torch.bfloat16}:
        return (
            f"In {case.precision}, weights and input have this type; tensors of other types than "
            "float32 keep theirs. Use --precision fp32, or write a `forward` that converts them."
        )
    if odd:
        names = ", ".join(odd)
        return f"The network has {names} weights: return `net.float()` from the factory."
    return OTHER_INPUT


def _name(dtype: torch.dtype) -> str:
    return str(dtype).partition(".")[2]
