"""From a suite (TOML) and the flags of a command line to cases and a plan."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

import bench
from bench.backends import BACKENDS
from bench.devices import DEVICES
from bench.devices import precision as precisions
from bench.errors import UnavailableError, UsageError, unknown
from bench.harness.plan import PRESETS, Plan
from bench.models import forms, user, zoo
from bench.records import Case, Chip, Source
from bench.storage import files

DEFAULT_BATCH = (1, 128)
DEFAULT_RESOLUTION = (224,)
MAX_SIZE = 100_000
MAX_MODELS = 4096
MAX_CASES = 100_000
FILE_BYTES = 2**20
TIMM_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)
GRID = ("batch", "resolution", "precision", "backend")

_SHIPPED = Path(bench.__file__).parent / "suites"  # inside the wheel
SUITES = _SHIPPED if _SHIPPED.is_dir() else Path(bench.__file__).parents[1] / "suites"


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grid that expands to cases. `title` is for people.

    `models` are names as `--models` takes them. `rounds` fixes the number of rounds whatever the
    preset says. With `profile` its cases at batch 1 are profiled too, once they are measured.
    `pace_s` makes the fake device sleep that long in each block.
    """

    title: str = ""
    models: tuple[str, ...] = ()
    batch: tuple[int, ...] = DEFAULT_BATCH
    resolution: tuple[int, ...] = DEFAULT_RESOLUTION
    backend: tuple[str, ...] = ("eager",)
    precision: tuple[str, ...] = ("fp32",)
    rounds: int | None = None
    profile: bool = False
    pace_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says instead of the suite; None where it says nothing."""

    models: tuple[str, ...] | None = None
    batch: tuple[int, ...] | None = None
    resolution: tuple[int, ...] | None = None
    backend: tuple[str, ...] | None = None
    precision: tuple[str, ...] | None = None
    weights: Path | None = None


def names() -> list[str]:
    """The suites that ship with `bench`."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load(name: str) -> Suite:
    """Read the suite called `name`, or the file of that path.

    Raises UsageError where there is none or it is no valid suite.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = SUITES / f"{name}.toml"
        if name not in names():
            raise unknown("suite", name, names(), "Or give the path of a .toml file.")
    try:
        return msgspec.convert(_parse(path), Suite)
    except OSError as error:
        raise UsageError(
            f"cannot read the suite {path}: {error.strerror}",
            f"Suites that ship with bench: {', '.join(names())}.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not a valid suite: {error}",
            f"Its keys are: {', '.join(Suite.__struct_fields__)}. "
            "CONTRIBUTING.md shows a complete one.",
        ) from error


def _parse(path: Path) -> object:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(files.read(path, FILE_BYTES).decode())


def expand(suite: Suite, overrides: Overrides, chip: Chip, threads: int | None) -> list[Case]:
    """The cases of the grid on `chip`, batch by batch, each once.

    Raises UsageError for a name, number or combination that there is not, UnavailableError for a
    backend or precision that this machine or chip lacks.
    """
    chosen = msgspec.structs.asdict(suite) | {
        key: value for key, value in msgspec.structs.asdict(overrides).items() if value is not None
    }
    if not chosen["models"]:
        raise UsageError(
            "nothing to measure: no models were named",
            "Say --suite table6, or --models repnext_u3_t,resnet50.",
        )
    grid = {key: list(dict.fromkeys(chosen[key])) for key in GRID}
    networks = list(dict.fromkeys(_forms(chosen["models"], chip.device, overrides.weights)))
    _check_names([name for name, _ in networks])
    _check_grid(grid, len(networks), chip)
    if overrides.weights is not None:
        user.check_weights(overrides.weights)
    return [
        Case(
            model=model,
            form=form,
            backend=backend,
            precision=precision,
            batch=batch,
            resolution=resolution,
            device=chip.device,
            threads=threads or chip.threads,
        )
        for batch, resolution, precision, backend, (model, form) in itertools.product(
            sorted(grid["batch"]), grid["resolution"], grid["precision"], grid["backend"], networks
        )
    ]


def _check_grid(grid: Mapping[str, Sequence[Any]], networks: int, chip: Chip) -> None:
    """Raise UsageError or UnavailableError for a value that cannot be measured on `chip`."""
    for key, values in grid.items():
        if not values:
            raise UsageError(f"nothing to measure: {key} is empty", "Leave it out, or name one.")
    count = networks * math.prod(map(len, grid.values()))
    if count > MAX_CASES:
        raise UsageError(f"{count} cases are too many", f"Measure {MAX_CASES} at a time at most.")
    for backend in grid["backend"]:
        _check_backend(backend, chip)
    for precision in grid["precision"]:
        _check_precision(precision, chip)
    for key in ("batch", "resolution"):
        for number in grid[key]:
            check_positive(key, number)


def _check_names(models: Sequence[str]) -> None:
    """Raise UsageError for what would be obeyed where it is shown, as a file may be called."""
    for name in models:
        if not name.isprintable():
            raise UsageError(f"unprintable letters in the model {name!r}", "Rename the file.")


def _check_backend(name: str, chip: Chip) -> None:
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    torch_device = DEVICES[chip.device].torch_device
    if torch_device and (lack := BACKENDS[name].missing(torch_device)):
        raise UnavailableError(f"no backend {name} here: {lack}", "Or leave it out of --backend.")


def _check_precision(name: str, chip: Chip) -> None:
    if name not in precisions.PRECISIONS:
        raise unknown("precision", name, precisions.PRECISIONS)
    if lack := DEVICES[chip.device].missing_precision(name, chip):
        raise UnavailableError(f"no {name} on {chip.name}: {lack}", "Or leave it out.")


def plan_for(preset: str, suite: Suite, rounds: int | None, budget_s: float | None) -> Plan:
    """The preset, with what suite and flags say instead.

    Who fixes the number of rounds gets just that many, unless a budget is given too.
    """
    check_preset(preset)
    plan = msgspec.structs.replace(PRESETS[preset], pace_s=suite.pace_s)
    fixed = suite.rounds if rounds is None else rounds
    if fixed is not None:
        check_positive("rounds", fixed)
        unbound = {"precision": None, "budget_s": None, "slow_budget_s": None}
        plan = msgspec.structs.replace(plan, rounds=fixed, **unbound)
    if budget_s is not None:
        if not (math.isfinite(budget_s) and budget_s > 0):
            raise UsageError(f"a budget of {budget_s:g} seconds", "Give a number above 0.")
        plan = msgspec.structs.replace(plan, budget_s=budget_s, slow_budget_s=budget_s)
    return plan


def check_preset(name: str) -> None:
    """Raise UsageError where there is no preset of that name."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)


def check_positive(what: str, number: int) -> None:
    """Raise UsageError unless 1 <= number <= MAX_SIZE."""
    if not 1 <= number <= MAX_SIZE:
        raise UsageError(f"{what} {number}", f"Give a whole number from 1 to {MAX_SIZE}.")


def sources(suite: Suite, overrides: Overrides) -> dict[str, Source]:
    """Where children find the models that are not in the zoo, or their weights, by case's name."""
    found = (_own(entry, overrides.weights) for entry in overrides.models or suite.models)
    return {model.name: model.source for model in found if model}


def _own(entry: str, weights: Path | None) -> user.UserModel | None:
    """What is not simply a name of the zoo: a model of the user's, or any with --weights."""
    name = user.split_form(entry)[0]
    own = user.resolve(name)
    if weights is None:
        return own
    return user.with_weights(own or user.UserModel(name, Source(zoo=name)), weights)


def _forms(models: Sequence[str], device: str, weights: Path | None) -> list[tuple[str, str]]:
    """`a@form` is one pair, a bare name is one for each form that the model has."""
    if len(models) > MAX_MODELS:
        raise UsageError(f"{len(models)} models are too many", f"Name {MAX_MODELS} at most.")
    if weights is not None and len(models) > 1:
        raise UsageError("--weights fit one model, not several", "Name one with --models.")
    entries = [user.split_form(entry) for entry in models]
    timm_forms = _timm_forms(models)
    pairs: list[tuple[str, str]] = []
    for name, at, form in entries:
        own = _own(name, weights)
        if name in DEVICES[device].own_models:
            pairs.append((name, forms.ONLY))
        elif own and own.source.factory:  # what forms it has is known once its code has run
            if at and form not in forms.FORMS:
                raise unknown("form", form, forms.FORMS)
            pairs.append((own.name, form if at else forms.ONLY))
        else:
            spec = zoo.find(name)
            if _timm_name(name):
                spec = spec._replace(forms=timm_forms[spec.variant])
            if at:
                zoo.check_form(spec, form)
            called = own.name if own else name
            pairs += [(called, each) for each in ([form] if at else spec.forms)]
    return pairs


def _timm_forms(models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The forms of those that are timm's, by its names. Raises UsageError as `timm_forms` does."""
    names = [name for name in map(_timm_name, models) if name]
    for name in names:
        if not TIMM_NAME.fullmatch(name):
            remedy = f"The names are those of `timm.list_models()`, after {zoo.TIMM_PREFIX}."
            raise UsageError(f"unknown model {zoo.TIMM_PREFIX + name!r}", remedy)
    return zoo.timm_forms(names)


def _timm_name(entry: str) -> str:
    """What timm calls a model; "" for any other, a file of the user's in a folder `timm` too."""
    name = user.split_form(entry)[0]
    _, colon, factory = name.rpartition(":")
    is_own = colon and factory.isidentifier()
    return "" if is_own or not name.startswith(zoo.TIMM_PREFIX) else name[len(zoo.TIMM_PREFIX) :]
