"""The ways to run a network that a tuning may try, in the order in which it tries them.

All combinations are too many: four forms, eight backends, three precisions, four allocators, three
settings of huge pages and two numbers of threads are 2,304. So a wave varies one thing, starting
from the fastest candidates of the waves before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import msgspec

from bench.models import forms
from bench.records import Case
from bench.records.fields import Name, Whole

RUNTIMES_TAKEN = 2  # pairs of backend and precision whose other forms are tried
CANDIDATES_TAKEN = 2  # those whose process is set up in other ways
EXACT = "fp32"  # the precision of the reference
SETTINGS = ("allocator", "huge_pages", "threads")  # of a process


class Space(msgspec.Struct, frozen=True):
    """What may vary.

    `forms` are the forms of the network in eager mode and fp32, with the usual settings of a
    process: one of them is the baseline. `runtimes` are the pairs of backend and precision that
    work here. The other fields have the settings of a process, the usual one first. `tolerance` is
    the largest error of a candidate; None where the check of a case decides alone. With `stages`,
    each stage of the fastest candidate is tried in another form.
    """

    forms: Annotated[tuple[Case, ...], msgspec.Meta(min_length=1)]
    runtimes: tuple[tuple[Name, Name], ...]
    allocator: tuple[Name, ...]
    huge_pages: tuple[Name, ...]
    threads: tuple[Whole, ...]
    tolerance: float | None = None
    stages: bool = False

    @property
    def has_choice(self) -> bool:
        """Whether there are two candidates at least."""
        return any(len(getattr(self, each)) > 1 for each in ("forms", "runtimes", *SETTINGS))


class Wave(NamedTuple):
    """What a wave varies, in words, and its candidates.

    `candidates` takes the space and all measured candidates, the fastest first. `at_once` of them
    have a round together; 0 means all. Then those still in the race have `more_rounds`, so that the
    next wave starts from the right ones.
    """

    varies: str
    candidates: Callable[[Space, Sequence[Case]], list[Case]]
    at_once: int = 3
    more_rounds: int = 0


def _forms(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """Each form in eager mode."""
    return list(space.forms)


def _runtimes(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """The fastest form in every runtime."""
    best = _fastest_form(space, ranked)
    return [_in_runtime(best, runtime) for runtime in space.runtimes]


def _forms_in_runtimes(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """Every form in the fastest runtimes, and in the fastest ones in fp32."""
    fastest = list(dict.fromkeys((case.backend, case.precision) for case in ranked))
    taken = fastest[:RUNTIMES_TAKEN]
    taken += [each for each in fastest if each[1] == EXACT][:RUNTIMES_TAKEN]
    return [_in_runtime(form, each) for each in dict.fromkeys(taken) for form in space.forms]


def _settings(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """The fastest candidates, and the fastest form in eager mode, with one setting changed.

    Eager mode gains most from another allocator, since it allocates for each operator.
    """
    taken = [*ranked[:CANDIDATES_TAKEN], _fastest_form(space, ranked)]
    return [
        msgspec.structs.replace(case, **{setting: value})
        for case in dict.fromkeys(taken)
        for setting in SETTINGS
        for value in getattr(space, setting)
    ]


def _settings_together(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """The settings that made the fastest network faster one by one, in pairs and all together."""
    best = _usual(space, ranked[0])
    if best not in ranked:
        return []
    helped: dict[str, object] = {}
    for case in ranked[: ranked.index(best)]:
        changed = [each for each in SETTINGS if getattr(case, each) != getattr(best, each)]
        if _usual(space, case) == best and len(changed) == 1:
            helped.setdefault(changed[0], getattr(case, changed[0]))
    return [
        msgspec.structs.replace(best, **{each: helped[each] for each in together})
        for count in range(2, len(helped) + 1)
        for together in itertools.combinations(helped, count)
    ]


def _stages(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """The fastest candidate with one stage in another form."""
    best = ranked[0]
    known = forms.mixable([form.form for form in space.forms])
    stages = list(forms.by_stage(best.form)) if space.stages else []
    return [
        msgspec.structs.replace(best, form=forms.mixture([*stages[:i], other, *stages[i + 1 :]]))
        for i, own in enumerate(stages)
        for other in known
        if other != own
    ]


def _fastest_form(space: Space, ranked: Sequence[Case]) -> Case:
    """The fastest form in eager mode."""
    return next(case for case in ranked if case in space.forms)


def _in_runtime(case: Case, runtime: tuple[str, str]) -> Case:
    backend, precision = runtime
    return msgspec.structs.replace(case, backend=backend, precision=precision)


def _usual(space: Space, case: Case) -> Case:
    """The case with the usual settings of a process."""
    return msgspec.structs.replace(case, **{each: getattr(space, each)[0] for each in SETTINGS})


WAVES = (
    Wave("forms in eager mode", _forms, at_once=0, more_rounds=2),
    Wave("runtimes and precisions", _runtimes),
    Wave("forms in the fastest runtimes", _forms_in_runtimes, more_rounds=2),
    Wave("allocator, huge pages and threads, one at a time", _settings),
    Wave("settings that helped, together", _settings_together),
    Wave("one stage in another form", _stages),
)
