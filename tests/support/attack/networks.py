"""Networks that could look faster than they are, each with an honest twin: source text."""

from typing import NamedTuple

from hypothesis import strategies as st

IMPORTS = """\
import ctypes, os, signal, subprocess, sys, threading, time, typing
import torch
from torch import nn

STORED = {}
BEGAN = []
"""
LAYERS = """
def layers():
    torch.manual_seed(0)
    inner = [nn.Conv2d(%(wide)d, %(wide)d, 3, padding=1) for _ in range(%(deep)d)]
    first = nn.Conv2d(3, %(wide)d, %(kernel)d, 2, %(kernel)d // 2)
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(%(wide)d, 10))
    return nn.Sequential(first, nn.%(activation)s(), *inner, *last)
"""
MODULE = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = layers()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
%(forward)s

def net():
    made = Net()
%(build)s
    return made
"""
HONEST = "return self.layers(x)"
COUNTED = "self.calls += 1\n"
# As freezegun does: every attribute of a module that is a clock becomes a slow one.
SLOW_CLOCKS = """
names = ("time", "monotonic", "perf_counter", "process_time")
real = {id(getattr(time, name)): name for name in names}
def slow(clock):
    began = clock()
    return lambda: began + (clock() - began) * %(speed)s
slowed = {name: slow(getattr(time, name)) for name in names}
for module in list(sys.modules.values()):
    for name, value in list(getattr(module, "__dict__", {}).items()):
        if id(value) in real and not str(module.__name__).startswith("threading"):
            setattr(module, name, slowed[real[id(value)]])
"""
STOP = """
BEGAN.append(time.process_time())
if not STORED and BEGAN[-1] > BEGAN[0] + %(after)s:
    STORED["stopped"] = True
    wake = "import os,time,signal; time.sleep(0.8); os.kill(%%d, signal.SIGCONT)" %% os.getpid()
    subprocess.Popen([sys.executable, "-S", "-c", wake])
    os.kill(os.getpid(), signal.SIGSTOP)
return self.layers(x)
"""
SPIN = """
def spin():
    left = torch.ones(64, 64)
    while True:
        %(spin)s
threading.Thread(target=spin, daemon=True).start()
"""
KEEP = "if %(key)s not in STORED:\n    STORED[%(key)s] = self.layers(x)\nreturn STORED[%(key)s]"
DECAY = "return self.layers(x) * (1 if self.calls <= %(calls)d else float('%(end)s'))"
SHORTCUT = """
if self.calls <= %(calls)d:
    return self.layers(x)
return self.layers[-1](self.layers[0](x).mean((2, 3)))
"""
# What decides speed, of the process and of each of its threads.
SEEN = """
class Seen(typing.NamedTuple):
    cpus: set
    threads: int
    dtype: torch.dtype
    switches: tuple
    instructions: str | None

def seen():
    cpus = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            cpus.add(tuple(sorted(os.sched_getaffinity(int(thread)))))
        except OSError:
            pass  # the thread has just ended
    switches = torch.backends.mkldnn.enabled, getattr(torch.backends, "fp32_precision", None)
    instructions = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return Seen(cpus, torch.get_num_threads(), torch.get_default_dtype(), switches, instructions)
"""
KEPT = ".kept"  # the suffix of a file that says: the calls were made with another setting
NOTED = f"""
STORED["count"] = STORED.get("count", 0) + 1
if STORED["count"] == 8 and seen() != BEGAN[0]:
    open(__file__ + {KEPT!r}, "w").close()
"""
NOTE = "BEGAN.append(seen())\n"
PINNED = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.set_num_threads(2)
torch.ones(2**20).add_(1)  # its threads inherit the CPU
"""


class Kind(NamedTuple):
    """A kind of network: what its `forward` and its factory do.

    `must_be_named`: its answer or its speed is wrong even where the time is right, so it may not be
    VALID. `is_honest`: it may not fail. `twin`: the forward of its twin. `wide`: the numbers of
    channels; with many, threads, oneDNN and instructions decide the time.
    """

    forward: str = HONEST
    build: str = ""
    must_be_named: bool = False
    is_honest: bool = False
    twin: str = HONEST
    wide: tuple[int, ...] = (24, 32, 48)


WIDE = (64, 96, 128)


def _setting(code: str) -> dict[str, Kind]:
    name = code.partition("(")[0].rpartition(".")[2].partition(" ")[0]
    return {
        f"setting when built: {name}": Kind(NOTED + HONEST, NOTE + code, wide=WIDE),
        f"setting in each call: {name}": Kind(f"{NOTED}{code}\n{HONEST}", NOTE, wide=WIDE),
    }


def _deeper(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.splitlines())


KINDS = {
    "honest": Kind(is_honest=True),
    "sleeping": Kind(
        "time.sleep(0.002)\n" + HONEST, is_honest=True, twin="time.sleep(0.002)\n" + HONEST
    ),
    "counting": Kind(COUNTED + HONEST, is_honest=True),
    "printing": Kind("print('\\x1b[2J' * 9)\n" + HONEST, is_honest=True),
    "nanoseconds": Kind("return x", is_honest=True, twin="return x"),
    "microseconds": Kind(
        "return x[:, :1, :2, 0] * 2", is_honest=True, twin="return x[:, :1, :2, 0] * 2"
    ),
    "stored from a call on": Kind(
        "if len(STORED) < %(calls)d:\n    STORED[len(STORED)] = self.layers(x)\n"
        "return STORED[len(STORED) - 1]",
        must_be_named=True,
    ),
    "stored by content": Kind(KEEP.replace("%(key)s", "float(x.double().sum())")),
    "stored by address": Kind(KEEP.replace("%(key)s", "x.data_ptr()"), must_be_named=True),
    "decay": Kind(COUNTED + DECAY, must_be_named=True),
    "shortcut": Kind(COUNTED + SHORTCUT, must_be_named=True),
    "clock": Kind(build=SLOW_CLOCKS),
    "clock in a call": Kind(f"if not STORED:\n    STORED[0] = 0\n{_deeper(SLOW_CLOCKS)}\n{HONEST}"),
    "stopped": Kind(STOP),
    "spinning": Kind(build=SPIN, must_be_named=True),
    "dropout": Kind("return nn.functional.dropout(self.layers(x), 0.5)", must_be_named=True),
    "input changed": Kind("return self.layers(x.mul_(0.5))", must_be_named=True),
    "raises": Kind(
        COUNTED + "if self.calls > %(calls)d:\n    raise RuntimeError(%(text)r)\n" + HONEST,
        must_be_named=True,
    ),
    "ends": Kind(
        COUNTED + "if self.calls > %(calls)d:\n    %(ending)s\n" + HONEST, must_be_named=True
    ),
    **_setting("torch.set_num_threads(1 if BEGAN[0].threads > 1 else 2)"),
    **_setting("torch.backends.mkldnn.set_flags(False)"),
    **_setting("torch.set_default_dtype(torch.float64)"),
    **_setting("torch.backends.fp32_precision = 'tf32'"),
    **_setting("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"),
    **_setting("os.environ.update(ONEDNN_MAX_CPU_ISA='SSE41')"),
    "threads on one CPU": Kind(NOTED + HONEST, NOTE + PINNED, wide=WIDE),
}
TEXTS = ("\x1b[2J\x1b]0;x\x07", "=1+1", "<script>alert(1)</script>", "a\nb" * 50, "x" * 10**5)
ENDINGS = ("os._exit(7)", "sys.exit(3)", "ctypes.string_at(0)", "os.kill(os.getpid(), 9)")


class Pair(NamedTuple):
    """The source of a network of a kind, and that of its twin."""

    kind: str
    attack: str
    twin: str


@st.composite
def pairs(draw, names=tuple(KINDS)):
    """Draw a network and its twin, of one of these kinds."""
    name = draw(st.sampled_from(names))
    kind = KINDS[name]
    values = {
        "wide": draw(st.sampled_from(kind.wide)),
        "deep": draw(st.integers(2, 5)),
        "kernel": draw(st.sampled_from([3, 5, 7])),
        "activation": draw(st.sampled_from(["ReLU", "GELU", "SiLU"])),
        "calls": draw(st.integers(12, 120)),
        "speed": draw(st.sampled_from(["0.0", "0.2", "0.5", "5.0"])),
        "after": draw(st.sampled_from([0.7, 0.9, 1.1])),
        "end": draw(st.sampled_from(["0", "nan"])),
        "spin": draw(st.sampled_from(["pass", "left @ left"])),
        "text": draw(st.sampled_from(TEXTS)),
        "ending": draw(st.sampled_from(ENDINGS)),
    }
    return Pair(name, _source(kind.forward, kind.build, values), _source(kind.twin, "", values))


def _source(forward, build, values):
    body = {"forward": _indented(forward, 8), "build": _indented(build, 4)}
    return (IMPORTS + LAYERS + SEEN + MODULE % body) % values


def _indented(code, by):
    return "\n".join(" " * by + line for line in code.splitlines())
