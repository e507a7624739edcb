"""Hypothesis strategies for folders of results: runs, copies, damage, and text of strangers."""

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

FILE = "results.jsonl"
MODELS = ("resnet50", "swin_t", "timm/test_vit")
HOSTILE = (
    "timm/<script>alert(1)</script>",
    "=1+1",
    "@SUM(A1)",
    "-2+3|`*_$x^{$",
    "a & b < c \\ %#~",
    "²🙂 ",
    "x" * 300,
)
HOSTILE_TEXT = (*HOSTILE, "\x1b[2J", "a\nb", "\u202egnp", "\u2028")
DATES = ("2026-01-01T00:00:00+00:00", "2026-02-02T00:00:00+00:00", "2025-03-03T00:00:00+00:00")
IMPOSSIBLE = (  # the path to a number, and numbers that no run can have measured
    (("samples_s", 0), (-1, 0, 1e-12, 1e10)),
    (("stages_s", "build"), (-1, -1e-9, 1e18)),
    (("share_s",), (-0.5, 1e12)),
    (("discarded",), (-1, 10**19)),
    (("cost", "macs"), (-1, 10**30)),
    (("block_sizes", 0), (0, -1, 7, 10**6)),
    (("round",), (0, -1, 10**9, 10**18)),
    (("generation",), (-1, 10**10)),
    (("case", "batch"), (0, -3)),
    (("case_id",), ("0" * 16,)),
    (("schema",), (2,)),
)
NO_RECORDS = (
    b"",
    b"{",
    b"[1]",
    b"null",
    b"\0" * 30,
    b'{"type": "measurement"}',
    b"\xff\xfe",
    b"9" * 99,
)
TROUBLES = (
    "",
    "",
    "",
    "loop",
    "dangling",
    "folder",
    "pipe",
    "not utf-8",
    "linked device",
    "linked file",
)


class Attack(NamedTuple):
    """The lines of the file of each folder, the models, and what else is wrong with a folder.

    `figures`: with the figures of the report, which take longest.
    """

    files: list[list[bytes]]
    models: list[str]
    trouble: str
    figures: bool


@st.composite
def attacks(draw, *, strangers=True):
    """Draw an attack: one to four runs, in one to three folders that may be copies, and damage.

    `strangers`: half of the attacks have names and texts that are meant to do harm.
    """
    of_strangers = strangers and draw(st.booleans())
    names = HOSTILE + MODELS[:1] if of_strangers else MODELS
    models = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    texts = st.sampled_from(HOSTILE_TEXT) if of_strangers else st.just("Test Chip")
    folders: list[list[dict]] = []
    for number in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(len(folders), 2)))
        if place == len(folders):
            copied = draw(st.booleans()) and folders
            folders.append([*draw(st.sampled_from(folders))] if copied else [])
        folders[place] += draw(_runs(f"r{number}", models, folders[place], texts))
    files = [[line_of(record) for record in records] for records in folders]
    for lines in files:
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
            draw(_damage(lines))
    trouble = draw(st.sampled_from(TROUBLES if strangers else TROUBLES[:7]))
    return Attack(files, models, trouble, draw(st.integers(0, 99)) == 99)


@st.composite
def _runs(draw, run_id, models, earlier, texts):
    """Draw the records of a run in a folder whose records so far are `earlier`."""
    common = {"run_id": run_id, "environment_id": draw(st.sampled_from(["e1", "e1", "e2"]))}
    found = [environment(common, draw(st.sampled_from(DATES)), draw(texts))]
    threads = draw(st.sampled_from([2, 2, 2, 1]))
    anew, is_observed = draw(st.integers(0, 5)) == 0, draw(st.booleans())
    counts = {model: draw(st.integers(0, 3)) for model in models}
    ends = {
        model: draw(st.sampled_from(["rounds", "rounds", "rounds", "failure"])) for model in models
    }
    for number in range(1, max(counts.values()) + 2):
        for model in models:
            own = [r for r in earlier if r.get("case") == case_of(model) and _same(r, common)]
            known = [r["round"] for r in own if r["type"] == "measurement"]
            newest = max((r["generation"] for r in own), default=0)
            first = 1 if anew else max(known, default=0) + 1
            record = common | {
                "round": first + number - 1,
                "generation": newest + (anew and bool(own)),
            }
            if number <= counts[model]:
                samples = draw(st.lists(st.sampled_from(SECONDS), min_size=1, max_size=4))
                made = round_of(record, model, samples, threads, draw(texts))
                state = draw(_STATES) if is_observed else {}
                found.append(made | state | draw(_DISTURBANCES))
            elif number == counts[model] + 1 and ends[model] == "failure":
                found.append(_failure(record, model, draw(texts)))
    if draw(st.integers(0, 7)) == 0:
        found.append({"type": "peaks", **common, **PEAKS})
    if draw(st.integers(0, 4)) == 0:
        record = common | {"generation": 0}
        model, rounds = draw(st.sampled_from(models)), draw(st.integers(1, 2))
        found += [_profile(record | {"round": number + 1}, model) for number in range(rounds)]
    return found


PEAKS = {"precision": "fp32", "threads": 2, "macs_per_s": 1e9, "bytes_per_s": 1e9}
SECONDS = (0.003, 0.004, 0.0051, 0.1, 1e-9, 0.25, 1.0, 40.0, 1e6)


_STATES = st.builds(
    lambda kernel_s, wall_s, busy_s, faults: {
        "block_compute_s": [kernel_s],
        "block_memory_s": [kernel_s],
        "conditions": {"wall_s": wall_s, "cpus": 2, "own_cpu_s": 1.0, "busy_cpu_s": busy_s}
        | {"stolen_cpu_s": 0.0, "page_faults": faults, "throttled_s": 0.0},
    },
    st.sampled_from([1e-3, 2e-3, 1e-9, 1e9]),
    st.sampled_from([1.0, 0.0, 1e-9, 1e18]),
    st.sampled_from([1.0, 2.0, 0.0, 1e18]),
    st.sampled_from([0, 9, 10**18]),
)


NEIGHBOUR = {"case_id": "a1", "name": "nets/spin.py:net", "share": 0.45}
_DISTURBANCES = st.sampled_from(
    [
        *[{}] * 6,
        {"disturbed_by": [NEIGHBOUR]},
        {"spoilt_by": ["other programs used 30 % of the CPUs"]},
        {"disturbed_by": [NEIGHBOUR], "spoilt_by": ["the clock fell"]},
    ]
)


def _same(record, common):
    return record["environment_id"] == common["environment_id"]


def case_of(model):
    """Return the case of a model as it is on record."""
    given = {"model": model, "form": "plain", "backend": "eager", "precision": "fp32", "batch": 1}
    return {**given, "resolution": 64, "device": "cpu", "threads": 2}


def case_id_of(model):
    """Return the first 16 digits of SHA-256 of the case as JSON with sorted keys."""
    text = json.dumps(case_of(model), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment(common, date, chip):
    """Return the record of a run's environment; `chip` stands wherever it has text."""
    facts = {"device": "cpu", "kind": "cpu", "name": chip, "threads": 2, "facts": {"about": chip}}
    versions = {"torch": "2.9.0", "bench": "0", "os": chip}
    more = {"versions": versions, "state": {}, "started_at": date, "command": f"bench run {chip}"}
    return {"type": "environment", "schema": 1, **common, "chip": facts, **more}


def round_of(common, model, samples, threads, text):
    """Return a round of a model; a hostile text becomes a warning."""
    return {
        "type": "measurement",
        "schema": 1,
        **common,
        "case": case_of(model),
        "case_id": case_id_of(model),
        "samples_s": samples,
        "block_sizes": [len(samples)],
        "block_starts_s": [1.0],
        "stages_s": {"build": 0.1, "timed": 0.5},
        "cost": {"params": 10**6, "macs": 10**8},
        "stopped_by": "round",
        "discarded": 3,
        "share_s": 0.5,
        "structure": "abc",
        "check": {},
        "preset": "quick",
        "settings": {"threads": threads},
        "warnings": [text] if text in HOSTILE_TEXT else [],
    }


def _failure(common, model, text):
    case = {"case": case_of(model), "case_id": case_id_of(model), "stage": "check"}
    said = {"error": "RuntimeError", "message": text, "stderr_tail": text}
    return {"type": "failure", **common, **case, **said}


def _profile(common, model):
    """Return a profiled round of a model."""
    conv = {"operator": "aten::conv2d", "module": "stem", "category": "other conv"}
    terms = {"plain_s": 0.01, "busy_s": 0.0065, "gaps_s": 0.0034, "residual_s": 1e-4}
    rest = dict.fromkeys(("sync_s", "overhead_s", "overhead_expected_s"), 0.0)
    return {
        "type": "profile",
        "schema": 1,
        **common,
        "case": case_of(model),
        "case_id": case_id_of(model),
        "seconds": 1.0,
        "rows": [{**conv, "calls": 2, "time_s": 0.0065}],
        "waterfall": {**terms, **rest},
        "utilisation": {"busy": 0.5},
        "plain_samples_s": [0.01],
        "profiled_samples_s": [0.011],
        "events": 10,
    }


def line_of(record):
    """Return the line of a record."""
    return json.dumps(record, ensure_ascii=False).encode()


@st.composite
def _damage(draw, lines):
    """Change the lines of a file in one place."""
    kind = draw(
        st.sampled_from(["number", "number", "lost", "twice", "cut", "added", "round twice"])
    )
    place = draw(st.integers(0, len(lines) - 1)) if lines else 0
    if kind == "added" or not lines:
        lines.insert(place, draw(st.sampled_from(NO_RECORDS)))
    elif kind == "number":
        path, values = draw(st.sampled_from(IMPOSSIBLE))
        lines[place] = _with(lines[place], path, draw(st.sampled_from(values)))
    elif kind == "lost":
        del lines[place]
    elif kind == "twice":
        lines.insert(draw(st.integers(0, len(lines))), lines[place])
    elif kind == "cut":
        lines[place] = lines[place][: len(lines[place]) // 2]
    else:
        lines.append(_with(lines[place], ("samples_s", 0), 0.017))


def _with(line, path, value):
    """Return the line with `value` at `path`, where there is such a place."""
    try:
        record = part = json.loads(line)
        for key in path[:-1]:
            part = part[key]
        part[path[-1]]  # raises an error where the record has no such number
        part[path[-1]] = value
    except (ValueError, KeyError, TypeError, IndexError):
        return line
    return line_of(record)


def written(root: Path, attack: Attack) -> tuple[list[Path], Path | None]:
    """Write the folders of an attack below `root`; return them, and what cannot be read in one."""
    folders = [root / f"out{number}" for number in range(len(attack.files))]
    for folder, lines in zip(folders, attack.files, strict=True):
        (folder / "chip").mkdir(parents=True)
        (folder / "chip" / FILE).write_bytes(b"".join(line + b"\n" for line in lines))
    return folders, _TROUBLES[attack.trouble](folders[0])


def _broken(name):
    def make(folder):
        path = folder / "lost"
        if name == "loop":
            path.symlink_to("lost")
            return path
        if name == "dangling":
            path.symlink_to("away")
            return path
        path.mkdir()
        (os.mkfifo if name == "pipe" else os.mkdir)(path / FILE)
        return path / FILE

    return make


def _moved(folder, to, link):
    """Move a device, or its file, and leave a link in its place."""
    to.parent.mkdir(exist_ok=True)
    os.rename(link, to)
    link.symlink_to(to)


def _not_utf8(folder):
    os.rename(folder / "chip", folder / os.fsdecode(b"chip\xff"))


_TROUBLES = {
    "": lambda folder: None,
    "not utf-8": _not_utf8,
    "linked device": lambda f: _moved(f, f.parent / "elsewhere" / "chip", f / "chip"),
    "linked file": lambda f: _moved(f, f.parent / "elsewhere" / FILE, f / "chip" / FILE),
    **{name: _broken(name) for name in ("loop", "dangling", "folder", "pipe")},
}
