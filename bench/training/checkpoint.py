"""The state of a training in one file, which is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import torch

from bench.errors import UsageError
from bench.models.user.checkpoint import ADVICE
from bench.storage.files import open_to_write

NAME = "checkpoint.pt"
FORMAT = 1
AGAIN = "Choose another --out, or add --again to start this training anew."


class Identity(msgspec.Struct, frozen=True):
    """What a training must have in common with the one that it continues.

    `model` has a hash of the user's code.
    """

    model: str
    classes: list[str]
    recipe: dict[str, Any]
    seed: int
    accumulate: int
    data: str
    amp: bool = False
    processes: int = 1
    format: int = FORMAT


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to a file beside `path`, then put that in its place.

    Raises UsageError where it cannot be written; the earlier file stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open_to_write(partial) as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError where the disk is full
        partial.unlink(missing_ok=True)
        if "DataLoader worker" in str(error):  # which torch raises wherever this process is
            raise
        raise UsageError(
            f"cannot write {path}: {error}",
            "Make room on the disk. The last checkpoint is whole: the same command continues.",
        ) from error


def load(path: Path, identity: Identity) -> dict[str, Any] | None:
    """Return the state at `path`, None where there is none.

    Raises UsageError for a file that is no checkpoint of bench, that holds more than data, or that
    is of another training.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        known = msgspec.convert(state["identity"], Identity)
    except Exception as error:  # torch raises errors of many types
        reason = "it holds more than data, or is damaged"
        detail = f": {type(error).__name__}" if not ADVICE.search(str(error)) else ""
        raise UsageError(f"{path} is no checkpoint of bench: {reason}{detail}", AGAIN) from None
    if difference := _difference(known, identity):
        raise UsageError(f"{path} is of another training: {difference}", AGAIN)
    return dict(state)


def _difference(known: Identity, now: Identity) -> str:
    """What differs first, in words; "" where nothing does."""
    for field in Identity.__struct_fields__:
        before, after = getattr(known, field), getattr(now, field)
        if before == after:
            continue
        if field == "recipe":
            keys = sorted(key for key in before | after if before.get(key) != after.get(key))
            pairs = [f"{key} was {before.get(key)}, now {after.get(key)}" for key in keys]
            return f"in the recipe, {'; '.join(pairs)}"
        if field == "data":
            return "other images were trained on"
        return f"{field} was {before}, now {after}"
    return ""
