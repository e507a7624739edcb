"""The networks that `--models` or a suite names: their forms, and where a child finds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.devices import DEVICES
from bench.errors import UsageError, unknown
from bench.harness import recipes
from bench.harness.scheduler import probe
from bench.models import forms, user, zoo
from bench.models.user.fit import RGB
from bench.paper import accuracy
from bench.records import Case, Source

MAX_MODELS = 4096
TUNED = "@tuned:"  # a recipe follows, in place of a form
TIMM_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)


class Network(NamedTuple):
    """A model in one of its forms. The source of a plain model of the zoo is `Source()`.

    `pinned` is the hash that the user named, "" for whatever the code is now. `channels` are those
    of its input, as far as its weights say it; `notes` are about its weights. `forms` are those of
    a network outside the zoo, () where it was not built. `makes_inputs`: whether the user's code
    has a function `example_inputs`. `tuned` is the case of a recipe of `bench tune`. `has_form`:
    whether the user named a form.
    """

    model: user.UserModel
    form: str
    pinned: str = ""
    channels: int = RGB
    notes: Sequence[str] = ()
    forms: Sequence[str] = ()
    makes_inputs: bool = False
    tuned: Case | None = None
    has_form: bool = True

    @property
    def is_built(self) -> bool:
        """Whether the user's code has built it before the run, in the form that it builds."""
        return bool(self.model.source.factory and self.forms and forms.find(self.form).is_built)


def named(models: Sequence[str], device: str, weights: Path | None) -> list[Network]:
    """Return the networks without duplicates: one for `name@form`, one per form for `name`.

    No code of the user runs. Raises UsageError for an unknown model or form, a file that cannot be
    read, or if --weights is used with several models.
    """
    if len(models) > MAX_MODELS:
        raise UsageError(f"{len(models)} models are too many", f"Name at most {MAX_MODELS} models.")
    if weights is not None and len(models) > 1:
        remedy = "Write the file after its model instead: --models net.py:net+weights.pt,resnet50"
        raise UsageError("--weights fit one model, not several", remedy)
    entries = [_entry(entry, weights) for entry in models]
    timm_forms = _timm_forms([entry.name for entry in entries])
    found = [each for entry in entries for each in _networks(entry, device, timm_forms)]
    return list(dict.fromkeys(found))


class _Entry(NamedTuple):
    """The parts of `name#hash+weights@form`; `form` is None where it was not given.

    `tuned` is the case of the recipe `name@tuned:FILE`, which also gives the form.
    """

    name: str
    pinned: str
    weights: Path | None
    form: str | None
    tuned: Case | None = None


def _entry(entry: str, weights: Path | None) -> _Entry:
    whole, has_recipe, path = entry.partition(TUNED)
    whole, at, form = user.split_form(whole)
    name, own = user.split_weights(whole)
    if own and weights:
        raise UsageError(f"{entry} and --weights both name weights", "Leave out one of them.")
    tuned = recipes.read(Path(path)).case if has_recipe else None
    wanted = tuned.form if tuned else form if at else None
    return _Entry(*user.split_hash(name), own or weights, wanted, tuned)


def _networks(
    entry: _Entry, device: str, timm_forms: Mapping[str, tuple[str, ...]]
) -> list[Network]:
    """Return a network in the form of the entry, or in each form of its model."""
    name, pinned, weights, form, tuned = entry
    own = user.resolve(name)
    model = own or user.UserModel(name, Source(zoo=name) if weights else Source())
    if weights is not None:
        model = user.with_weights(model, weights)
    if name in DEVICES[device].own_models:
        return [Network(model, forms.ONLY, tuned=tuned)]
    if own:  # its forms are known only after its code has run
        if form is not None and not forms.has(forms.FORMS, form):
            raise unknown("form", form, forms.FORMS)
        return [Network(model, form or forms.ONLY, pinned, tuned=tuned, has_form=bool(form))]
    spec = _spec(name)
    if _timm_name(name):
        spec = spec._replace(forms=timm_forms[spec.variant])
    if form is not None:
        zoo.check_form(spec, form)
    wanted = spec.forms if form is None else [form]
    return [Network(model, each, tuned=tuned) for each in wanted]


def identified(
    networks: Sequence[Network],
    device: str,
    resolution: int,
    before_code: Callable[[], object] = tuple,
) -> list[Network]:
    """Return the same networks, where a name tells what the user's code is and builds.

    Weights are tried with their network, at `resolution` pixels. A simulated device runs no code:
    there, a name has the hash of the named file alone. `before_code` is called before any code of
    the user runs. Raises UsageError for code that makes no network, for weights that do not fit,
    and for a form that the network does not have.
    """
    found = list(networks)
    if DEVICES[device].runs_torch:
        own = list(dict.fromkeys(each.model for each in found if each.model.source != Source()))
        if own:
            before_code()
        known = dict(zip(own, probe.identify(own, device, resolution), strict=True))
        found = [
            each._replace(**known[each.model]._asdict()) if each.model in known else each
            for each in found
        ]
    for each in found:
        _check_form(each)
        if each.tuned:
            recipes.check_model(each.tuned, each.model.name)
        if each.pinned not in ("", each.model.digest):
            raise UsageError(
                f"{each.model.code} was changed: its hash is {each.model.digest}, "
                f"not {each.pinned}",
                "Leave the hash out.",
            )
    return found


def in_all_forms(networks: Sequence[Network]) -> list[Network]:
    """Return the same networks; one of the user that was named without a form, in each form."""
    found = []
    for each in networks:
        found.append(each)
        if not each.has_form:
            others = [form for form in each.forms if not forms.find(form).is_built]
            found += [each._replace(form=form) for form in others]
    return found


def _check_form(network: Network) -> None:
    """Raise UsageError if the network was built, and does not have the form."""
    is_known = forms.find(network.form).is_built or forms.has(network.forms, network.form)
    if network.forms and not is_known:
        raise UsageError(
            f"{network.model.code} has no form {network.form!r}",
            f"It has: {forms.choice(network.forms)}. docs/own-models.md says what gives a network "
            "of your own other forms.",
        )


def notes(networks: Sequence[Network], *, has_shape: bool) -> list[str]:
    """Return sentences about weights, and about `example_inputs` that `has_shape` leaves unused."""
    found = [note for network in networks for note in network.notes]
    if has_shape:
        found += [
            f"{network.model.code}: its example_inputs is not used, because --input or the suite "
            "gives the shape of an image"
            for network in networks
            if network.makes_inputs
        ]
    return list(dict.fromkeys(found))


def check_channels(networks: Sequence[Network], channels: int) -> None:
    """Raise UsageError for a network that takes images of another number of channels.

    What a network of the user takes is not known before it runs, even with weights.
    """
    for network in networks:
        if network.model.source.factory:
            continue
        if network.channels != channels:
            takes = f"{network.channels} channel" + "s" * (network.channels != 1)
            raise UsageError(
                f"{network.model.code}{network.model.weights} takes images of {takes}",
                f"Say so: --input {network.channels}x224x224",
            )


def _spec(name: str) -> zoo.Spec:
    """Return the model called `name`. Raises UsageError; where timm has the name, it says so."""
    if name not in zoo.ZOO and name in accuracy.timm_names():
        raise UsageError(
            f"unknown model {name!r}", f"timm has it: --models {zoo.TIMM_PREFIX}{name}"
        )
    return zoo.find(name)


def _timm_forms(models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Map the timm names among `models` to their forms. Raises UsageError for an unknown name."""
    names = [name for name in map(_timm_name, models) if name]
    for name in names:
        if not TIMM_NAME.fullmatch(name):
            remedy = f"Write {zoo.TIMM_PREFIX} and then a name from `timm.list_models()`."
            raise UsageError(f"unknown model {zoo.TIMM_PREFIX + name!r}", remedy)
    return zoo.timm_forms(names)


def _timm_name(name: str) -> str:
    """Return a model's name in timm; "" for other models, even a file in a folder `timm`."""
    _, colon, factory = name.rpartition(":")
    is_own = colon and factory.isidentifier()
    return "" if is_own or not name.startswith(zoo.TIMM_PREFIX) else name[len(zoo.TIMM_PREFIX) :]
