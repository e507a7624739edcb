"""Weights of a user: a safetensors file, or a checkpoint from which torch unpickles only tensors.

Weights are data: reading them runs no code.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import UsageError
from bench.models.user import legacy
from bench.models.user.content import file_hash
from bench.records import Source
from bench.text import GIB

if TYPE_CHECKING:
    from torch import Tensor

# torch raises the same type for a damaged file and for a file with other objects than tensors. Only
# its message differs: it then gives advice about `weights_only`, and names the object.
ADVICE = re.compile("weights.only", re.IGNORECASE)
UNPICKLED = re.compile(r"GLOBAL ([\w.]+)")
SAVE_TENSORS = (
    "Save tensors alone: safetensors.torch.save_file(net.state_dict(), 'net.safetensors'), or "
    "torch.save(net.state_dict(), 'net.pt')."
)
# Keys of the weights in checkpoints of training programs; the first one that is there counts.
NESTED = ("state_dict", "model", "model_state_dict", "ema", "state_dict_ema")
MAX_DEPTH = 3
MOST_OF_LEGACY = 1.5  # times the bytes of its weights; the state of an optimizer has as many


class Weights(NamedTuple):
    """The tensors of a checkpoint by name, and the keys under which they were found."""

    tensors: dict[str, Tensor]
    keys: list[str]


def read_weights(source: Source) -> Weights:
    """Read the checkpoint of a source. Unpickles only tensors.

    Raises UsageError if the file is no checkpoint, has other objects, or unfolds to more bytes than
    it has: a small file could fill the memory. Raises RuntimeError if the file was changed. A
    mapped tensor is read where it is used, so call `check_unchanged` again after its last use.
    """
    file = Path(source.weights)
    check_unchanged(source)
    try:
        return _read(file)
    except Exception as error:  # safetensors and torch raise many types
        sentence = str(error).partition(". ")[0].partition("\n")[0]
        reason = ascii(sentence or type(error).__name__)[1:-1]
        raise UsageError(f"{file.name} is no checkpoint: {reason}", SAVE_TENSORS) from None


def _read(file: Path) -> Weights:
    """Raises TypeError if the file has no tensors by name, and errors of torch and safetensors."""
    import torch

    found: Any
    keys: list[str] = []
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        found = load_file(file)
    elif tarfile.is_tarfile(file):  # torch before 2.6 unpickles any object from a tar file
        raise TypeError("it is a tar file")
    else:
        _check_stored(file)
        _check_legacy(file)
        found, keys = _chosen(_unpickled(file))
    if not _is_dict(found) or not found:
        raise TypeError("it holds no tensors by name")
    if other := {type(value).__name__ for value in found.values() if not torch.is_tensor(value)}:
        raise TypeError(f"besides tensors it holds {', '.join(sorted(other))}")
    _check_sizes(found.values(), file.stat().st_size)
    return Weights({str(name): value for name, value in found.items()}, keys)


def _check_stored(file: Path) -> None:
    """Raise TypeError if a zip file is compressed, or has entries that share bytes of the file.

    Reads the list of entries alone.
    """
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise TypeError(f"it is compressed, and unfolds to {size / GIB:.2g} GiB")
    if size > file.stat().st_size:
        raise TypeError(f"its entries share bytes, and unfold to {size / GIB:.2g} GiB")


def _check_legacy(file: Path) -> None:
    """Raise TypeError if a file of torch before 1.6 unfolds, or if most of it is no weights.

    torch loads such a file whole.
    """
    found = legacy.read(file)
    if found is None:
        return
    total, weights = sum(found.storages.values()), found.bytes_of(_chosen(found.content)[0])
    if total > file.stat().st_size:
        raise TypeError(f"its tensors add up to {total / GIB:.2g} GiB, more than the file has")
    if total > MOST_OF_LEGACY * weights > 0:
        more = f"{(total - weights) / GIB:.2g} GiB"
        raise TypeError(
            f"it has torch's format before 1.6, and would load {more} beside the weights"
        )


def _chosen(found: Any) -> tuple[Any, list[str]]:
    """Return the weights in a checkpoint, and the keys under which they are."""
    keys: list[str] = []
    for _ in range(MAX_DEPTH):
        nested = [key for key in NESTED if _is_dict(found) and _is_dict(found.get(key))]
        keys += nested[:1]
        found = found[nested[0]] if nested else found
    return found, keys


def _check_sizes(tensors: Iterable[Tensor], size: int) -> None:
    """Raise TypeError if storages share bytes of the file, or if tensors repeat numbers of them.

    Both must not exceed `size`, that of the file. A storage of one number can make a tensor of any
    shape, which a copy unfolds.
    """
    import torch

    dense = [each for each in tensors if each.layout == torch.strided]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in dense}
    total = sum(each.nbytes() for each in storages.values())
    if total > size:
        raise TypeError(f"its tensors share bytes, and unfold to {total / GIB:.2g} GiB")
    excess = sum(
        max(each.numel() * each.element_size() - each.untyped_storage().nbytes(), 0)
        for each in dense
    )
    if excess > size:
        raise TypeError(f"it repeats numbers, and unfolds to {excess / GIB:.2g} GiB")


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _unpickled(file: Path) -> object:
    """Return what torch unpickles, with `weights_only`.

    The tensors of a zip file are mapped, so that only those that are used are loaded. torch's
    message advises users to trust the file; a TypeError without that advice replaces it.
    """
    import torch

    mapped = zipfile.is_zipfile(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        if not ADVICE.search(str(error)):
            raise
        named = UNPICKLED.search(str(error))
        what = f": {named[1]}" if named else ", or is damaged"
        raise TypeError(f"it holds more than tensors{what}") from None


def check_unchanged(source: Source) -> None:
    """Raise RuntimeError if the checkpoint of a source has another hash than the source says."""
    file = Path(source.weights)
    if file_hash(file) != source.weights_hash:
        raise RuntimeError(f"{file.name} was changed since the run began")
