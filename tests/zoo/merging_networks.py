"""Sweeps all networks of timm with methods that merge through the check of forms.

    nox -s zoo [-- NAME...]

Writes one line per network to `.nox/zoo.jsonl` as soon as it is known, and resumes from there if
neither the code nor timm has changed. Exits with 1 if the check refuses a right form, or lets a
wrong one pass.
"""

import multiprocessing
import os
import sys
from pathlib import Path

import timm
import torch
from support.kept import Kept, key_of
from support.paths import ROOT
from support.zoo_sweep import Row, examine, names_of_timm

KEPT = Path(os.environ.get("BENCH_ZOO", ROOT / ".nox" / "zoo.jsonl"))
SOURCES = ("bench/models", "bench/harness/worker", "tests/support")
NO_NETWORKS = ("nothing to merge", "too large")
COLUMNS = "| network | pixels | gain | float32 | error | tolerance | smallest fault | BN left |"
FAMILIES = "| family | networks | gain | float32 | error | tolerance | smallest fault | BN left |"


def attempt(name):
    """Examine one network; an error becomes a row."""
    try:
        return examine(name)
    except Exception as error:
        return Row(name, "failed", wrong=[f"{type(error).__name__}: {error}"])


def sweep(names, kept):
    """Examine the networks in parallel; yield each row when it is known."""
    rows = {row.network: row for row in kept.rows()}
    yield from (rows[name] for name in names if name in rows)
    missing = [name for name in names if name not in rows]
    workers = min(os.cpu_count() or 1, 8)
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=8) as pool:
        for row in pool.imap_unordered(attempt, missing):
            kept.add(row)
            yield row


def line_of(row):
    """Return the row of the table."""
    if row.effect is None:
        return f"| {row.network} | {row.resolution} | - | - | - | - | - | {row.left} |"
    effect = f"{row.effect:.1e}, {row.kind}, `{row.layer}`"
    numbers = f"{row.cost:.1e} | {row.error:.1e} | {row.tolerance:.1e}"
    return (
        f"| {row.network} | {row.resolution} | {row.gain:.1f} | {numbers} | {effect} | {row.left} |"
    )


def families(rows):
    """Return the table of docs/checks.md: the worst of each family, by the start of the names."""
    found = {}
    for row in rows:
        if row.effect is not None:
            found.setdefault(row.network.partition("_")[0], []).append(row)
    lines = ["", FAMILIES, "|---" * FAMILIES.count(" |") + "|"]
    for family, own in sorted(found.items()):
        worst = [max(getattr(row, name) for row in own) for name in ("cost", "error", "tolerance")]
        numbers = [f"{number:.1e}" for number in (*worst, min(row.effect for row in own))]
        gain, left = max(row.gain for row in own), max(row.left for row in own)
        lines.append(f"| {family} | {len(own)} | {gain:.0f} | {' | '.join(numbers)} | {left} |")
    return lines


def summary(rows):
    """Return sentences on all rows."""
    checked = [row for row in rows if row.state not in NO_NETWORKS]
    large = [row for row in rows if row.state == "too large"]
    wrong = [row for row in checked if row.wrong]
    left = [row.network for row in checked if row.left]
    tried, silent = sum(row.tried for row in checked), sum(row.silent for row in checked)
    told = [
        f"{len(checked)} networks examined, {len(large)} too large, {len(wrong)} with an error.",
        f"{tried} faults tried, {silent} of them change no output even in float64.",
        f"Networks that keep a BatchNorm: {', '.join(left) or 'none'}.",
    ]
    good = [row for row in checked if row.effect is not None]
    if good:
        told += [
            f"Largest gain {max(row.gain for row in good):.0f}; largest cost of float32 "
            f"{max(row.cost for row in good):.1e}; largest error of a form "
            f"{max(row.error for row in good):.1e}.",
            f"Smallest fault {min(row.effect for row in good):.1e}; largest tolerance "
            f"{max(row.tolerance for row in good):.1e}.",
        ]
    return told


def main(chosen):
    """Sweep; return the exit code."""
    kept, rows = Kept(KEPT, key_of(SOURCES, timm.__version__, torch.__version__), Row), []
    for row in sweep(chosen or names_of_timm(), kept):
        rows.append(row)
        if row.state not in NO_NETWORKS:
            told = "; ".join(row.wrong) or "right"
            print(f"{len(rows):4d} {row.network}: {told} ({row.seconds:.0f} s)", flush=True)
    checked = sorted(
        (row for row in rows if row.state not in NO_NETWORKS), key=lambda row: row.network
    )
    print("", COLUMNS, "|---" * COLUMNS.count(" |") + "|", sep="\n")
    print(*map(line_of, checked), *families(checked), "", *summary(rows), sep="\n")
    return int(any(row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
