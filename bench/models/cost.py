"""Costs of a network from its structure alone: parameters, multiply-accumulates (MACs), bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.models import counter
from bench.text import brief

UNSEEN = "torch {} does not show its operators"
NO_FORMULA = "no formula for the multiply-accumulates of {}"


def count_params(model: nn.Module) -> int:
    """Return the number of parameters. Buffers, such as running statistics, do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


class Survey(NamedTuple):
    """The work of a network on inputs of batch 1.

    `macs` are the multiply-accumulates of convolutions, linear and recurrent layers and matrix
    products; the paper calls them FLOPs. `activation_bytes` are all bytes that operators write;
    views write none. The other fields say how often each kind of operator runs. A value that could
    not be counted is None; `uncounted` is the reason then, and "" if everything was counted. Where
    an operator has no formula, only `macs` is None: torch shows the operator and what it writes.
    """

    macs: int | None = None
    activation_bytes: int | None = None
    convolutions: int | None = None
    normalisations: int | None = None
    additions: int | None = None
    concatenations: int | None = None
    uncounted: str = ""


def survey(model: nn.Module, images: Sequence[Tensor]) -> Survey:
    """Run a copy of `model` once on `images`, its positional inputs of batch 1, and count its work.

    It runs on the meta device, so nothing is computed and the result does not depend on the device.
    A network that needs values runs really on the CPU. Raises nothing: where both runs fail, or the
    network calls an operator that has no formula or that torch does not show, `uncounted` says so.
    """
    mode = counter.visible_mode()
    if mode is None:
        return Survey(uncounted=UNSEEN.format(torch.__version__))
    reason = ""
    for device in ("meta", "cpu"):
        try:
            return _run(model, images, device, mode)
        except Exception as error:  # code of the user's network may raise anything
            reason = f"counting failed with {brief(error)}"
    return Survey(uncounted=reason)


def count_macs(model: nn.Module, resolution: int) -> int | None:
    """Return the multiply-accumulates of one image (1, 3, resolution, resolution), or None."""
    return survey(model, [torch.zeros(1, 3, resolution, resolution)]).macs


class SmallOperators(NamedTuple):
    """Elements of the operators that some tools add to the multiply-accumulates.

    `biases` are output elements to which a convolution or a linear layer adds a bias; `normalised`
    pass through a BatchNorm, `activated` through an activation function; `pooled` are the input
    elements of pooling. `bench.paper.Counted` says how ptflops and thop weigh them.
    """

    biases: int
    normalised: int
    activated: int
    pooled: int


def count_small_operators(model: nn.Module, images: Sequence[Tensor]) -> SmallOperators:
    """Run a copy of `model` on the meta device and count the elements of its small operators.

    `images` are its positional inputs of batch 1. Raises what the network raises there, and
    RuntimeError where torch does not show the operators in inference mode; outside of it, they have
    other names.
    """
    if counter.visible_mode() is not torch.inference_mode:
        raise RuntimeError(UNSEEN.format(torch.__version__))
    seen = counter.ElementCounter()
    with torch.inference_mode():
        net = counter.copy_of(model).to("meta")
        with seen:
            net(*(image.to("meta") for image in images))
    return SmallOperators(*(seen.elements[field] for field in SmallOperators._fields))


def _run(
    model: nn.Module, images: Sequence[Tensor], device: str, mode: counter.NoGradient
) -> Survey:
    seen, numpy = counter.OperatorCounter(), counter.NumPyWatch()
    with mode(), torch.random.fork_rng(devices=[]), counter.uncompiled():
        net = counter.copy_of(model).to(device)
        inputs = [image.detach().to(device, copy=True) for image in images]
        with sdpa_kernel(SDPBackend.MATH), seen, numpy:
            net(*inputs)
    if hidden := counter.hidden_operators(model):
        return Survey(uncounted=NO_FORMULA.format(", ".join(sorted(seen.unknown | hidden))))
    if numpy.shape is not None:
        shape = tuple(numpy.shape)
        return Survey(uncounted=f"NumPy computes with a tensor of this network, {shape}")
    if not seen.seen and any(True for _ in model.parameters()):
        return Survey(uncounted="torch shows no operator of this network")
    reason = NO_FORMULA.format(", ".join(sorted(seen.unknown))) if seen.unknown else ""
    return Survey(
        macs=None if reason else seen.macs,
        activation_bytes=seen.bytes_written,
        convolutions=seen.calls["convolution"],
        normalisations=seen.calls["normalisation"],
        additions=seen.calls["addition"],
        concatenations=seen.calls["concatenation"],
        uncounted=reason,
    )


def zero_share(model: nn.Module) -> float:
    """Return (number of zero parameters) / (number of parameters); see Section 4.1."""
    zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters())
    return zeros / count_params(model)


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def structural_hash(model: nn.Module) -> str:
    """Return a hash of the modules, their settings and the shapes of their weights.

    The values of the weights do not count. The hash is the same in every process.
    """
    shapes = [
        f"{name}:{tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__}"
        for name, value in model.state_dict().items()  # a quantised layer also holds its type
    ]
    structure = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # addresses in memory
    return hashlib.sha256("\n".join([structure, *shapes]).encode()).hexdigest()[:16]


def weights_hash(module: nn.Module) -> str:
    """Return 16 hex digits that depend on all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
