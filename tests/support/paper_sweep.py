"""Checks the forms of a network of the paper in every setting of a CPU, and plants faults in it.

Each function returns a row of the tables in docs/checks.md.
"""

import copy
import random
import time
from functools import partial

import msgspec
import torch
from torch.overrides import TorchFunctionMode

from bench import models
from bench.backends import BACKENDS
from bench.devices import precision
from bench.diagnostics.hardware.steps import FAMILIES
from bench.harness.protocol.messages import CaseFacts
from bench.harness.worker import check
from bench.harness.worker.inputs import SEED
from bench.models.dtypes import cast, cast_tensor
from bench.models.forms import REFERENCE
from bench.models.zoo import ZOO
from bench.records import Case, Check, Cost
from support.sabotage import OnZeros, faults, layers_by_name, real_faults

USUAL = Case("", "")
SETTINGS = [
    ("channels_last", "fp32"),
    ("channels_last", "fp16"),
    ("channels_last", "bf16"),
    ("eager", "tf32"),
    ("eager", "fp16"),
    ("eager", "bf16"),
]
COMPILED = ("compile", "fp32")  # the last form of one network of each family
LITTLE = ("mean dropped", "bias dropped", "missing")
EVERY = 4
MISSING_BITS = 13  # of the 23 bits of float32's mantissa, which TF32 lacks
PRODUCTS = ("conv", "linear", "matmul", "addmm", "bmm", "attention", "einsum")


class Checked(msgspec.Struct, frozen=True):
    """One check: error and tolerance are relative to the spread between two images.

    `error` is None where the network failed without an answer; `why` says how a check failed.
    """

    setting: str
    error: float | None
    tolerance: float
    why: str = ""


class FormRow(msgspec.Struct, frozen=True):
    """The checks of one form; the first one compares it with the network as trained."""

    network: str
    form: str
    checks: list[Checked]
    seconds: float


class FaultRow(msgspec.Struct, frozen=True):
    """The smallest fault of a network by its effect, and the effect of an input that is not read.

    `tried` faults were planted, in this `share` of the layers, and `silent` ones of them change
    no output.
    """

    network: str
    effect: float
    kind: str
    layer: str
    unread: float
    tried: int
    silent: int
    seconds: float
    share: float = 1.0


class EmulatedTf32(TorchFunctionMode):
    """Rounds the operands of products to the mantissa of TF32, as its units do."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if any(word in getattr(function, "__name__", "") for word in PRODUCTS):
            args = tuple(rounded(each) for each in args)
        return function(*args, **(kwargs or {}))


def rounded(value):
    """Return a tensor of float32 rounded to 10 bits of mantissa; anything else as it is."""
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
        return value
    half, kept = 1 << (MISSING_BITS - 1), -1 << MISSING_BITS
    return value.view(torch.int32).add(half).bitwise_and_(kept).view(torch.float32)


def built(network, resolution):
    """Return a network of the zoo and two images."""
    net = models.build(network, resolution=resolution, seed=SEED)
    generator = torch.Generator().manual_seed(SEED)
    return net, torch.randn(2, 3, resolution, resolution, generator=generator)


def settings_of(network, form):
    """Return the settings in which a form is checked."""
    is_compiled = network in FAMILIES and form == ZOO[network].forms[-1]
    return [*SETTINGS, COMPILED] if is_compiled else SETTINGS


@torch.inference_mode()
def check_form(network, form, settings=SETTINGS, resolution=USUAL.resolution):
    """Check one form against the network as trained, then in each setting against eager fp32."""
    began = time.monotonic()
    original, images = built(network, resolution)
    usual = Case(network, form, resolution=resolution)
    reference = check.outputs(original, [images], usual)
    net, found = original, []
    if form not in (REFERENCE, "plain"):
        net = models.fuse(original, form, (images[:1],))
        found.append(_checked_form(usual, original, net, images, reference))
    for backend, name in settings:
        case = msgspec.structs.replace(usual, backend=backend, precision=name)
        found.append(_checked_setting(case, net, images, reference))
    return FormRow(network, form, found, time.monotonic() - began)


def _checked_form(case, original, net, images, reference):
    facts = CaseFacts(Check(), Cost(), "")
    try:
        made = check.check_form(case, facts, original, net, [images], reference).check
    except check.CheckError as error:
        return Checked("form", None, check.FORM_CEILING, str(error))
    return Checked("form", made.largest_relative_error, made.tolerance)


def _checked_setting(case, net, images, reference):
    """Load a copy of `net` as a run does, call it once, and check the output."""
    setting, dtype = f"{case.backend} {case.precision}", precision.dtype(case.precision)
    allowed = check.tolerance(case, net, [images], reference)
    example = [cast_tensor(images[: case.batch].clone(), dtype)]
    loaded = cast(copy.deepcopy(net), dtype)
    run = BACKENDS[case.backend].load(loaded, example, case.precision)
    try:
        output = _call(run, case.precision)
        facts = check.inspect(output, case, CaseFacts(Check(), Cost(), ""), reference, allowed)
    except Exception as error:  # a network may raise anything: it is a row
        return Checked(setting, None, allowed, f"{type(error).__name__}: {error}")
    return Checked(setting, facts.check.largest_relative_error, allowed)


def _call(run, name):
    if name == "tf32":
        with EmulatedTf32():
            return run()
    return run()


@torch.inference_mode()
def plant(network, share=1.0, resolution=USUAL.resolution):
    """Plant faults in a share of the layers of the network as trained; return the smallest."""
    began = time.monotonic()
    net, images = built(network, resolution)
    every = faults(net, images, layers_by_name, partial(sampled, share))
    real = real_faults(copy.deepcopy(net).double(), images, every, layers_by_name)
    unread = check._largest_error([OnZeros(net)(images)], [net(images)])[1]
    silent, seconds = len(every) - len(real), time.monotonic() - began
    return FaultRow(network, *real[0], unread, len(every), silent, seconds, share)


def sampled(share, number, kind):
    """Whether to plant a fault: in a share of the layers; kinds of large effect in fewer layers.

    The layers are drawn, so that each position in a block has a chance.
    """
    drawn = random.Random(number).random()
    return drawn < share and (kind in LITTLE or number % EVERY == 0)
