"""Files for strange environments: code that every Python process imports, networks, weights."""

import io
import json
import zipfile

from support.attack import stores

HIDE = """
import builtins, io, os
hidden = {hidden!r}
def hiding(real):
    def call(path, *given, **named):
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(hidden):
            raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))
        return real(path, *given, **named)
    return call
builtins.open = io.open = hiding(open)
for name in ("open", "listdir", "scandir", "stat", "lstat", "readlink"):
    setattr(os, name, hiding(getattr(os, name)))
"""
NO_FORK = """
import errno, os, sys
real = os.fork
def fork():
    if "bench.harness.worker.template" in " ".join(sys.orig_argv):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return real()
os.fork = fork
"""
NO_THREAD = """
import threading
def start(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
"""
MKLDNN_OFF = "import torch\ntorch.backends.mkldnn.set_flags(False)\n"
CLOCK = "import time\ntime.time = lambda: {now}\n"
TF32 = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)
    def forward(self, x):
        {forward}
        return self.layer(x)

def net():
    {build}
    return Net()
"""
NANOSECONDS = "from torch import nn\n\ndef net():\n    return nn.Identity()\n"
SETTING = "torch.backends.{name} = {value!r}"


def bomb(gib):
    """Return a checkpoint of torch, a compressed zip file of about 1 MB, that unfolds to `gib`."""
    content = io.BytesIO()
    size = int(gib * 2**28)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", _tensor_pickle(size))
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
        with archive.open("archive/data/0", "w", force_zip64=True) as file:
            for _ in range(size // 2**20):
                file.write(bytes(2**22))
    return content.getvalue()


def _tensor_pickle(size):
    """Return the pickle of {"weight": a tensor of `size` numbers in storage 0}."""
    head = b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n(("
    storage = (
        b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    )
    number = b"J" + size.to_bytes(4, "little")
    tail = b"tQK\x00" + number + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs."
    return head + storage + number + tail


def many_cases(count, factor):
    """Return the lines of a store with so many cases, each in three rounds of two blocks."""
    common = {"run_id": "r", "environment_id": "e", "generation": 0}
    lines = [stores.environment(common, stores.DATES[0], "chip")]
    for number in range(1, 4):
        lines += [_round(common | {"round": number}, f"timm/net{n}", factor) for n in range(count)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _round(common, model, factor):
    seconds = 0.01 * factor * (1 + common["round"] / 1000)
    made = stores.round_of(common, model, [seconds] * 4, 2, "")
    blocks = {"block_sizes": [2, 2], "block_starts_s": [1.0, 2.0]}
    return made | blocks | {"block_compute_s": [1e-3] * 2, "block_memory_s": [1e-3] * 2}
