"""Strange environments of a run: variables, limits, files of others, and systems without a part."""

import contextlib
import os
import resource
import time
from collections.abc import Callable

import msgspec
import psutil
from hypothesis import strategies as st

from support.attack import environment_files as code
from support.attack.signals import is_template

TWO_THREADS = ("--threads", "2")
ONE_THREAD = ("--threads", "1")
CPU = ("--device", "cpu", "--models", "net.py:net")
ON_FAKE = ("--device", "fake", "--models", "resnet50")


class Environment(msgspec.Struct, frozen=True):
    """The surroundings of a run.

    `arguments` are words of `bench run`; `commands` are lists of commands that start at once, in
    place of a run, `also` are further commands. `before` is called in the new process, `look` with
    all processes now and then. `files` has site/sitecustomize.py, which every Python process
    imports. `must` is "pass" (it may not fail), "named" (a doubt or a record of the environment
    has one of the words `recorded`), "doubted" (a doubt has one of them), or "" (a message is
    right, too).
    """

    about: str = ""
    variables: dict[str, str] = {}
    arguments: tuple[str, ...] = (*CPU, *ONE_THREAD)
    commands: tuple[tuple[tuple[str, ...], ...], ...] = ()
    files: dict[str, str | bytes] = {}
    before: Callable[[], object] | None = None
    look: Callable[[list[psutil.Process]], object] | None = None
    must: str = "pass"
    recorded: tuple[str, ...] = ()
    folder: str = "home"
    also: tuple[tuple[str, ...], ...] = ()


def _one_of(*environments):
    return st.sampled_from(environments)


def _variable(text):
    name, _, value = text.partition("=")
    arguments = (*CPU, *TWO_THREADS)
    if text in FEWER_THREADS:
        return Environment(text, {name: value}, arguments, must="doubted", recorded=FEWER_CPUS)
    return Environment(text, {name: value}, arguments, must="named", recorded=(name,))


def _variables(texts):
    return _one_of(*map(_variable, texts.split()))


def _plain(texts, **changes):
    pairs = [dict(each.partition("=")[::2] for each in text.split()) for text in texts]
    return _one_of(*(Environment(t, p, **changes) for t, p in zip(texts, pairs, strict=True)))


def _site(text, **changes):
    return Environment(files={"site/sitecustomize.py": text}, **changes)


def _limit(what, *sizes, **changes):
    def before(size):
        return lambda: resource.setrlimit(what, (size, size))

    given = {"must": "", **changes}
    return _one_of(*(Environment(f"{size}", before=before(size), **given) for size in sizes))


def _entry_points(text):
    files = {
        "site/evil-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
    }
    files |= {"site/evil-1.0.dist-info/entry_points.txt": text}
    return Environment(repr(text), files=files, also=(("list", "models"),))


def _refusing(name, code):
    raising = f"def refused(*given):\n    raise OSError(errno.{code}, os.strerror(errno.{code}))\n"
    return f"import errno, fcntl, os, sys, threading\n{raising}{name} = refused\n"


def _new_tf32(name, value):
    line = code.SETTING.format(name=name, value=value)
    both = [("pass", line), (line, "pass")]
    return [
        Environment(line, files={"net.py": code.TF32.format(build=b, forward=f)}) for b, f in both
    ]


def _weights():
    arguments = ("--device", "cpu", "--models", "net.py:net+bomb.pth", *ONE_THREAD)

    def made(gib):
        return Environment(f"{gib} GiB", {}, arguments, (), {"bomb.pth": code.bomb(gib)}, must="")

    return st.sampled_from([1.5, 2.0, 3.5]).map(made)


def _stored():
    return {"out/chip/results.jsonl": code.many_cases(40, 1)}


def _compared():
    files = {
        "a/chip/results.jsonl": code.many_cases(1400, 1),
        "b/chip/results.jsonl": code.many_cases(1400, 1.1),
    }
    return Environment(files=files, commands=((("compare", "a", "b", "--to", "to"),),))


def _confined(processes):
    """Take a CPU away from the processes that measure, and give it back, several times a block."""
    every = sorted(os.sched_getaffinity(0))
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if is_template(process):
                process.cpu_affinity(every[:1] if int(time.monotonic() / TURN_S) % 2 else every)


TURN_S = 0.1
FEWER_THREADS = ("OMP_THREAD_LIMIT=1",)  # a case of two threads then computes with one
FEWER_CPUS = ("threads computed", "process could use", "usable CPUs", "may use changed")
FEWER_CPUS += ("the CPUs of the process changed",)  # not: the network changed them


REPORTS = (tuple(("report", "out") for _ in range(4)),)
RUNS = (tuple(("run", *ON_FAKE, "--rounds", "2", "--batch", "1") for _ in range(3)),)
HOSTILE_NAMES = ("a b", "$(touch x)", "\x1b[2J", "=1+1", "²🙂", "a\nb", "%s{x}", "x" * 200)
MALFORMED = ("[bench.models]\nnet = \n", "x\n[y]\nz", "[console_scripts]\nnonsense\n", b"\xff\xfe[")
KINDS: dict[str, st.SearchStrategy[Environment]] = {
    "OpenMP": _variables("OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1 OMP_DYNAMIC=true OMP_PLACES=cores"),
    "MKL": _variables("MKL_NUM_THREADS=1 MKL_DYNAMIC=FALSE MKL_CBWR=COMPATIBLE MKL_VERBOSE=0"),
    "instructions": _variables("ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41"),
    "TF32 variable": _variables("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 NVIDIA_TF32_OVERRIDE=1"),
    "oneDNN off": _one_of(_site(code.MKLDNN_OFF, must="doubted", recorded=("mkldnn",))),
    "one CPU": _one_of(
        Environment(
            arguments=(*CPU, *TWO_THREADS),
            before=lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
            must="doubted",
            recorded=FEWER_CPUS,
        )
    ),
    "a CPU lost": _one_of(
        Environment(
            arguments=(*CPU, *TWO_THREADS),
            look=_confined,
            must="doubted",
            recorded=FEWER_CPUS,
        )
    ),
    "entry points": _one_of(*map(_entry_points, MALFORMED)),
    "new TF32 settings": _one_of(
        *_new_tf32("fp32_precision", "tf32"),
        *_new_tf32("cuda.matmul.fp32_precision", "tf32"),
        *_new_tf32("cudnn.conv.fp32_precision", "tf32"),
        *_new_tf32("mkldnn.matmul.fp32_precision", "bf16"),
    ),
    "reports at once": _one_of(Environment(files=_stored(), commands=REPORTS)),
    "runs at once": _one_of(Environment(commands=RUNS, must="")),
    "no flock": _one_of(
        *(
            _site(_refusing("fcntl.flock", error), commands=RUNS, must="", about=error)
            for error in ("ENOSYS", "ENOLCK")
        )
    ),
    "1400 cases compared": st.builds(_compared),
    "checkpoint that unfolds": _weights(),
    "nanoseconds": _one_of(
        Environment(
            arguments=(*CPU, *ONE_THREAD, "--preset", "paper"), files={"net.py": code.NANOSECONDS}
        )
    ),
    "no /proc": _one_of(_site(code.HIDE.format(hidden="/proc"), must="")),
    "no power supply": _one_of(_site(code.HIDE.format(hidden="/sys/class/power_supply"))),
    "no /sys": _one_of(_site(code.HIDE.format(hidden="/sys"), must="")),
    "no process left": _one_of(_site(code.NO_FORK, must="")),
    "no thread left": _one_of(_site(code.NO_THREAD, must="")),
    "clock": _one_of(
        *(_site(code.CLOCK.format(now=now), about=now) for now in ("0.0", "2e9", "2.5e11"))
    ),
    "open files": _limit(resource.RLIMIT_NOFILE, 12, 24, 40, 64),
    "file size": _limit(resource.RLIMIT_FSIZE, 1000, 5000, 20_000),
    "memory": _limit(resource.RLIMIT_AS, 2**29, 2**30, 2**31),
    "temporary folder": _plain(
        ["TMPDIR=/nowhere", "TMPDIR={home}/net.py", "TMPDIR=/proc"], must=""
    ),
    "home": _plain(["HOME=/nowhere", "HOME= USER= LOGNAME=", "HOME=/proc MPLCONFIGDIR=/proc"]),
    "language": _plain(
        ["LC_ALL=C PYTHONUTF8=0", "PYTHONIOENCODING=ascii", "LC_ALL=tr_TR.UTF-8", "LANG=xx_YY"]
    ),
    "Python": _plain(
        [
            "PYTHONOPTIMIZE=2",
            "PYTHONWARNINGS=always",
            "PYTHONDEVMODE=1",
            "PYTHONMALLOC=debug",
            "PYTHONSAFEPATH=1",
        ]
    ),
    "terminal": _plain(
        ["COLUMNS=1", "COLUMNS=x LINES=0", "TERM=dumb", "TZ=nonsense", "MPLBACKEND=no"]
    ),
    "hostile folder": _one_of(*(Environment(repr(name), folder=name) for name in HOSTILE_NAMES)),
}
