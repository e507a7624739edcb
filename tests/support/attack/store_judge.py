"""What bench makes of a drawn store, against the independent reader."""

import csv
import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from bench import report
from bench.cli import entry_point
from support import command
from support.attack import plain_reader, stores

COMMANDS = typer.main.get_command(entry_point.app_of())  # making it takes longer than most commands
TALLY = re.compile(r"(\d+) lines? of results, (?:all used|(\d+) used; left out: (.*?)\.$)", re.M)
COUNT = re.compile(r"(\d+) \(([^)]*)\)")
FORMULAS = tuple("=+-@\t\r")
OTHER_SCHEMA = "has schema 2"  # a file of another version is not explained
LEFT_OUT = {
    "disturbed_by": "is left out, as the network nets/spin.py:net used",
    "spoilt_by": "is left out, as other programs spoilt it",
}
DIGITS = 1e-5  # results.csv has six significant digits


class Ended(NamedTuple):
    """How a command ended, and its traceback."""

    code: int
    out: str
    err: str
    traceback: str


def attacked(root: Path, attack: stores.Attack) -> list[tuple[str, str]]:
    """Write the folders of an attack below `root`, call commands, and return what is wrong."""
    folders, broken = stores.written(root, attack)
    before = _contents(root)
    known = {slug: plain_reader.Store(files) for slug, files in _by_slug(folders).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry_point, "app_of", lambda _: COMMANDS)
        if not attack.figures:
            patch.setattr(report, "FIGURES", ())
        findings = [*_reported(root, folders, known), *_asked(root, folders[0], attack, known)]
        findings += _of_trouble(root, folders[0], attack, broken)
    if {path: data for path, data in _contents(root).items() if path in before} != before:
        findings.append(("wrong", "a file of the input was changed"))
    return findings


def _by_slug(folders):
    files: dict[str, list[bytes]] = {}
    for folder in folders:
        for path in sorted(folder.glob("chip*/" + stores.FILE)):
            files.setdefault(path.parent.name, []).append(path.read_bytes())
    return files


def _contents(root):
    paths = [path for path in root.rglob(stores.FILE) if path.is_file()]
    return {str(path): path.read_bytes() for path in paths}


def _call(root, *words) -> tuple[Ended, list[tuple[str, str]]]:
    """Call a command; return how it ended, and what is wrong with that."""
    try:
        done = command.call(*words, cwd=root)
    except Exception as error:
        said = f"{words[0]}: {type(error).__name__}: {str(error)[:200]!r}"
        return Ended(1, "", "", said), [("traceback", said)]
    found = []
    if not all(map(str.isprintable, (done.stdout + done.stderr).split("\n"))):
        found.append(("wrong", f"{words[0]}: a control character on the terminal"))
    if done.returncode not in (0, 2):
        found.append(("wrong", f"{words[0]}: exit code {done.returncode}"))
    if done.returncode == 2 and "error: " not in done.stderr:
        found.append(("wrong", f"{words[0]}: exit code 2 without a message"))
    elif done.returncode == 2 and words[0] == "report":
        found.append(("refused", ""))
    return Ended(done.returncode, done.stdout, done.stderr, ""), found


def _reported(root, folders, known):
    """What is wrong with the report of all folders, in both orders of the folders."""
    names = [folder.name for folder in folders]
    done, found = _call(root, "report", *names, "--to", "to")
    if done.traceback:
        return found
    if not (root / "to").exists():
        has_cases = any(store.cases() for store in known.values())
        return [*found, *[("lost", "no report was written")] * has_cases]
    for slug, store in known.items():
        found += _compared(root / "to" / slug / "results.csv", store)
    found += _counted((root / "to" / "report.md").read_text(), known.values())
    if "<script>alert(1)" in (root / "to" / "report.html").read_text():
        found.append(("wrong", "report.html: a script of a stranger"))
    if len(names) > 1:
        os.rename(root / "to", root / "first")
        found += _call(root, "report", *reversed(names), "--to", "to")[1]
        if _pages(root / "first") != _pages(root / "to"):
            found.append(("wrong", "the order of the folders decides"))
    return found


def _pages(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _compared(path, store):
    """What is wrong in results.csv."""
    expected = store.cases()
    if not path.exists():
        return [("lost", "results.csv was not written")] if expected else []
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    shown = {(line["environment_id"], line["case_id"]): line for line in lines}
    found = []
    left_out = store.left_out()
    turned = store.cases(turned=True)
    for key, rounds in expected.items():
        line = shown.pop(key, None)
        found += _row(line, rounds) and _row(line, turned[key])
        reasons = left_out.get(key, set()) if line else set()
        found += [
            ("lost", f"rounds are left out without a word: {reason}")
            for reason in reasons
            if LEFT_OUT[reason] not in line["doubts"]
        ]
    found += [("wrong", f"a case that no line has: {key}") for key in shown]
    if expected and lines[-1]["environment_id"] != store.latest():
        found.append(("wrong", "report takes another environment for the latest"))
    cells = [value for line in lines for value in line.values() if value and not _is_number(value)]
    if any(value.startswith(FORMULAS) for value in cells):
        found.append(("wrong", "results.csv: a spreadsheet would run a cell"))
    return found


def _row(line, rounds):
    """What is wrong with a line of results.csv; `rounds` is None where the case failed."""
    if line is None:
        return [("lost", "a case is not in results.csv")]
    if rounds is None:
        return [] if line["failed_at"] else [("wrong", "a failure is not shown")]
    samples, wanted = int(line["samples"]), plain_reader.samples_of(rounds)
    if samples != wanted:
        said = f"{samples} samples instead of {wanted}"
        return [("lost" if samples < wanted else "doubled", said)]
    median_s, wanted_s = float(line["latency_median_s"]), plain_reader.median_of(rounds)
    if not math.isclose(median_s, wanted_s, rel_tol=DIGITS):
        return [("wrong", f"median {median_s} s instead of {wanted_s} s")]
    return []


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counted(text, known):
    """What is wrong with the counts of lines in report.md."""
    wanted = {
        "not a record": sum(store.flawed for store in known),
        "the same as another line": sum(store.repeated for store in known),
    }
    lines, found = sum(store.lines for store in known), TALLY.findall(text)
    if not found:
        repeated = wanted["the same as another line"]
        return [("lost", f"{repeated} lines left out without a word")] if repeated else []
    counts = [(int(n), why) for _, _, left_out in found for n, why in COUNT.findall(left_out)]
    used = sum(int(used or every) for every, used, _ in found)
    if (
        sum(int(every) for every, _, _ in found) != lines
        or used + sum(n for n, _ in counts) != lines
    ):
        return [("lost", f"the counts of report.md do not add up to {lines} lines")]
    shown = {reason: sum(n for n, why in counts if why == reason) for reason in wanted}
    return [("wrong", f"report.md counts {shown} instead of {wanted}")] if shown != wanted else []


def _asked(root, folder, attack, known):
    """What is wrong with `explain` and `compare` of the first folder."""
    (own,) = _by_slug([folder]).values()
    store = plain_reader.Store(own)
    cases, found = store.cases(), []
    ids = [stores.case_id_of(model) for model in attack.models]
    for case_id in ids:
        done, said = _call(root, "explain", case_id, "--in", folder.name, "--json")
        found += said
        rounds = cases.get((store.latest(), case_id))
        if rounds and not done.traceback:
            found += _explained(done, rounds)
    if len(ids) > 1:
        found += _call(root, "compare", *ids, "--in", folder.name)[1]
    return found


def _explained(done, rounds):
    if done.code == 2 and OTHER_SCHEMA in done.err:
        return [("refused", "")]
    if not done.out:
        return [("lost", "explain does not know a case")]
    (lines,) = json.loads(done.out)
    shown = int(lines.get("samples", "0").split()[0])
    wanted = plain_reader.samples_of(rounds)
    return [("wrong", f"explain has {shown} samples, not {wanted}")] if shown != wanted else []


def _of_trouble(root, folder, attack, broken):
    """What is wrong where a folder cannot be read, or a device is a link."""
    shutil.rmtree(root / "to", ignore_errors=True)
    if broken is not None:
        done, found = _call(root, "report", folder.name, "--to", "to")
        named = os.fspath(broken.relative_to(root)) in done.err
        if not done.traceback and not (named and done.code == 2):
            found.append(("lost", f"{attack.trouble}: a device is left out without a word"))
        return found
    if attack.trouble != "linked device":
        return []
    _, found = _call(root, "report", folder.name)
    if len(os.listdir(root / "elsewhere" / "chip")) > 1:
        found.append(("wrong", "pages were written through a link"))
    return found
