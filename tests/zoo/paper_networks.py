"""Checks all forms of the paper's networks in each setting, and plants faults in the networks.

    PYTHONPATH=tests:. .nox/env/bin/python tests/zoo/paper_networks.py [NAME...]

Prints the table of docs/checked-networks.md. Rows are kept in `.nox/` as soon as they are known.
The program resumes from there if neither the code nor timm or torch has changed.
"""

import os
import sys
from pathlib import Path

import timm
import torch
from support.kept import Kept, key_of
from support.paper_sweep import SETTINGS, FaultRow, FormRow, check_form, plant
from support.paths import ROOT

from bench.models.zoo import ZOO

FOLDER = Path(os.environ.get("BENCH_ZOO", ROOT / ".nox"))
SOURCES = ("bench/models", "bench/harness/worker", "bench/devices", "tests/support")
HEAD = ["network@form", "form", *(f"{backend} {name}" for backend, name in SETTINGS)]
TAIL = ["smallest fault", "input not read"]


def table(forms, faults):
    """Return the lines of the table: error / tolerance of each check, and the effects of faults."""
    lines = [_line([*HEAD, *TAIL]), "|---" * (len(HEAD) + len(TAIL)) + "|"]
    for row in forms:
        cells = [_cell(each) for each in row.checks]
        cells = cells if len(cells) > len(SETTINGS) else ["-", *cells]
        fault = faults.get(row.network)
        effects = (
            [f"{fault.effect:.1e}, {fault.kind}", f"{fault.unread:.1f}"] if fault else ["", ""]
        )
        lines.append(_line([f"{row.network}@{row.form}", *cells, *effects]))
    return lines


def _cell(checked):
    error = "FAILED" if checked.error is None else f"{checked.error:.1e}"
    return f"{error} / {checked.tolerance:.1e}"


def _line(cells):
    return f"| {' | '.join(cells)} |"


def main(chosen):
    """Check and plant; return the exit code."""
    key = key_of(SOURCES, timm.__version__, torch.__version__)
    forms = Kept(FOLDER / "paper-forms.jsonl", key, FormRow)
    faults = Kept(FOLDER / "paper-faults.jsonl", key, FaultRow)
    done = {(row.network, row.form) for row in forms.rows()}
    planted = {row.network for row in faults.rows()}
    for network in chosen or ZOO:
        for form in ZOO[network].forms:
            if (network, form) not in done:
                forms.add(check_form(network, form))
        if network not in planted:
            faults.add(plant(network))
    print(*table(forms.rows(), {row.network: row for row in faults.rows()}), sep="\n")
    return int(any(each.why for row in forms.rows() for each in row.checks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
