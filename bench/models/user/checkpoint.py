"""Weights of a user: a safetensors file, or a checkpoint from which torch unpickles only tensors.

Weights are data: reading them runs no code. A separate process checks a file before the run.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.models.user.content import file_hash
from bench.process import command_for_code
from bench.records import Source

if TYPE_CHECKING:
    from torch import nn

TRY_WEIGHTS = (
    "import sys; from bench.models.user import checkpoint; checkpoint.try_weights(sys.argv[1])"
)
REFUSED = 3  # exit code of TRY_WEIGHTS for a refused file; a crash of torch has another code
# torch raises the same type for a damaged file and for a file with other objects than tensors. Only
# its message differs: it then gives advice about `weights_only`.
ADVICE = re.compile("weights.only", re.IGNORECASE)
SAVE_TENSORS = (
    "Save tensors alone: safetensors.torch.save_file(net.state_dict(), 'net.safetensors'), or "
    "torch.save(net.state_dict(), 'net.pt')."
)
NESTED = ("state_dict", "model", "model_state_dict")  # keys of the weights in checkpoints


def load_weights(model: nn.Module, source: Source) -> None:
    """Load a checkpoint into `model`. Unpickles only tensors.

    Raises RuntimeError if a name or a shape does not match. Raises RuntimeError if the file's hash
    is not `source.weights_hash`, before or after loading: then the file changed during the run.
    Raises TypeError if the file does not map names to tensors.
    """
    file = Path(source.weights)
    _check_unchanged(file, source.weights_hash)
    model.load_state_dict(_read_weights(file))
    _check_unchanged(file, source.weights_hash)


def check_weights(path: Path) -> None:
    """Raise UsageError unless `path` is a checkpoint that can be loaded and has only tensors.

    A separate process loads it: the parent process of a run imports no torch, and a file that
    crashes torch must not end the run.
    """
    _check_weights(str(path), file_hash(path))


@functools.lru_cache(maxsize=1)
def _check_weights(path: str, digest: str) -> None:
    command = command_for_code(TRY_WEIGHTS, path)
    tried = subprocess.run(command, capture_output=True, check=False)
    if tried.returncode == 0:
        return
    reason = "torch could not load it"
    if tried.returncode == REFUSED:
        reason = tried.stdout.decode().rstrip().rpartition("\n")[2]
    raise UsageError(f"{Path(path).name} is no checkpoint: {reason}", SAVE_TENSORS)


def try_weights(path: str) -> None:
    """Load a checkpoint; if it fails, print the reason and exit with REFUSED.

    `_check_weights` runs this function in a separate process.
    """
    try:
        _read_weights(Path(path))
    except Exception as error:  # safetensors and torch raise many types
        sentence = str(error).partition(". ")[0]
        print(ascii(sentence or type(error).__name__)[1:-1])
        sys.exit(REFUSED)


def _read_weights(file: Path) -> dict[str, Any]:
    """Return the tensors of a checkpoint by name.

    Raises TypeError if it has anything else, and exceptions of torch and safetensors.
    """
    import torch

    weights: Any
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(file)
    elif tarfile.is_tarfile(file):  # torch before 2.6 unpickles any object from a tar file
        raise TypeError("it is a tar file")
    else:
        weights = _unpickled(file)
        for key in NESTED:
            weights = weights.get(key, weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not weights:
        raise TypeError("it holds no tensors by name")
    if other := {type(value).__name__ for value in weights.values() if not torch.is_tensor(value)}:
        raise TypeError(f"beside tensors it holds {', '.join(sorted(other))}")
    return weights


def _unpickled(file: Path) -> object:
    """Return what torch unpickles, with `weights_only`.

    torch's message advises users to trust the file; a TypeError without that advice replaces it.
    """
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if not ADVICE.search(str(error)):
            raise
        raise TypeError("it holds more than tensors, or is damaged") from None


def _check_unchanged(file: Path, digest: str) -> None:
    """Raise RuntimeError if the hash of the file differs from the hash in the name of the case."""
    if file_hash(file) != digest:
        raise RuntimeError(f"{file.name} was changed since the run began")
