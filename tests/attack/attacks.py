"""Attacks bench with what is drawn from a seed, in parts.

    nox -s attack [-- stores|networks|signals|environments ...] [--seed N] [--count N]

Writes one line per attack to `.nox/attack.jsonl` as soon as it is known, and resumes from there if
neither the code nor torch has changed. Exits with 1 after a traceback, or where something was lost,
doubled or wrong; the folder of such an attack stays in `.nox/attack/`. `--count` limits each part.
"""

import argparse
import datetime
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import torch
from support.attack import environments, network_judge, networks, signals, store_judge, stores
from support.attack.ledger import BAD, Row, examples_of, table, worst
from support.kept import Kept, key_of
from support.paths import ROOT

FOLDER = Path(os.environ.get("BENCH_ATTACK", ROOT / ".nox"))
SOURCES = ("bench", "tests/support")
SEED = 19
CONFIRMING_ROUNDS = 3
THREADS = (1, 1, 1, 2)  # of the sweeps of networks, in turns


class Part(NamedTuple):
    """A part: the number of its attacks, how many share one run, and the function that runs them.

    The function takes a folder, the numbers of the attacks and a seed, and yields rows.
    """

    count: int
    together: int
    run: Callable[[Path, range, int], Iterator[Row]]


def attack_stores(folder: Path, numbers: range, seed: int) -> Iterator[Row]:
    """Report, explain and compare drawn stores, against an independent reader."""
    for number, attack in zip(
        numbers, examples_of(stores.attacks(), len(numbers), seed), strict=True
    ):
        home = folder / str(number)
        home.mkdir()
        row = Row("stores", number, attack.trouble, *worst(store_judge.attacked(home, attack)))
        if row.outcome not in BAD:
            shutil.rmtree(home)
        yield row


def attack_networks(folder: Path, numbers: range, seed: int) -> Iterator[Row]:
    """Measure drawn networks and their twins in one sitting; what is off is measured again."""
    pairs = examples_of(networks.pairs(), len(numbers), seed)
    threads = THREADS[numbers[0] // PARTS["networks"].together % len(THREADS)]
    found = network_judge.measured(folder / "sweep", pairs, threads=threads)
    for number, pair, findings in zip(numbers, pairs, found, strict=True):
        if network_judge.is_by_time_alone(findings):
            again = folder / f"again{number}"
            (findings,) = network_judge.measured(again, [pair], CONFIRMING_ROUNDS, threads)
        yield Row("networks", number, pair.kind, *worst(findings))


def attack_signals(folder: Path, numbers: range, seed: int) -> Iterator[Row]:
    """Send drawn signals to real runs, which then resume."""
    sitting = signals.Sitting(folder)
    attacks = examples_of(signals.signals(), len(numbers), seed)
    for number, attack in zip(numbers, attacks, strict=True):
        findings = sitting.one(attack)
        if number == numbers[-1]:
            findings += sitting.finish()
        yield Row("signals", number, attack.kind, *worst(findings))


def attack_environments(folder: Path, numbers: range, seed: int) -> Iterator[Row]:
    """Run, resume and report in environments that no author had in mind."""
    for number in numbers:
        kind, findings = environments.attacked(folder / str(number), number, seed)
        yield Row("environments", number, kind, *worst(findings))


PARTS = {
    "stores": Part(2000, 100, attack_stores),
    "networks": Part(200, 10, attack_networks),
    "signals": Part(40, 8, attack_signals),
    "environments": Part(30, 1, attack_environments),
}


def attacked(name: str, count: int, seed: int, kept: Kept) -> Iterator[Row]:
    """Run a part, but not what is on record; yield each row when it is known."""
    part = PARTS[name]
    known = {row.number: row for row in kept.rows() if row.part == name}
    for first in range(0, count, part.together):
        numbers = range(first, min(first + part.together, count))
        if all(number in known for number in numbers):
            yield from (known[number] for number in numbers)
            continue
        folder = FOLDER / "attack" / f"{name}-{first}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rows = []
        for row in part.run(folder, numbers, 1000 * seed + first):
            rows.append(row)
            yield row
        for row in rows:  # only now: attacks that share a run are repeated together
            kept.add(row)
        if all(row.outcome not in BAD for row in rows):
            shutil.rmtree(folder, ignore_errors=True)


def main(words: list[str]) -> int:
    """Attack; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int)
    given = parser.parse_args(words)
    versions = (torch.__version__, hypothesis.__version__, str(given.seed))
    kept = Kept(FOLDER / "attack.jsonl", key_of(SOURCES, *versions), Row)
    began, rows = time.monotonic(), []
    for name in given.parts or PARTS:
        count = min(given.count or PARTS[name].count, PARTS[name].count)
        for row in attacked(name, count, given.seed, kept):
            rows.append(row)
            if name != "stores" or row.outcome in BAD:
                print(f"{row.part} {row.number} {row.kind}: {row.outcome} {row.detail}", flush=True)
    minutes = (time.monotonic() - began) / 60
    day = datetime.date.today().isoformat()
    print("", *table(rows), "", f"{day}, seed {given.seed}, {minutes:.0f} minutes", sep="\n")
    return int(any(row.outcome in BAD for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
