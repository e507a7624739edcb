"""The networks that `--models` or a suite names: their forms, and where a child finds them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.devices import DEVICES
from bench.errors import UsageError, unknown
from bench.harness.scheduler import probe
from bench.models import forms, user, zoo
from bench.records import Source

MAX_MODELS = 4096
TIMM_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)


class Network(NamedTuple):
    """A model in one of its forms. The source of a plain model of the zoo is `Source()`."""

    model: user.UserModel
    form: str


def named(models: Sequence[str], device: str, weights: Path | None) -> list[Network]:
    """Return the networks without duplicates: one for `name@form`, one per form for `name`.

    No code of the user runs. Raises UsageError for an unknown model or form, or if --weights is
    used with several models.
    """
    if len(models) > MAX_MODELS:
        raise UsageError(f"{len(models)} models are too many", f"Name at most {MAX_MODELS} models.")
    if weights is not None and len(models) > 1:
        raise UsageError("--weights fit one model, not several", "Name one model with --models.")
    timm_forms = _timm_forms(models)
    found: list[Network] = []
    for name, at, form in map(user.split_form, models):
        own = user.resolve(name)
        model = own or user.UserModel(name, Source(zoo=name) if weights else Source())
        if weights is not None:
            model = user.with_weights(model, weights)
        if name in DEVICES[device].own_models:
            found.append(Network(model, forms.ONLY))
        elif own:  # its forms are known only after its code has run
            if at and form not in forms.FORMS:
                raise unknown("form", form, forms.FORMS)
            found.append(Network(model, form if at else forms.ONLY))
        else:
            spec = zoo.find(name)
            if _timm_name(name):
                spec = spec._replace(forms=timm_forms[spec.variant])
            if at:
                zoo.check_form(spec, form)
            found += [Network(model, wanted) for wanted in ([form] if at else spec.forms)]
    return list(dict.fromkeys(found))


def identified(networks: Sequence[Network], device: str) -> list[Network]:
    """Return the same networks, where a name tells what the user's code is and builds.

    A simulated device runs no code: there, a name has the hash of the named file alone. Raises
    UsageError for code that makes no network.
    """
    own = list(dict.fromkeys(each.model for each in networks if each.model.source.factory))
    if not DEVICES[device].runs_torch:
        return list(networks)
    known = dict(zip(own, probe.identify(own, device), strict=True))
    return [each._replace(model=known.get(each.model, each.model)) for each in networks]


def _timm_forms(models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Map the timm names among `models` to their forms. Raises UsageError for an unknown name."""
    names = [name for name in map(_timm_name, models) if name]
    for name in names:
        if not TIMM_NAME.fullmatch(name):
            remedy = f"Write {zoo.TIMM_PREFIX} and then a name from `timm.list_models()`."
            raise UsageError(f"unknown model {zoo.TIMM_PREFIX + name!r}", remedy)
    return zoo.timm_forms(names)


def _timm_name(entry: str) -> str:
    """Return a model's name in timm; "" for other models, even a file in a folder `timm`."""
    name = user.split_form(entry)[0]
    _, colon, factory = name.rpartition(":")
    is_own = colon and factory.isidentifier()
    return "" if is_own or not name.startswith(zoo.TIMM_PREFIX) else name[len(zoo.TIMM_PREFIX) :]
