"""How long `bench choose` and `bench report` take over many records: not a test.

    python tests/benchmarks/report_speed.py

Exits with 1 where a bar is missed. A choice: 1 s from 10,000 records of 100 samples each. A
report: 15 s for 1,000 records, 60 s and 1.5 GiB for 20,000.
"""

import contextlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from support.paths import ROOT

sys.path.insert(0, str(ROOT))
from support.records import ENVIRONMENT, measurement

from bench import paper
from bench.records import Case

SAMPLES, BLOCK, ROUNDS = 100, 5, 4
GIB = 2**30
CHOOSE_RECORDS, CHOOSE_S, CHOICES = 10_000, 1.0, 5
BARS = ((1_000, 15.0, 1.5 * GIB), (20_000, 60.0, 1.5 * GIB))  # records, seconds, bytes


def cases():
    """The zoo in every setting that a sweep may have, the usual one first."""
    for precision in ("fp32", "tf32", "bf16", "fp16"):
        for backend in ("eager", "compile", "cudagraph", "channels_last"):
            for batch in (1, 128, 8, 32):
                for resolution in (224, 288):
                    for network in paper.counted():
                        yield Case(
                            network.model,
                            network.form,
                            backend,
                            precision,
                            batch,
                            resolution,
                            threads=2,
                        )


def records(count):
    """`count` measurements: rounds of cases that took turns, each with its samples and kernels."""
    draw = random.Random(0)
    blocks = SAMPLES // BLOCK
    grid = list(cases())[: -(-count // ROUNDS)]
    for number in range(1, ROUNDS + 1):
        for case in grid:
            base = draw.uniform(0.005, 0.2) * case.batch**0.7
            yield measurement(
                case,
                number,
                samples_s=[base * draw.lognormvariate(0, 0.05) for _ in range(SAMPLES)],
                block_sizes=[BLOCK] * blocks,
                block_starts_s=[float(start) for start in range(blocks)],
                block_compute_s=[0.001] * blocks,
                block_memory_s=[0.002] * blocks,
                stopped_by="rounds" if number == ROUNDS else "round",
                sitting=number,
            )


@contextlib.contextmanager
def store(count):
    """A folder of results with so many records."""
    with tempfile.TemporaryDirectory() as folder:
        chip = Path(folder, "test-chip-9000")
        chip.mkdir()
        with (chip / "results.jsonl").open("wb") as file:
            file.write(msgspec.json.encode(ENVIRONMENT) + b"\n")
            for record in records(count):
                file.write(msgspec.json.encode(record) + b"\n")
        yield folder


def seconds_of(*words):
    """The seconds of a command, from its start to its end."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "bench", *words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def report_on(count):
    """Seconds and bytes of a report over `count` records."""
    with store(count) as folder:
        seconds = seconds_of("report", folder)
        page = Path(folder, "report.html").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        f"{count} records: {seconds:.1f} s, {peak / GIB:.2f} GiB, page of {page / 2**20:.1f} MiB",
        flush=True,
    )
    return seconds, peak


def choose_from(count):
    """The median seconds of five choices from `count` records; before them, files are cached."""
    with store(count) as folder:
        words = ("choose", "--in", folder, "--max-latency", "1s")
        seconds_of(*words)
        found = sorted(seconds_of(*words) for _ in range(CHOICES))
    print(f"choose from {count} records: {', '.join(f'{s:.2f}' for s in found)} s", flush=True)
    return statistics.median(found)


def main():
    missed = choose_from(CHOOSE_RECORDS) > CHOOSE_S
    for count, most_s, most_bytes in BARS:
        seconds, peak = report_on(count)
        missed |= seconds > most_s or peak > most_bytes
    sys.exit(missed)


if __name__ == "__main__":
    main()
