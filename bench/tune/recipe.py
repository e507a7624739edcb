"""The recipe that a tuning leaves: what `bench run --models MODEL@tuned:RECIPE` measures."""

from __future__ import annotations

from bench.harness.scheduler.environment import runtime_of
from bench.records import Environment, Recipe
from bench.tune.final import Outcome


def recipe_of(outcome: Outcome, environment: Environment) -> Recipe:
    """Return the recipe of the winner. `gain` is None unless it is proven."""
    ratio = outcome.ratio if outcome.finding == "FASTER" else None
    return Recipe(
        case=outcome.winner,
        environment_id=environment.environment_id,
        versions=environment.versions,
        runtime=runtime_of(outcome.winner),
        baseline=outcome.baseline.name,
        gain=(1 / ratio.point, 1 / ratio.high, 1 / ratio.low) if ratio else None,
    )
