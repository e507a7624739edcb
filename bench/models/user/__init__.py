"""The user's models: code that returns a network, and files of weights. Imports no torch."""

from bench.models.user.checkpoint import check_unchanged, read_weights
from bench.models.user.code import build, example_inputs, imported_files, notes
from bench.models.user.content import HASH_LETTERS
from bench.models.user.names import (
    UserModel,
    identified,
    resolve,
    split_form,
    split_hash,
    split_weights,
    with_weights,
)
from bench.models.user.packages import entry_points, unreadable_packages

__all__ = [
    "HASH_LETTERS",
    "UserModel",
    "build",
    "check_unchanged",
    "entry_points",
    "example_inputs",
    "identified",
    "imported_files",
    "notes",
    "read_weights",
    "resolve",
    "split_form",
    "split_hash",
    "split_weights",
    "unreadable_packages",
    "with_weights",
]
