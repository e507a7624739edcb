"""Checks all forms of the paper's networks in each setting, and plants faults in the networks.

    PYTHONPATH=tests:. .nox/env/bin/python tests/zoo/paper_networks.py [--share S] [NAME...]

With `--share 0.3`, faults are planted in three of ten layers: large networks are slow. The program
prints the table of docs/checked-networks.md. It keeps each row in `.nox/` as soon as it is known,
and resumes from there if neither the code nor timm or torch has changed.
"""

import argparse
import os
import sys
from pathlib import Path

import timm
import torch
from support.kept import Kept, key_of
from support.paper_sweep import (
    COMPILED,
    SETTINGS,
    FaultRow,
    FormRow,
    check_form,
    plant,
    settings_of,
)
from support.paths import ROOT

from bench.models.zoo import ZOO

FOLDER = Path(os.environ.get("BENCH_ZOO", ROOT / ".nox"))
SOURCES = ("bench/models", "bench/harness/worker", "bench/devices", "tests/support")
CHECKS = ["form", *(" ".join(setting) for setting in (*SETTINGS, COMPILED))]
HEAD = ["network@form", *CHECKS]
TAIL = ["smallest fault", "input not read"]
ORDER = [(network, form) for network, model in ZOO.items() for form in model.forms]


def table(forms, faults):
    """Return the lines of the table: error / tolerance of each check, and the effects of faults.

    The rows have the order of the zoo, in whichever order they were made.
    """
    lines = [_line([*HEAD, *TAIL]), "|---" * (len(HEAD) + len(TAIL)) + "|"]
    for row in sorted(forms, key=lambda row: ORDER.index((row.network, row.form))):
        known = {each.setting: _cell(each) for each in row.checks}
        cells = [known.get(name, "-") for name in CHECKS]
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


def main(chosen, share):
    """Check and plant; return the exit code."""
    key = key_of(SOURCES, timm.__version__, torch.__version__)
    forms = Kept(FOLDER / "paper-forms.jsonl", key, FormRow)
    faults = Kept(FOLDER / "paper-faults.jsonl", key, FaultRow)
    done = {(row.network, row.form) for row in forms.rows()}
    planted = {row.network for row in faults.rows()}
    for network in chosen or ZOO:
        for form in ZOO[network].forms:
            if (network, form) not in done:
                forms.add(check_form(network, form, settings_of(network, form)))
        if network not in planted:
            faults.add(plant(network, share))
    print(*table(forms.rows(), {row.network: row for row in faults.rows()}), sep="\n")
    return int(any(each.why for row in forms.rows() for each in row.checks))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    sys.exit(main(given.names, given.share))
