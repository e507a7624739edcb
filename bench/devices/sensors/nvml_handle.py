"""Find the NVML handle of the GPU, or of the MIG instance, that CUDA uses as device 0.

CUDA_VISIBLE_DEVICES selects it. NVML ignores this variable, so this module implements its rules.
Sources: "CUDA Environment Variables" in the CUDA C++ Programming Guide; "CUDA Device Enumeration"
in NVIDIA's MIG User Guide.
"""

from __future__ import annotations

import os
import re
from typing import Any

from bench.devices.installation import pip_install
from bench.devices.sensors.nvml_answer import ask, current_switch, decoded
from bench.errors import UnavailableError

REMEDY = (
    "Run the same command on a machine where `nvidia-smi` lists a GPU; "
    "on this machine, use --device cpu"
)
REMEDY_VISIBLE = (
    "Unset CUDA_VISIBLE_DEVICES, or start it with an index or a UUID that `nvidia-smi -L` lists; "
    "without a GPU, use --device cpu"
)
REMEDY_MIG = (
    "Create a MIG instance (`nvidia-smi mig -lgip` lists the possible ones) or turn MIG off; "
    "without a GPU, use --device cpu"
)


def started_nvml() -> Any:
    """Call nvmlInit and return the module `pynvml`. Raises UnavailableError if NVML fails."""
    try:
        import pynvml
    except ImportError as error:
        raise UnavailableError(
            "no NVIDIA GPU here: pynvml is not installed", f"Run: {pip_install()} nvidia-ml-py"
        ) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise UnavailableError(f"no NVIDIA GPU here: NVML says {error}", REMEDY) from error
    return pynvml


def first_visible(nvml: Any) -> tuple[Any, Any]:
    """Return (GPU, None) for the first GPU that CUDA sees, or (instance, GPU) for a MIG instance.

    Raises UnavailableError if CUDA sees no GPU.
    """
    if ask(nvml, "nvmlDeviceGetCount").value == 0:
        raise UnavailableError("no NVIDIA GPU here: NVML finds none", REMEDY)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    first = visible.split(",")[0].strip()
    if first.startswith("MIG-"):
        instance = _by_uuid(nvml, first)
        chip = ask(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", instance).value
        return instance, instance if chip is None else chip
    if first.startswith("GPU-"):
        return _gpu_or_first_instance(nvml, _by_uuid(nvml, first))
    digits = re.match("[0-9]+", first)  # CUDA reads the leading digits and ignores the rest
    if digits is None:
        raise _hidden(f"{visible!r} hides all")
    return _gpu_or_first_instance(nvml, _by_index(nvml, int(digits.group())))


def _by_index(nvml: Any, index: int) -> Any:
    count = ask(nvml, "nvmlDeviceGetCount").value
    if count is not None and index >= count:
        raise _hidden(f"begins with {index}, and NVML finds {count}")
    handle, reason = ask(nvml, "nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        raise UnavailableError(
            f"no NVIDIA GPU here: of GPU {index} NVML says {reason.removeprefix('NVML: ')}", REMEDY
        )
    return handle


def _by_uuid(nvml: Any, uuid: str) -> Any:
    """Return the handle for a UUID or, as in CUDA, for a prefix of the UUID of exactly one GPU."""
    whole = ask(nvml, "nvmlDeviceGetHandleByUUID", uuid).value
    if whole is not None:
        return whole
    count = ask(nvml, "nvmlDeviceGetCount").value or 0
    handles = [ask(nvml, "nvmlDeviceGetHandleByIndex", index).value for index in range(count)]
    uuids = [ask(nvml, "nvmlDeviceGetUUID", handle).then(decoded).value or "" for handle in handles]
    found = [handle for handle, full in zip(handles, uuids, strict=True) if full.startswith(uuid)]
    if len(found) != 1:
        raise _hidden(f"begins with {uuid}, which is that of {len(found)} GPUs")
    return found[0]


def _gpu_or_first_instance(nvml: Any, chip: Any) -> tuple[Any, Any]:
    """Return (chip, None) if MIG is off. If it is on, CUDA sees only the first instance."""
    if ask(nvml, "nvmlDeviceGetMigMode", chip).then(current_switch).value != "on":
        return chip, None
    most = ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", chip).value or 1
    for index in range(most):
        instance = ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", chip, index).value
        if instance is not None:
            return instance, chip
    raise UnavailableError("no NVIDIA GPU here: MIG is on and there is no instance", REMEDY_MIG)


def _hidden(reason: str) -> UnavailableError:
    return UnavailableError(f"no NVIDIA GPU here: CUDA_VISIBLE_DEVICES {reason}", REMEDY_VISIBLE)
