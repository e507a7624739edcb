"""One call of an operator as torch dispatches it: its result, multiply-accumulates and bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.models.formulas import formula_of, has_no_macs, name_of, tensors_in

WRITE_ONLY = ("copy_", "fill_", "zero_", "normal_", "uniform_")  # do not read their first argument
COMPLEX = 4  # multiplications of real numbers in the product of two complex numbers


class Call(NamedTuple):
    """What an operator returned and did.

    `macs` counts the multiply-accumulates that are known. `unknown` names the operators that may do
    more and have no formula. `read` and `written` are bytes if nothing stays in a cache; 0 for a
    view.
    """

    result: Any
    macs: int
    unknown: frozenset[str]
    read: int
    written: int


def call(func: Any, args: Any, kwargs: Any) -> Call:
    """Call the operator `func`, and count its work. Raises what the operator raises."""
    result, macs, unknown = _run(func, args, kwargs)
    given, written = list(tensors_in([*args, *kwargs.values()])), list(tensors_in([result]))
    if torch.Tag.inplace_view in func.tags or (func.is_view and _shares(written, given)):
        return Call(result, macs, unknown, 0, 0)
    read = given[1:] if name_of(func) in WRITE_ONLY else given
    return Call(result, macs, unknown, sum(map(_bytes, read)), sum(map(_bytes, written)))


def _run(func: Any, args: Any, kwargs: Any) -> tuple[Any, int, frozenset[str]]:
    """Return the result, the MACs and the operators without a formula.

    Formulas that a user registered with `torch.utils.flop_counter` count too; they give FLOPs, two
    for each MAC. An operator that has no formula is split into those that it is made of.
    """
    name = name_of(func)
    formula = formula_of(func)
    if formula is None and not has_no_macs(func):
        inner = _Inner()
        with inner:
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result, inner.macs, frozenset(inner.unknown)
    result = func(*args, **kwargs)
    # Before torch 2.6, formulas of users are registered for each overload.
    registered = flop_registry.get(func.overloadpacket) or flop_registry.get(func)
    try:
        if formula:
            factor = COMPLEX if any(each.is_complex() for each in tensors_in([result])) else 1
            return result, factor * int(formula(result, *args, **kwargs)), frozenset()
        if registered:
            return result, int(registered(*args, **kwargs, out_val=result)) // 2, frozenset()
    except (TypeError, ValueError, IndexError, AttributeError, RuntimeError):
        return result, 0, frozenset([name])  # shapes that the formula does not know
    return result, 0, frozenset() if has_no_macs(func) else frozenset([name])


class _Inner(TorchDispatchMode):
    """Adds up the work of the operators that another operator is made of."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.macs = 0
        self.unknown: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, macs, unknown = _run(func, args, kwargs or {})
        self.macs += macs
        self.unknown |= unknown
        return result


def _shares(written: list[Tensor], given: list[Tensor]) -> bool:
    """Whether the results share the storage of an argument: `reshape` may return a view or copy."""
    known = {each.untyped_storage()._cdata for each in given}
    return all(each.untyped_storage()._cdata in known for each in written)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
