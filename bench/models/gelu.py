"""By which formula the GELUs of a network are computed: erf, or its approximation with tanh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.models import counter
from bench.records import Gelus

TANHS = ("tanh", "tanh_", "mish", "mish_")  # ONNX has no mish: it is exported with a tanh
ERFS = ("erf", "erf_")


class _Formulas(TorchDispatchMode):
    """Counts the calls of `gelu` by formula, and those of erf and tanh."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("gelu", "gelu_"):
            self.counts["tanh" if given.get("approximate") == "tanh" else "erf"] += 1
        self.counts["tanh"] += name in TANHS
        self.counts["erf"] += name in ERFS
        return func(*args, **given)


def gelus(model: nn.Module, inputs: Sequence[Tensor]) -> Gelus | None:
    """Run a copy of `model` once, and count its GELUs; None where torch shows no operators."""
    if (mode := counter.visible_mode()) is None:
        return None
    with mode(), _Formulas() as found:
        counter.copy_of(model)(*inputs)
    return Gelus(found.counts["erf"], found.counts["tanh"])
