"""Runs in strange environments: they recover or are refused, and what decides speed is named."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from support.attack.environment_kinds import KINDS, Environment
from support.attack.ledger import examples_of
from support.attack.network_judge import MOST_SAMPLES
from support.attack.plain_reader import lines_of, record_of
from support.sweep import MARK

RUN = ("run", "--batch", "1", "--resolution", "32", "--preset", "quick", "--rounds", "1", "--json")
RUN_S = 240.0
LARGEST = 2**30 + 2**29  # bytes of a process; torch and a small network need a third
NET = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    inner = [nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)]
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(nn.Conv2d(3, 64, 3), *inner, *last)
"""
PICTURE_PIXELS = 2**15
NO_REASON = "no reason given"


def attacked(folder: Path, number: int, seed: int) -> tuple[str, list[tuple[str, str]]]:
    """Run in the environment of this number; return its kind, and what is wrong."""
    kind = list(KINDS)[number % len(KINDS)]
    (environment,) = examples_of(KINDS[kind], 1, seed)
    home = folder / environment.folder
    (home / "tmp").mkdir(parents=True)
    (home / "site").mkdir()
    for path, content in {"net.py": NET, **environment.files}.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (home / path).write_bytes(data)
    return f"{kind} {environment.about}".strip(), _Attack(home, environment).findings()


class _Attack:
    """Commands in one environment."""

    def __init__(self, home: Path, environment: Environment) -> None:
        self._home = home
        self._environment = environment
        self._largest = 0

    def findings(self) -> list[tuple[str, str]]:
        """Run, resume and report; return what is wrong."""
        if self._environment.commands:
            found = [each for words in self._environment.commands for each in self._together(words)]
            return [*found, *self._pictures()]
        words = (*RUN, *self._environment.arguments)
        code, said, found = self._call(*words)
        found += self._records(said, code)
        if code in (0, 1):
            before = self._data()
            again, _, more = self._call(*words)
            found += more
            if self._data() != before:
                found.append(("doubled", f"the same command measured again, exit code {again}"))
            for command in (("report", "out"), *self._environment.also):
                found += self._call(*command)[2]
        if self._largest > LARGEST:
            found.append(("wrong", f"a process of {self._largest / 2**30:.1f} GiB"))
        return found

    def _start(self, *words):
        environ = {**os.environ, MARK: str(self._home), "TMPDIR": str(self._home / "tmp")}
        paths = [str(self._home / "site"), os.environ.get("PYTHONPATH", "")]
        environ |= {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        given = {k: v.format(home=self._home) for k, v in self._environment.variables.items()}
        out = ("--out", "out") * (words[0] == "run")
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *words, *out],
            cwd=self._home,
            env={k: v for k, v in {**environ, **given}.items() if v},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=self._environment.before,
            start_new_session=True,
        )

    def _call(self, *words):
        """Call a command; return its exit code, its output, and what is wrong."""
        done = self._start(*words)
        said = self._watched(done).decode(errors="backslashreplace")
        return done.returncode, said, _of_command(words, done.returncode, said)

    def _watched(self, process) -> bytes:
        """Wait for the end of a process; return its output, and keep the largest size of one."""
        deadline = time.monotonic() + RUN_S
        os.set_blocking(process.stdout.fileno(), False)
        said = b""
        while process.poll() is None and time.monotonic() < deadline:
            said += process.stdout.read() or b""
            self._look_at(process.pid)
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return said + (process.stdout.read() or b"")

    def _look_at(self, pid):
        try:
            parent = psutil.Process(pid)
            every = [parent, *parent.children(recursive=True)]
            if self._environment.look:
                self._environment.look(every)
            self._largest = max(self._largest, *(each.memory_info().rss for each in every))
        except psutil.Error:  # it has just ended
            pass

    def _data(self) -> bytes:
        return b"".join(path.read_bytes() for path in self._home.glob("out/*/results.jsonl"))

    def _records(self, said, code):
        """What is wrong with the records of the first run, and with what it says of them."""
        records = [record_of(line) for line in lines_of(self._data())] if self._data() else []
        found = [("lost", "a line that is no record")] if None in records else []
        rounds = [r for r in records if r and r["type"] == "measurement"]
        if max((len(r["samples_s"]) for r in rounds), default=0) > MOST_SAMPLES:
            found.append(("wrong", f"a record of more than {MOST_SAMPLES} samples"))
        if code == 0 and len(rounds) != 1:
            found.append(("lost", f"{len(rounds)} rounds instead of 1"))
        if code == 1 and self._environment.must == "pass":
            found.append(("lost", f"the case failed: {said[-300:]!r}"))
        if code == 1:
            found.append(("refused", "a failure"))
        if code == 0:
            outcome = json.loads(said.strip().splitlines()[-1])
            found += judged(self._environment, outcome, records)
        return found

    def _together(self, several):
        """Start commands at once; return what is wrong with them and with their pages."""
        began = [self._start(*words) for words in several]
        found = []
        for words, process in zip(several, began, strict=True):
            said = self._watched(process).decode(errors="backslashreplace")
            found += _of_command(words, process.returncode, said)
            if process.returncode == 2 and self._environment.must == "pass":
                found.append(("lost", f"{words[0]}: {said[-200:]!r}"))
        torn = [p.name for p in self._home.glob("out*/**/*.html") if not _is_whole(p)]
        records = [record_of(line) for line in lines_of(self._data())] if self._data() else []
        rounds = [(r["case_id"], r["round"]) for r in records if r and r["type"] == "measurement"]
        if "run" in several[0] and len(set(rounds)) < len(rounds):
            found.append(("doubled", "two runs wrote the same round"))
        return [*found, *[("wrong", f"torn pages {torn}")] * bool(torn)]

    def _pictures(self):
        found = []
        for path in self._home.glob("to/*.png"):
            head = path.read_bytes()[16:24]
            sides = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
            if max(sides) > PICTURE_PIXELS:
                found.append(("wrong", f"{path.name} of {sides} pixels"))
        return found


def judged(environment: Environment, outcome: list, records: list) -> list[tuple[str, str]]:
    """What is wrong with the verdict: a doubt without a reason, or a setting without a name."""
    (case,) = outcome
    verdict, doubts = case["verdict"], case["doubts"]
    if (verdict != "VALID" and not doubts) or any(NO_REASON in text for text in doubts):
        return [("wrong", f"{verdict} without a reason")]
    told = [json.dumps(r) for r in records if r and r["type"] == "environment"]
    texts = {"named": [*doubts, *told], "doubted": doubts}.get(environment.must)
    if texts is None or any(word in text for word in environment.recorded for text in texts):
        return []
    return [("wrong", f"{verdict}, and nothing names the setting")]


def _is_whole(page):
    return page.read_bytes().rstrip().endswith(b"</html>")


def _of_command(words, code, said):
    """What is wrong with the end of a command."""
    if "Traceback (most" in said:
        return [("traceback", f"{words[0]}: {said[said.rindex('Traceback') :][-300:]!r}")]
    if any("\x1b" in line for line in said.splitlines()):
        return [("wrong", f"{words[0]}: a control character on the terminal")]
    if code in (2, 3) and "error: " in said.lower():
        return [("refused", f"{words[0]}: {said[said.lower().index('error: ') :][:200]!r}")]
    if code not in (0, 1):
        return [("wrong", f"{words[0]}: exit code {code}: {said[-200:]!r}")]
    return []
