"""Hypothesis strategies for folders of results of one device, with records in any combination."""

import itertools
from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from bench.records import Case, Peaks
from bench.storage.reader import FILE_NAME
from support.profiles import profile
from support.records import ENVIRONMENT, NEIGHBOUR, failure, measurement

CASES = [Case("resnet50", "plain"), Case("swin_t", "plain")]
RUNS = ["r1", "r2", "r3"]
DATES = ["2026-01-01", "2026-01-02"]
WHERE = ["here", "there"]
NO_RECORDS = [b"{", b"", b'{"type": "measurement"}', b"[1]"]


class Line(NamedTuple):
    """A line of a file; `record` is None where the line is no record."""

    text: bytes
    record: object

    @property
    def generation(self) -> int:
        """The generation of the record, 0 where it has none."""
        return getattr(self.record, "generation", 0)


def of_record(record) -> Line:
    """The line of a record."""
    return Line(msgspec.json.encode(record), record)


@st.composite
def _records(draw):
    """A record of any type; small ranges make rounds and lines meet in several files."""
    run_id, case = draw(st.sampled_from(RUNS)), draw(st.sampled_from(CASES))
    common = {"run_id": run_id, "environment_id": draw(st.sampled_from(WHERE))}
    kind = draw(st.sampled_from(["round"] * 4 + ["failure", "profile", "peaks", "environment"]))
    if kind == "environment":
        date = draw(st.sampled_from(DATES))
        return msgspec.structs.replace(ENVIRONMENT, started_at=date, **common)
    if kind == "peaks":
        threads = draw(st.sampled_from([1, 2]))
        return Peaks(**common, precision="fp32", threads=threads, macs_per_s=1e9, bytes_per_s=1e9)
    number, generation = draw(st.integers(1, 2)), draw(st.sampled_from([0, 0, 1]))
    common |= {"round": number, "generation": generation}
    if kind == "failure":
        return failure(case, stage=draw(st.sampled_from(["check", "profile"])), **common)
    if kind == "profile":
        return profile(case.model, threads=1, **common)
    ms, disturbed_by = draw(st.sampled_from([3, 5])), draw(st.sampled_from([[], [], [NEIGHBOUR]]))
    common |= {"samples_s": [ms / 1e3], "disturbed_by": disturbed_by}
    return measurement(case, **{**common, "round_number": common.pop("round")})


def files(most: int = 3):
    """Return a strategy for the lines of one to `most` files that share some of their lines."""
    broken = st.sampled_from(NO_RECORDS).map(lambda text: Line(text, None))
    lines = st.one_of(*[_records().map(of_record)] * 6, broken)

    def shared(universe):
        own = st.lists(st.sampled_from(universe), max_size=8)
        return st.lists(own, min_size=1, max_size=most)

    return st.lists(lines, min_size=1, max_size=10).flatmap(shared)


def written(root: Path, several) -> list[Path]:
    """Write each list of lines as the file of the device `chip`; return the folders above it."""
    numbers = itertools.count()
    folders = []
    for lines in several:
        folder = root / f"out{next(numbers)}"
        (folder / "chip").mkdir(parents=True, exist_ok=True)
        (folder / "chip" / FILE_NAME).write_bytes(b"".join(line.text + b"\n" for line in lines))
        folders.append(folder)
    return folders
