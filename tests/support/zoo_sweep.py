"""Checks the check of forms on one network of timm: nothing right is refused, nothing wrong passes.

`examine` returns a row of the table in docs/checks.md.
"""

import copy
import time

import msgspec
import torch

from bench import models
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker import check, prepare
from bench.harness.worker.timing import StageClock
from bench.models.fuse import can_merge
from bench.records import Case, Check, Cost
from support.conditioning import gain
from support.sabotage import KINDS, OnZeros, faults, norms_by_name, real_faults

FORM = "rrep"
USUAL = 224  # pixels: the form is checked as a run checks it
# Pixels: the faults are planted at the first size that runs, in large networks from 64 on.
SIZES = (64, 96, 128, 160, 192, 224, 256, 288, 384, 512)
LARGE_PARAMS = 20e6
MOST_PARAMS = 70e6


class Row(msgspec.Struct, frozen=True):
    """What was found for one network; errors are relative to the spread between two images.

    `gain` is that of `support.conditioning`. `tolerance` is that of the check at `resolution`.
    `effect`, `kind` and `layer` describe the smallest fault. Numbers not reached are None.
    `silent` counts faults that do not change the function, `left` the BatchNorms that remain.
    `seconds` is CPU time.
    """

    network: str
    state: str
    resolution: int = 0
    params: float = 0.0
    gain: float | None = None
    cost: float | None = None
    error: float | None = None
    tolerance: float | None = None
    effect: float | None = None
    kind: str = ""
    layer: str = ""
    tried: int = 0
    silent: int = 0
    left: int = 0
    wrong: list[str] = []
    notes: list[str] = []
    seconds: float = 0.0


def names_of_timm():
    """Return the names of timm's networks whose source files have a method that merges."""
    import importlib
    import inspect

    import timm

    found = []
    for name in timm.list_modules():
        module = importlib.import_module(f"timm.models.{name}")
        source = inspect.getsource(module)
        if any(f"def {m}(" in source for m in ("fuse", "reparameterize", "switch_to_deploy")):
            found += timm.list_models(module=name)
    return sorted(set(found))


def examine(name):
    """Build, merge, check and sabotage one network of timm."""
    import timm

    torch.set_num_threads(1)
    started = time.process_time()
    with torch.device("meta"):
        empty = timm.create_model(name)
    params = sum(p.numel() for p in empty.parameters())
    if not can_merge(empty):
        return Row(name, "nothing to merge", params=params)
    if params >= MOST_PARAMS:
        return Row(name, "too large", params=params)
    wrong, notes = _refused(name)
    size = _smallest_size(name, SIZES if params > LARGE_PARAMS else SIZES[1:])
    row = study(models.build(f"timm/{name}", resolution=size), size)
    return msgspec.structs.replace(
        row,
        network=name,
        params=params,
        wrong=[*wrong, *row.wrong],
        notes=[*notes, *row.notes],
        seconds=time.process_time() - started,
    )


def _refused(name):
    """Prepare the case as a run does, at the usual resolution; return what was wrong, and notes."""
    case = Case(f"timm/{name}", FORM, resolution=USUAL)
    session = CpuSession(Host())
    clock = StageClock(session.now, lambda stage: None)
    try:
        with torch.inference_mode():
            subject = prepare.prepare(Job(case, 1, PRESETS["quick"], None), session, clock)
            facts = subject.inspect(subject.call())
    except Exception as error:
        return [f"at {USUAL} pixels: {type(error).__name__}: {error}"], []
    return [], facts.notes


def _smallest_size(name, sizes):
    for size in sizes:
        try:
            models.build(f"timm/{name}", resolution=size)(torch.zeros(2, 3, size, size))
        except Exception:
            continue
        return size
    raise ValueError(f"{name} accepts none of {sizes} pixels")


def _checked(original, net, images, resolution):
    """Return the facts of the check; raises CheckError."""
    case = Case("timm/x", FORM, resolution=resolution)
    empty = CaseFacts(Check(), Cost(), "")
    reference = check.outputs(original, [images], case)
    return check.check_form(case, empty, original, net, [images], reference)


def _passes(original, net, images, resolution):
    try:
        _checked(original, net, images, resolution)
    except check.CheckError:
        return False
    return True


@torch.inference_mode()
def study(original, size):
    """Return the row of one network: merge it, check it, and plant each fault."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    net = models.fuse(original, FORM, (images[:1],))
    row = Row("", "checked", size, left=len(norms_by_name(net)))
    try:
        found = _checked(original, net, images, size)
    except check.CheckError as error:
        return msgspec.structs.replace(row, wrong=[f"at {size} pixels: {error}"])
    exact = copy.deepcopy(original).double()
    cost = check._largest_error([original(images).double()], [exact(images.double())])[1]
    every = faults(original, images)
    real = real_faults(exact, images, every)
    if not real:
        return msgspec.structs.replace(row, wrong=["no fault changes the output"])
    smallest = real[0]
    limits = {"tolerance": found.check.tolerance, "ceiling": check.FORM_CEILING}
    too_large = [
        f"{limit} {value:.1e} exceeds half of {smallest.effect:.1e}"
        for limit, value in limits.items()
        if value > smallest.effect / 2
    ]
    return msgspec.structs.replace(
        row,
        gain=gain(exact, images),
        cost=cost,
        error=found.check.largest_relative_error,
        tolerance=found.check.tolerance,
        effect=smallest.effect,
        kind=smallest.kind,
        layer=smallest.layer,
        tried=len(every),
        silent=len(every) - len(real),
        wrong=[*too_large, *_missed(original, net, images, size, real)],
        notes=found.notes,
    )


def _missed(original, net, images, size, real):
    """Return the planted faults that pass the check: the smallest of each kind, and no input."""
    missed = []
    for kind in KINDS:
        layers = [fault.layer for fault in real if fault.kind == kind]
        if layers:
            faulty = copy.deepcopy(original)
            KINDS[kind](norms_by_name(faulty)[layers[0]])
            if _passes(original, models.fuse(faulty, FORM, (images[:1],)), images, size):
                missed.append(f"{kind} in {layers[0]} passes")
    if _passes(original, OnZeros(net), images, size):
        missed.append("input not read passes")
    return missed
