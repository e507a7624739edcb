"""An independent reader of results: the samples of each case, and what becomes of each line.

It uses the standard library only, and no code of bench.
"""

import collections
import hashlib
import json
import statistics
from typing import NamedTuple

KINDS = ("measurement", "failure", "profile", "environment", "peaks")
SMALLEST = {"round": 1, "batch": 1, "resolution": 1, "samples_s": 1e-9, "block_sizes": 1}
USUAL = {  # in no case_id
    **{"input": "", "allocator": "default", "huge_pages": "default"},
    **{"workload": "infer", "scenario": "tight"},
}
SIGNED = ("set_s", "highest_temperature_c")
FEWEST = 3  # rounds for an interval
LARGEST = {
    "round": 10**9 - 1,
    "generation": 10**9 - 1,
    "share_s": 1e9,
    "samples_s": 1e9,
    "stages_s": 1e9,
}


class Entry(NamedTuple):
    """A record, its text with sorted keys, and the start of its run as its own file knows it."""

    text: str
    record: dict
    started_at: str


def in_range(part, key=""):
    """Whether each number below `part` is one that a run can have written."""
    if isinstance(part, dict):
        return all(in_range(v, key if key == "stages_s" else name) for name, v in part.items())
    if isinstance(part, list):
        return all(in_range(value, key) for value in part)
    if isinstance(part, bool) or not isinstance(part, (int, float)) or key in SIGNED:
        return True
    return SMALLEST.get(key, 0) <= part <= LARGEST.get(key, 1e18)


def record_of(line):
    """Return the record in a line as a dictionary, or None if the line is no record."""
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") not in KINDS or not in_range(found):
        return None
    if found.get("schema", 1) != 1 or "run_id" not in found:
        return None
    if "samples_s" in found and sum(found["block_sizes"]) != len(found["samples_s"]):
        return None
    if "case" in found:
        case = {k: v for k, v in found["case"].items() if k != "label" and USUAL.get(k) != v}
        text = json.dumps(case, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(text.encode()).hexdigest()[:16] != found["case_id"]:
            return None
    return found


def lines_of(data):
    """Return the lines of a file's bytes; a last line without its newline counts."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


class Store:
    """The pooled records of the files of one device; `files` are their bytes."""

    def __init__(self, files):
        found = [[record_of(line) for line in lines_of(data)] for data in files]
        self.lines = sum(map(len, found))
        self.flawed = sum(record is None for records in found for record in records)
        self._files = [_entries(records) for records in found]
        self._pooled = _pooled(self._files)
        self.repeated = self.lines - self.flawed - len(self._pooled)

    def cases(self, *, turned=False):
        """Return {(environment, case): rounds that count, or None where the case failed last}.

        With `turned`, files that are equally old are in the other order: where their lines
        contradict each other, either may count.
        """
        found = self._rounds(turned).items()
        return {key: rounds and _alike(_calm(rounds)) for key, rounds in found}

    def _rounds(self, turned=False):
        """Return {(environment, case): its rounds, or None where the case failed last}."""
        by_case = collections.defaultdict(lambda: [[] for _ in self._files])
        for number, entries in enumerate(self._files[::-1] if turned else self._files):
            for entry in filter(_is_of_case, entries):
                key = (entry.record["environment_id"], entry.record["case_id"])
                by_case[key][number].append(entry)
        return {key: _rounds_of(files) for key, files in by_case.items()}

    def left_out(self):
        """Return {(environment, case): why rounds are left out: `disturbed_by`, `spoilt_by`}."""
        return {
            key: {_why(each) for each in rounds if each not in _calm(rounds)}
            for key, rounds in self._rounds().items()
            if rounds
        }

    def latest(self):
        """Return the environment in which a case was measured last; None without one."""
        measured = filter(_is_of_case, reversed(self._pooled))
        return next((entry.record["environment_id"] for entry in measured), None)


def median_of(rounds):
    """Return the median of all samples of the rounds."""
    return statistics.median(sample for each in rounds for sample in each["samples_s"])


def samples_of(rounds):
    """Return the number of samples of the rounds."""
    return sum(len(each["samples_s"]) for each in rounds)


def _entries(records):
    known = [record for record in records if record]
    began = {r["run_id"]: r["started_at"] for r in known if r["type"] == "environment"}
    return [Entry(json.dumps(r, sort_keys=True), r, began.get(r["run_id"], "")) for r in known]


def _is_of_case(entry):
    kind, stage = entry.record["type"], entry.record.get("stage")
    return kind in ("measurement", "failure") and stage != "profile"


def _pooled(files):
    """Return the entries of files: the latest file last, and a line of several files once."""
    ordered = sorted(files, key=_age)
    last = {entry.text: number for number, own in enumerate(ordered) for entry in own}
    found = {}
    for number, own in enumerate(ordered):
        for entry in own:
            if last[entry.text] == number:
                found.setdefault(entry.text, entry)
    return [*found.values()]


def _age(entries):
    """Return a key that is greater for the later of two files: the start of its last run."""
    every = [*filter(_is_of_case, entries)]
    if not every:
        return (False, "", "", 0)
    return (True, every[-1].started_at, every[-1].record["run_id"], len(entries))


def _rounds_of(files):
    """Return the rounds of the newest generations of a case, or None where it failed last."""
    newest = [max((_generation(e) for e in own), default=0) for own in files]
    pairs = zip(files, newest, strict=True)
    old = {e.text for own, most in pairs for e in own if _generation(e) < most}
    rounds, failed = {}, False
    for entry in _pooled(files):
        if entry.text not in old:
            failed = entry.record["type"] == "failure"
            if not failed:
                rounds.setdefault((entry.record["run_id"], entry.record["round"]), entry.record)
    return None if failed else [*rounds.values()]


def _generation(entry):
    return entry.record.get("generation", 0)


def _calm(rounds):
    """Return the rounds that nothing disturbed, as long as there are enough of them."""
    alone = [each for each in rounds if not each.get("disturbed_by")] or rounds
    quiet = [each for each in alone if not each.get("spoilt_by")]
    return quiet if len(quiet) >= FEWEST else alone


def _why(record):
    return "disturbed_by" if record.get("disturbed_by") else "spoilt_by"


def _alike(rounds):
    """Return the largest part of the rounds with equal settings; of equal parts the newest."""
    settings = [json.dumps(each["settings"], sort_keys=True) for each in rounds]
    sizes, place = collections.Counter(settings), {each: n for n, each in enumerate(settings)}
    chosen = max(place, key=lambda each: (sizes[each], place[each]))
    return [each for each, own in zip(rounds, settings, strict=True) if own == chosen]
