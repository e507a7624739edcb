"""What a worker accepts from a client: cases that can be measured here, and no code of strangers.

A file of a user runs only if whoever started the worker has allowed its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.devices import DEVICES
from bench.errors import UsageError
from bench.harness import grid, networks, remeasure
from bench.harness.networks import TUNED
from bench.models import forms, user, zoo
from bench.records import Case, Chip, Source
from bench.storage import files

CAMPAIGN = re.compile("[0-9a-f]{16}")
UPDATE = "Install the bench of the client on the worker, and start it again."


class Station(msgspec.Struct, frozen=True):
    """What a worker measures with: its devices, its folder, and files that it may run.

    `allowed` are hashes of files: SHA-256 in 64 hexadecimal digits.
    """

    devices: list[str]
    store: str
    allowed: list[str] = []


def folder_of(campaign: str, station: Station) -> Path:
    """Return the folder of what is measured for one folder of a client. Raises UsageError."""
    if not CAMPAIGN.fullmatch(campaign):
        raise UsageError("the question does not say for which folder it asks", UPDATE)
    return Path(station.store, campaign)


def check_files(models: Sequence[str], weights: Path | None, station: Station) -> None:
    """Raise UsageError for a file of a user whose hash is not allowed here. Nothing of it runs."""
    for name in models:
        if TUNED in name:
            raise UsageError(f"a recipe does not travel: {name}", "Name the network and its form.")
        code, own_weights = user.split_weights(user.split_form(name)[0])
        own = user.resolve(user.split_hash(code)[0])
        if own is not None and not own.source.file:
            raise UsageError(
                f"{code} is code of a package", "A worker runs networks of files: net.py:net"
            )
        for path in filter(None, [own and Path(own.source.file), own_weights, weights]):
            _check_allowed(path, station)


def _check_allowed(path: Path, station: Station) -> None:
    try:
        with files.open_regular(path) as file:
            found = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise UsageError(
            f"the worker cannot read {path.name}: {error.strerror}",
            "Files do not travel: copy it into the folder in which the worker was started.",
        ) from error
    if found not in station.allowed:
        raise UsageError(
            f"the worker does not run {path.name}, whose hash was not allowed there",
            f"Whoever trusts the file starts the worker with --allow {found}",
        )


def sources_of(cases: Sequence[Case], chip: Chip, station: Station) -> dict[str, Source]:
    """Return the sources of networks of users. Raises BenchError for what is no case here."""
    for case in cases:
        if case.device != chip.device:
            raise UsageError(
                f"{case.name} is a case of {case.device}, not of {chip.device}", UPDATE
            )
        if not forms.has(forms.FORMS, case.form):  # a form is part of a name, which may be a path
            raise UsageError(f"no form is called {case.form!r}", UPDATE)
    grid.check_settings(
        {key: dict.fromkeys(getattr(case, key) for case in cases) for key in grid.CHECKS}, chip
    )
    own = [case for case in cases if not _is_of_timm(case.model)]
    check_files([case.name for case in own], None, station)
    known = DEVICES[chip.device].own_models
    found = {case.name: case for case in own if case.model not in known}
    plain = [name for name, case in found.items() if case.model in zoo.ZOO]
    networks.named(plain, chip.device, None)
    sources, reasons = remeasure.found_again(
        case for name, case in found.items() if name not in plain
    )
    if reasons:
        raise UsageError("; ".join(reasons.values()), UPDATE)
    return sources


def _is_of_timm(model: str) -> bool:
    """Whether the model is one of timm without weights of a user."""
    return model.startswith(zoo.TIMM_PREFIX) and not set(model) & set(":+")
