"""The variables of the shell that decide how torch computes, and how it gets its memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from bench.text import printable, without_paths

_DECIDING = re.compile(
    r"(OMP|GOMP|KMP|MKL|ONEDNN|DNNL|OPENBLAS)_[A-Z0-9_]{1,80}"
    r"|ATEN_CPU_CAPABILITY|NVIDIA_TF32_OVERRIDE|TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
    r"|(TORCHINDUCTOR|AOT_INDUCTOR)_(?!COMPILE_THREADS|WORKER|.*(CACHE|TIMEOUT))[A-Z0-9_]{1,80}"
    r"|(MALLOC|TCMALLOC)_[A-Z0-9_]{1,80}|GLIBC_TUNABLES|THP_MEM_ALLOC_ENABLE"
    r"|CUDA_LAUNCH_BLOCKING|PYTORCH_(CUDA_)?ALLOC_CONF|PYTORCH_NO_CUDA_MEMORY_CACHING"
)
# Those that a library reads at its first use. The others are read before code of the user runs, or
# give way to the settings of torch.
_READ_LATE = re.compile(r"(MKL|ONEDNN|DNNL)_(?!.*(NUM_THREADS|VERBOSE)).*")


def deciding_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return those that are set, by name; of a path in a value, only the last part remains."""
    return {
        name: printable(without_paths(value))
        for name, value in sorted(environ.items())
        if value and _DECIDING.fullmatch(name)
    }


def late_variables() -> str:
    """Return the variables that code of the user can still change: `ONEDNN_MAX_CPU_ISA=AVX2`."""
    known = deciding_variables().items()
    return " ".join(f"{name}={value}" for name, value in known if _READ_LATE.match(name)) or "none"
