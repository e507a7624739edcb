"""Hypothesis strategies for suites, files of records and command lines, most of them invalid.

A suite or command comes with a word that says what is wrong; "" means that it is valid.
"""

import copy
import json
import shlex

from hypothesis import strategies as st

from support.paths import MEASURED

REAL = MEASURED
LONG = "x" * 300  # too long for the name of a file
ESCAPE = "\x1b[2J"

# --- suites --------------------------------------------------------------------------------

GOOD_SUITE = {
    "models": [["resnet50"], ["repnext_u3_t", "swin_t"], ["fault/nan"], ["net.py:net"]],
    "title": ["", "Mine", "²🙂"],
    "batch": [[1], [1, 128], [3, 3]],
    "resolution": [[224], [160, 224]],
    "backend": [["eager"], ["eager", "compile"]],
    "precision": [["fp32"], ["bf16", "tf32"]],
    "rounds": [1, 3],
    "profile": [True, False],
    "pace_s": [0, 0.5],
}
LISTS = ["models", "batch", "resolution", "backend", "precision"]
HUGE = 10**30
NUMBERS = [0, -1, HUGE, -HUGE, 100_001]
NO_LISTS = ["eager", 1.5, True, None, [[1]], {"a": 1}, [None], [{}], [True], [1.5]]
NO_NAMES = ["", " ", ".", ":", "@", "a@b", "../x", "/etc/passwd", "a,,b", ",", "a\nb", ESCAPE]
NO_NAMES += [
    "resnet_50",
    "resnet50@",
    "resnet50@srep",
    "fault/none",
    "net.py",
    "net.py:net@",
    "²",
    "½",
]
NO_NAMES += [
    "x.py:net",
    ".:x",
    "__main__:x",
    "timm/",
    "timm/nope",
    "timm/x:1",
    "timm/a b",
    "\u202e",
]
NO_NAMES += ["timm/" + ESCAPE, "x" * 5000, "timm/" + "x" * 5000]
NO_ARGUMENTS = ["a\0b.py:net", "timm/\0", "\0:net"]  # TOML can hold them
BAD_VALUES = {
    "models": [
        [],
        *([*more, name] for name in NO_NAMES + NO_ARGUMENTS for more in ([], ["swin_t"])),
    ],
    "batch": [[], [1, -1], *([number] for number in NUMBERS)],
    "resolution": [[], *([number] for number in NUMBERS)],
    "backend": [[], ["eagre"], [""], ["eager", ESCAPE]],
    "precision": [[], ["fp33"], [""]],
    "rounds": [*NUMBERS, 1.5, "3", [1], True],
    "profile": [1, "yes", []],
    "pace_s": [-1, 11, HUGE, float("nan"), float("inf"), "1"],
    "title": [1, [], True],
}
TAILS = ["models = [", "batch = [1]\nbatch = [1]", "[models]", "\0", "= 1", f'title = "{ESCAPE}"']
TAILS += [f"x = {'[' * 5000}", f"x = {'9' * 5000}", f"x = {'{a=' * 3000}", "a.b.c = 1", "x = 1e999"]


def toml(value):
    """Return `value` as TOML. None becomes a date, which no key of a suite accepts."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value is None:
        return "2026-01-01"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@st.composite
def suites(draw):
    """Draw (bytes of a suite file, what is wrong with it)."""
    keys = draw(st.sets(st.sampled_from(list(GOOD_SUITE)))) | {"models"}
    chosen = {key: draw(st.sampled_from(GOOD_SUITE[key])) for key in sorted(keys)}
    wrong = draw(st.sampled_from(["", "value", "value", "type", "key", "tail", "bytes", "cut"]))
    if wrong == "value":
        key = draw(st.sampled_from(list(BAD_VALUES)))
        chosen[key] = draw(st.sampled_from(BAD_VALUES[key]))
    if wrong == "type":
        chosen[draw(st.sampled_from(LISTS))] = draw(st.sampled_from(NO_LISTS))
    if wrong == "key":
        key = draw(st.from_regex(r"[a-z_]{1,9}x", fullmatch=True))
        chosen[key] = draw(st.sampled_from(NO_LISTS))
    content = "".join(f"{key} = {toml(value)}\n" for key, value in chosen.items()).encode()
    if wrong == "tail":
        content += draw(st.sampled_from(TAILS)).encode()
    if wrong == "bytes":
        content = draw(st.binary(max_size=200)) + b"\xff"
    if wrong == "cut":
        content = content[: content.rindex(b"]")]
    return content, wrong


# --- records ---------------------------------------------------------------------------------


def _real_records():
    """Return records of a real file: two cases of one run, a short profile, and a failure."""
    found = [json.loads(line) for line in REAL.read_text().splitlines()]
    known = {kind: [r for r in found if r["type"] == kind] for kind in ("profile", "peaks")}
    alone = [r for r in found if r["type"] == "measurement" and r["case"]["batch"] == 1]
    run_id = next(r["run_id"] for r in alone if r["case"]["model"] == "swin_t")
    run = [r for r in found if r["run_id"] == run_id]
    (environment,) = [r for r in run if r["type"] == "environment"]
    cases = {"resnet50", "swin_t"}
    kept = [
        r for r in run if "case" in r and r["case"]["model"] in cases and r["case"]["batch"] == 1
    ]
    profile = known["profile"][0]
    profile["rows"] = profile["rows"][:3]
    names = ("run_id", "case_id", "case", "environment_id", "round")
    failed = next(r for r in run if "case" in r and r["case"]["model"] == "convnext_t")
    failure = {"type": "failure", "stage": "check", "error": "CheckError", "message": "wrong"}
    failure |= {name: failed[name] for name in names}
    return [environment, *kept, profile, known["peaks"][0], failure]


REAL_RECORDS = _real_records()
NASTY = [None, True, -1, 0, 1.5, 1e308, -1e308, 1e-320, 10**40, 2**63, "", "x", "x" * 200_000]
NASTY += [
    "../../x",
    "/etc/passwd",
    ESCAPE,
    "a\nb",
    "\0",
    "²‮",
    "<script>alert(1)</script>",
    "|`*$x^{$",
]
NASTY += [1e-9, 1e9, 1e18, -1e18, 10**9, 10**18]  # the limits of numbers in records
NASTY += [[], {}, [[[[[]]]]], [0.001] * 20_000, {"a": {"b": [1]}}, [None], [""], [ESCAPE]]
IMPOSSIBLE = [  # values that a measurement cannot have
    ("samples_s", []),
    *(("samples_s.0", value) for value in (-1, 0, 1e300, "1", None, [1])),
    ("block_sizes.0", 10**6),
    ("block_starts_s", []),
    *(("round", value) for value in (0, -1, 1.5, 10**40, "1")),
    *(("case.batch", value) for value in (0, -1, 1.5, None)),
    *(("case.model", value) for value in (1, ESCAPE, "a\nb", "x" * 20_000)),
    ("case.more", 1),
    ("case.model", "resnet18"),  # does not match the case_id
    ("case_id", "resnet18"),
    ("case", None),
    *(("type", value) for value in ("nonsense", "failure", None)),
    *(("schema", value) for value in (2, "1", 10**400)),
    ("stopped_by", "whim"),
    *(("cost.params", value) for value in (-1, 1e300, 10**40)),
    ("discarded", 10**30),
    ("stages_s.timed", 1e300),
    ("conditions.page_faults", 10**300),
    ("settings", {"a": [1]}),
    ("preset", "a\nb"),
    ("warnings", [1]),
    ("share_s", None),
]
NO_RECORDS = [b"", b"{}", b"[]", b"null", b"nonsense", b"\xff\xfe", b"NaN", b"9" * 10_000]
NO_RECORDS += [b'{"a":' * 50_000, b"[" * 50_000, b'"' + b"x" * 10**6 + b'"', b'{"type": "peaks"}']
NO_RECORDS += [
    b'{"type": ":1 has schema 2, not 1"}',
    b'{"type": "\x1b"}',
    b'{"type": "\\u001b[2J"}',
]


@st.composite
def results(draw):
    """Draw the lines of a file, and for each line whether a reader must skip it (None: may)."""
    lines, fates = [], []
    spoilt = draw(st.sets(st.integers(0, len(REAL_RECORDS) - 1), max_size=3))
    every = draw(st.integers(0, 9)) == 0
    for number, record in enumerate(REAL_RECORDS):
        line, must_go = json.dumps(record).encode(), False
        if every or number in spoilt:
            line, must_go = draw(_spoilt(record))
        lines.append(line)
        fates.append(must_go)
    return lines, fates


@st.composite
def _spoilt(draw, record):
    kind = draw(st.sampled_from(["any", "any", "any", "lost", "impossible", "bytes", "none"]))
    changed = copy.deepcopy(record)
    if kind == "impossible" and record["type"] == "measurement":
        where, value = draw(st.sampled_from(IMPOSSIBLE))
        path = [int(key) if key.isdigit() else key for key in where.split(".")]
        _part(changed, path[:-1])[path[-1]] = value
        return json.dumps(changed).encode(), True
    if kind in ("any", "lost"):
        path = draw(_paths(changed))
        if kind == "any":
            _part(changed, path[:-1])[path[-1]] = draw(st.sampled_from(NASTY))
        else:
            del _part(changed, path[:-1])[path[-1]]
        return json.dumps(changed, ensure_ascii=draw(st.booleans())).encode(), None
    if kind == "bytes":
        line = bytearray(json.dumps(record).encode())
        place = draw(st.integers(0, len(line) - 1))
        line[place : place + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
        return bytes(line).replace(b"\n", b""), None
    return draw(st.sampled_from(NO_RECORDS)), True


@st.composite
def _paths(draw, record):
    """Draw the path (keys and indices) to a part of a record."""
    here, path = record, []
    while isinstance(here, (dict, list)) and here and not (path and draw(st.integers(0, 3)) == 0):
        path.append(
            draw(st.sampled_from(list(here) if isinstance(here, dict) else range(len(here))))
        )
        here = here[path[-1]]
    return path


def _part(record, path):
    for key in path:
        record = record[key]
    return record


# --- command lines -------------------------------------------------------------------------

NO_NUMBERS = ["", "0", "-1", "x", "nan", "inf", "1.5", "9" * 50, "9" * 5000]
NO_COUNTS = [*NO_NUMBERS, "many", "１", "1e3", "--5", "1;2", "1,", "100001"]
VALUES = {  # valid and invalid values for each flag of `run`
    "--models": (["repnext_u3_t@srep", "swin_t,resnet50", "timm/resnet18", "fault/nan"], NO_NAMES),
    "--backend": (["eager", "compile,eager"], ["", "eagre", "eager,", ESCAPE]),
    "--precision": (["fp32", "tf32,fp16"], ["", "fp33", ",", "int4"]),
    "--batch": (["1", "1,128", " 7 "], NO_COUNTS),
    "--resolution": (["64", "64,224"], NO_COUNTS),
    "--threads": (["1", "7"], NO_NUMBERS),
    "--rounds": (["1", "2"], NO_NUMBERS),
    "--preset": (["quick", "default", "paper"], ["", "fast", "QUICK", "../quick"]),
    "--budget": (["5", "1e3", "0.5"], ["0", "-1", "nan", "inf", "-inf", "x", "", "1e400"]),
    "--suite": (
        ["table6", "smoke"],
        ["", "tabel6", "../suites/table6", "none.toml", LONG, "a\nb.toml"],
    ),
    "--device": (["fake"], ["", "gpu", "fake2", "../fake", "FAKE", "orin", "a100"]),
    "--weights": ([], ["none.pt", "empty", "/dev/zero", "", LONG]),
    "--out": (["out", "out/deep"], ["", "file", "file/out", LONG]),
}
NO_FLAGS = [
    "--frobnicate",
    "-x",
    "--models",
    "extra",
    "--batch=--5",
    "--dry-run=maybe",
    "--no-json",
]
GOOD_WORDS = """
    --help
    run --help
    list
    list models
    list forms
    list suites --json
    list precisions
    list models --paper
    explain resnet50 --in stored
    explain swin_t --in stored --json
    compare resnet50 swin_t --in stored
    compare resnet50 swin_t --in stored --threshold 3% --json
    compare swin_t resnet50 --in stored --fail-on slower
"""
BAD_WORDS = f"""
    frobnicate
    list modles
    list models --json --paper
    explain
    report
    compare resnet50
    doctor x
    selfcheck --half
    selfcheck --device gpu
    selfcheck --device orin
    report none
    report file
    report empty
    report ../none
    report ''
    report {LONG}
    report empty stored
    report stored --to file
    explain resnet50 --in ''
    explain resnet50 --in none
    explain resnet50 --in file
    explain resnet50 --in empty
    explain resnet50 --in {LONG}
    explain '' --in stored
    explain {ESCAPE} --in stored
    explain {"x" * 9000} --in stored
    compare resnet50 swin_t --in stored --threshold 0%
    compare resnet50 swin_t --in stored --threshold=-1%
    compare resnet50 swin_t --in stored --threshold 3
    compare resnet50 swin_t --in stored --threshold 100%
    compare resnet50 swin_t --in stored --threshold nan%
    compare resnet50 swin_t --in stored --threshold ２%
    compare resnet50 swin_t --in stored --threshold {"9" * 400}%
    compare resnet50 swin_t --in stored --fail-on faster
    compare resnet50 swin_t --in stored --to file
    compare resnet50 swin_t --in stored --to ''
    compare resnet50 swin_t --in ''
    selfcheck --device fake --out ''
    doctor --out ''
    compare resnet50 resnet50 --in stored
    compare resnet50 nope --in stored
    compare stored resnet50 --in stored
    compare '' '' --in stored
    compare stored stored
    compare stored empty
    profile --device fake --out out
    profile --device fake --out out --models resnet50
    profile --device fake --out out --models resnet50 --seconds 0
    profile --device fake --out out --models resnet50 --seconds nan
    profile --device fake --out out --diff resnet50
    profile --device fake --out out --diff '' swin_t
    profile --device fake --out out --diff 'resnet50 fast' swin_t
    profile --device fake --out out --diff {ESCAPE} swin_t
"""


def _split(text):
    return [shlex.split(line) for line in text.strip().splitlines()]


GOOD_COMMANDS, BAD_COMMANDS = _split(GOOD_WORDS), _split(BAD_WORDS)


@st.composite
def runs(draw):
    """Draw (words of `bench run`, what is wrong). One in twenty valid commands measures."""
    arguments = {"--device": "fake", "--models": "resnet50", "--rounds": "1", "--out": "out"}
    for flag in draw(st.sets(st.sampled_from(list(VALUES)), max_size=4)) - {"--weights"}:
        arguments[flag] = draw(st.sampled_from(VALUES[flag][0]))
    extra = draw(st.sets(st.sampled_from(["--json", "--retry-failed"])))
    wrong = draw(st.sampled_from(["", *VALUES, "flag"])) if draw(st.booleans()) else ""
    if wrong in VALUES:
        arguments[wrong] = draw(st.sampled_from(VALUES[wrong][1]))
    really = not wrong and "--suite" not in arguments and draw(st.integers(0, 19)) == 0
    dry = [] if really or wrong == "--out" else ["--dry-run"]
    last = [draw(st.sampled_from(NO_FLAGS))] if wrong == "flag" else []
    words = [word for pair in sorted(arguments.items()) for word in pair]
    return ["run", *words, *dry, *sorted(extra), *last], wrong


def commands():
    """Return a strategy for (words of any command, what is wrong)."""
    good = st.sampled_from(GOOD_COMMANDS).map(lambda words: (words, ""))
    bad = st.sampled_from(BAD_COMMANDS).map(lambda words: (words, "words"))
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    wild = st.lists(text, min_size=1).map(lambda words: (["run", *words, "--nonsense"], "wild"))
    return st.one_of(runs(), runs(), runs(), good, bad, wild)
