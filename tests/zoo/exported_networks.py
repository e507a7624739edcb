"""Exports the paper's networks and checks the files, as the first round of a run does.

    PYTHONPATH=tests:. .nox/env/bin/python tests/zoo/exported_networks.py [BACKEND] [NAME...]

The program prints a table: the error of each file, of the tolerated one, and what the runtime
executes. It keeps each row in `.nox/` as soon as it is known, and resumes from there if neither the
code nor a version has changed. It exits with 1 if a file is refused.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec
import timm
import torch
from support.kept import Kept, key_of
from support.paths import ROOT

from bench.backends import BACKENDS
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import Job
from bench.harness.worker import prepare
from bench.harness.worker.timing import StageClock
from bench.models.zoo import ZOO
from bench.records import Case

FOLDER = Path(os.environ.get("BENCH_ZOO", ROOT / ".nox"))
SOURCES = ("bench/models", "bench/harness/worker", "bench/backends")
HEAD = ("network@form", "exporter", "error / tolerance", "nodes", "fused", "in integers", "seconds")


class ExportedRow(msgspec.Struct, frozen=True):
    """The check of an exported network; `why` says how it failed."""

    network: str
    form: str
    exporter: str = ""
    error: float | None = None
    tolerance: float | None = None
    nodes: int = 0
    fused: int = 0
    integers: int = 0
    of_file: float | None = None
    added: float | None = None
    seconds: float = 0.0
    why: str = ""


def check(backend, precision, network, form):
    """Return the row of a network: it is built, exported, loaded and checked in this process."""
    began = time.monotonic()
    cpu = CpuSession(Host())
    case = Case(network, form, backend, precision, threads=torch.get_num_threads())
    try:
        with torch.inference_mode():
            clock = StageClock(cpu.now, lambda stage: None)
            subject = prepare.prepare(Job(case, 1, PRESETS["quick"], None), cpu, clock)
            facts = subject.inspect(subject.call())
    except Exception as error:  # a row of the table, not the end of the program
        return ExportedRow(network, form, why=f"{type(error).__name__}: {error}")
    made, checked = facts.artifact, facts.check
    return ExportedRow(
        *(network, form, made.exporter, checked.largest_relative_error, checked.tolerance),
        nodes=sum(made.operators.values()),
        fused=sum(made.fused.values()),
        integers=made.quantised.nodes if made.quantised else 0,
        of_file=made.quantised.error if made.quantised else None,
        added=made.quantised.added if made.quantised else None,
        seconds=time.monotonic() - began,
    )


def line(row):
    """Return a row of the table."""
    name = f"{row.network}@{row.form}"
    if row.why:
        return f"| {name} | REFUSED: {row.why} |{' |' * (len(HEAD) - 2)}"
    error = f"{row.error:.1e} / {row.tolerance:.1e}"
    if row.of_file is not None:
        error += f"; file {row.of_file:.2g}, added {row.added:.2g}"
    cells = (name, row.exporter, error, row.nodes, row.fused, row.integers, round(row.seconds))
    return f"| {' | '.join(map(str, cells))} |"


def main(backend, precision, names):
    """Check and print; return the exit code."""
    known = BACKENDS[backend].versions(precision)
    versions = [f"{name} {version}" for name, version in known.items()]
    key = key_of(SOURCES, timm.__version__, torch.__version__, *versions)
    kept = Kept(FOLDER / f"exported-{backend}-{precision}.jsonl", key, ExportedRow)
    done = {(row.network, row.form) for row in kept.rows()}
    for network in names or ZOO:
        for form in ZOO[network].forms:
            if (network, form) not in done:
                kept.add(check(backend, precision, network, form))
    rows = kept.rows()
    print(f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *map(line, rows), sep="\n")
    return int(any(row.why for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("backend", nargs="?", default="onnxruntime")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    sys.exit(main(given.backend, given.precision, given.names))
