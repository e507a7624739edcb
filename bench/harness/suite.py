"""Expands a suite (TOML) and the command line's flags to cases and a plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec.structs import asdict

import bench
from bench.errors import UsageError, check_positive, unknown
from bench.harness import grid as grids
from bench.harness import networks, recipes
from bench.harness.grid import GRID
from bench.harness.input_shape import Shape, shape_of
from bench.harness.networks import Network
from bench.harness.plan import PRESETS, Plan
from bench.models.user.fit import RGB
from bench.records import DEFAULT, Case, Chip, Source
from bench.records import scenario as scenarios
from bench.records.scenario import TIGHT
from bench.records.workload import INFER, TRAIN
from bench.storage import shipped

# Where nobody gives a batch
DEFAULT_BATCH = (1, 128)
TRAINING_BATCH = (32,)
DEFAULT_RESOLUTION = (224,)

_SHIPPED = Path(bench.__file__).parent / "suites"  # inside the wheel
SUITES = _SHIPPED if _SHIPPED.is_dir() else Path(bench.__file__).parents[1] / "suites"


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grid that expands to cases: every combination of the values below.

    `title` is shown to the user. `models` are names as `--models` takes them. `rounds` replaces the
    number of rounds of the preset. With `profile`, the cases at batch 1 are also profiled after the
    measurement. The fake device sleeps `pace_s` seconds in each block. `input` gives channels,
    height and width of an image, instead of `resolution`. Without `batch`, an inference has
    DEFAULT_BATCH and a training step TRAINING_BATCH; with any scenario but the tight loop, the
    batch is 1.
    """

    title: str = ""
    models: tuple[str, ...] = ()
    batch: tuple[int, ...] | None = None
    resolution: tuple[int, ...] = DEFAULT_RESOLUTION
    input: str = ""
    backend: tuple[str, ...] = ("eager",)
    precision: tuple[str, ...] = ("fp32",)
    allocator: tuple[str, ...] = (DEFAULT,)
    huge_pages: tuple[str, ...] = (DEFAULT,)
    workload: tuple[str, ...] = (INFER,)
    scenario: tuple[str, ...] = (TIGHT,)
    rounds: int | None = None
    profile: bool = False
    pace_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0

    def __post_init__(self) -> None:
        if self.input and self.resolution != DEFAULT_RESOLUTION:
            raise ValueError("input and resolution both give the size of an image")


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """Values of the command line that replace those of the suite; None keeps the suite's value."""

    models: tuple[str, ...] | None = None
    batch: tuple[int, ...] | None = None
    resolution: tuple[int, ...] | None = None
    backend: tuple[str, ...] | None = None
    precision: tuple[str, ...] | None = None
    allocator: tuple[str, ...] | None = None
    huge_pages: tuple[str, ...] | None = None
    workload: tuple[str, ...] | None = None
    scenario: tuple[str, ...] | None = None
    weights: Path | None = None
    input: str | None = None


def names() -> list[str]:
    """Return the names of the suites that ship with `bench`, sorted."""
    return shipped.names(SUITES)


def load(name: str) -> Suite:
    """Read the shipped suite `name`, or the suite file at the path `name` (ending in .toml).

    Raises UsageError where the suite does not exist, is unreadable or is not valid.
    """
    return shipped.load(name, SUITES, Suite, "suite", "CONTRIBUTING.md shows a complete suite.")


class Selection(NamedTuple):
    """The cases of a grid.

    `sources` says where a child finds each model outside the zoo. `notes` are about weights and
    inputs. `built` are the cases whose network the user's code has built before the run.
    """

    cases: list[Case]
    sources: dict[str, Source]
    notes: list[str]
    built: frozenset[Case] = frozenset()


def expand(suite: Suite, overrides: Overrides, chip: Chip, threads: int | None) -> list[Case]:
    """Return the cases of `select`."""
    return select(suite, overrides, chip, threads).cases


def select(
    suite: Suite,
    overrides: Overrides,
    chip: Chip,
    threads: int | None,
    before_code: Callable[[], object] = tuple,
    *,
    all_forms: bool = False,
) -> Selection:
    """Return the cases of the grid on `chip` without duplicates, smallest batch first.

    A network of the user that is named without a form is the one that its code builds; with
    `all_forms`, it is that in each of its forms, as a network of the zoo always is.

    Networks of the user are built once, to name them by their content. `threads` of None takes the
    chip's number of threads. Raises UsageError for an unknown name, an invalid number, too many
    cases, or code of the user that makes no network. Raises UnavailableError for a backend or
    precision that this machine or chip lacks.
    """
    shape = _shape(suite, overrides)
    chosen = _chosen(suite, overrides)
    if shape:
        chosen["resolution"] = [shape.resolution]
    grid = {key: list(dict.fromkeys(chosen[key])) for key in GRID}
    grid["scenario"] = list(dict.fromkeys(map(_scenario, grid["scenario"])))
    found = networks.named(chosen["models"], chip.device, overrides.weights)
    _check_names([network.model.name for network in found])
    grids.check(grid, len(found), chip)
    for network in found:
        if network.tuned:
            recipes.check_here(network.tuned, chip)
            _check_usual(grid)
    tried_at = next((each.tuned.resolution for each in found if each.tuned), grid["resolution"][0])
    found = networks.identified(found, chip.device, tried_at, before_code)
    found = networks.in_all_forms(found) if all_forms else found
    for network in found:
        own = shape_of(network.tuned.input) if network.tuned and network.tuned.input else shape
        networks.check_channels([network], own.channels if own else RGB)
    usual = Case(
        model="",
        form="",
        device=chip.device,
        threads=threads or chip.threads,
        input=shape.of_case if shape else "",
    )
    cases = _cases(usual, grid, found)
    return Selection(
        list(cases),
        {each.model.name: each.model.source for each in found if each.model.source != Source()},
        networks.notes(found, has_shape=bool(usual.input)),
        frozenset(case for case, network in cases.items() if network.is_built),
    )


def _chosen(suite: Suite, overrides: Overrides) -> dict[str, Any]:
    """Return the values of the suite, replaced by those given. Raises UsageError if no model is."""
    given = {key: value for key, value in asdict(overrides).items() if value is not None}
    if not (chosen := asdict(suite) | given)["models"]:
        raise UsageError(
            "nothing to measure: no models were named",
            "Name a suite (--suite table6) or models (--models repnext_u3_t,resnet50).",
        )
    if chosen["batch"] is None:
        chosen["batch"] = _usual_batch(chosen)
    return chosen


def _usual_batch(chosen: Mapping[str, Any]) -> Sequence[int]:
    if set(chosen["workload"]) == {TRAIN}:
        return TRAINING_BATCH
    return DEFAULT_BATCH if set(chosen["scenario"]) == {TIGHT} else (1,)


def _check_usual(grid: Mapping[str, Sequence[str]]) -> None:
    for flag, usual in (("workload", INFER), ("scenario", TIGHT)):
        if set(grid[flag]) != {usual}:
            raise UsageError(
                "a recipe says how inferences run fastest one after another",
                f"Leave out --{flag}, or name the network without its recipe.",
            )


def _cases(
    usual: Case, grid: Mapping[str, Sequence[Any]], found: Sequence[Network]
) -> dict[Case, Network]:
    """Return `usual` with each combination of the grid and each network, the smallest batch first.

    The values are the networks of the cases. A network with a recipe has the case of the recipe.
    """
    axes = {
        **{key: grid[key] for key in ("workload", "batch", "resolution", "precision", "backend")},
        "network": found,
        **{key: grid[key] for key in ("scenario", "allocator", "huge_pages")},
    }
    cases: dict[Case, Network] = {}
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        network: Network = settings.pop("network")
        made = msgspec.structs.replace(
            usual, model=network.model.name, form=network.form, **settings
        )
        cases[network.tuned or made] = network
    order = {resolution: place for place, resolution in enumerate(grid["resolution"])}
    grouped = sorted(
        cases,
        key=lambda case: (
            case.trains,
            case.scenario if case.when.is_alone else "",
            case.batch,
            order.get(case.resolution, len(order)),
        ),
    )
    return {case: cases[case] for case in grouped}


def _scenario(text: str) -> str:
    """Return the name that a case has: `sustained-600s` for `sustained-10m`; others unchanged."""
    known = scenarios.parse(text)
    return known.name if known else text


def _shape(suite: Suite, overrides: Overrides) -> Shape | None:
    """Return the shape that --input or the suite gives, None without it. Raises UsageError.

    --resolution replaces the shape of a suite.
    """
    text = overrides.input
    if text is None and overrides.resolution is None:
        text = suite.input or None
    if text is None:
        return None
    if overrides.resolution is not None:
        raise UsageError(
            "--input and --resolution both give the size of an image", "Leave out --resolution."
        )
    shape = shape_of(text)
    for number in shape:
        check_positive("input", number)
    return shape


def _check_names(models: Sequence[str]) -> None:
    """Raise UsageError for control characters in a name: a terminal would obey them."""
    for name in models:
        if not name.isprintable():
            raise UsageError(f"unprintable characters in the model {name!r}", "Rename the file.")


def plan_for(
    preset: str,
    suite: Suite,
    rounds: int | None,
    budget_s: float | None,
    patience: float = 0.0,
) -> Plan:
    """Return the plan of `preset`, changed by the suite and by the flags, the other arguments.

    A fixed number of rounds removes the precision and the budgets, so that exactly this many
    rounds run; `budget_s` then sets both budgets again, and holds from the first round on. Raises
    UsageError for an unknown preset or an invalid number.
    """
    check_preset(preset)
    if not 0 <= patience < 1:
        raise UsageError(
            f"invalid patience {patience:g}", "Give a share of the run: 0 or more, and below 1."
        )
    plan = msgspec.structs.replace(PRESETS[preset], pace_s=suite.pace_s, patience=patience)
    fixed = suite.rounds if rounds is None else rounds
    if fixed is not None:
        check_positive("rounds", fixed)
        plan = plan.exactly(fixed)
    if budget_s is not None:
        if not (math.isfinite(budget_s) and budget_s > 0):
            raise UsageError(f"invalid budget of {budget_s:g} seconds", "Give a number above 0.")
        plan = msgspec.structs.replace(plan, budget_s=budget_s, slow_budget_s=budget_s)
        plan = msgspec.structs.replace(plan, least_rounds=1)
    return plan


def check_preset(name: str) -> None:
    """Raise UsageError where no preset has this name."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
