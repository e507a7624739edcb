"""Sweeps of drawn networks and their twins, and whether a wrong number looked right."""

import collections
import json
import statistics
from pathlib import Path
from typing import NamedTuple

from support.attack.networks import KEPT, KINDS, Pair
from support.attack.plain_reader import lines_of, record_of
from support.sweep import Sweep

LIMIT = 1.25  # a ratio of latencies that is no noise, where network and twin are both VALID
LIMIT_OF_DISTURBED = 2.0  # where other programs disturbed one of them
DISTURBED = "DISTURBED"  # not VALID, but for these reasons alone, which are none of the network's
OF_LOAD = ("other processes used", "the host gave", "as long as on the quiet machine", "CPU quota")
ONE_PROCESS = "measured in one process"
MOST_SAMPLES = 10**5
LONG_S = 0.4  # no call of a network is as long, so the process stood still
RUN = ("--device", "cpu", "--batch", "1", "--resolution", "64")
RUN += ("--preset", "quick", "--retry-failed", "--json")
# Words of the doubts that name a setting.
OF_SETTINGS = ("the network changed", "the setting", "threads computed", "process could use only")
OF_SETTINGS += ("during the round",)  # CPUs, which another process may have changed
SWEEP_S = 900.0


class Seen(NamedTuple):
    """What a run says of a network: its verdict, why it failed, its samples block by block.

    The verdict is DISTURBED where the only doubts are of other programs. `is_silent`: the network
    computed with another setting than that of its case, and no doubt names a setting.
    """

    verdict: str | None
    failure: str
    blocks: list[list[float]]
    is_silent: bool = False

    @property
    def samples(self) -> list[float]:
        return [sample for block in self.blocks for sample in block]


def measured(
    folder: Path, pairs: list[Pair], rounds: int = 1, threads: int = 1
) -> list[list[tuple[str, str]]]:
    """Measure networks and their twins in one sitting; return what is wrong with each pair."""
    names = [f"{role}{number}.py" for number in range(len(pairs)) for role in ("net", "twin")]
    models = ",".join(f"{name}:net" for name in names)
    counts = ("--rounds", str(rounds), "--threads", str(threads))
    sweep = Sweep(folder, *RUN, "--models", models, *counts)
    for name, source in zip(
        names, (text for p in pairs for text in (p.attack, p.twin)), strict=True
    ):
        (folder / name).write_text(source)
    code = sweep.finish(SWEEP_S)
    said, records = sweep.said(), [record_of(line) for line in lines_of(sweep.data())]
    sweep.assert_nothing_runs()
    last = said.splitlines()[-1] if said.strip() else ""
    if code not in (0, 1) or not last.startswith("["):
        kind = "traceback" if "Traceback" in said else "lost"
        return [[(kind, f"exit code {code}: {said[-200:]!r}")] for _ in pairs]
    seen = _seen(json.loads(last), records, folder)
    whole = _of_run(said, records)
    return [
        [*whole, *judged(pair.kind, *(seen.get(f"{role}{n}.py") for role in ("net", "twin")))]
        for n, pair in enumerate(pairs)
    ]


def _seen(outcome, records, folder):
    """Return what is known of each file."""
    found = {}
    for each in outcome:
        own = [r for r in records if r and r.get("case_id") == each["case_id"]]
        rounds = [r for r in own if r["type"] == "measurement"]
        calm = [r for r in rounds if not r.get("disturbed_by")]
        blocks = [block for r in calm or rounds for block in _blocks(r)]
        failure = each["failure"]
        text = f"{failure['stage']}: {failure['error']}" if failure else ""
        file = each["case"]["model"].partition(":")[0]
        is_named = any(word in doubt for word in OF_SETTINGS for doubt in each["doubts"])
        is_silent = (folder / (file + KEPT)).exists() and not is_named
        found[file] = Seen(verdict_of(each), text, blocks, is_silent)
    return found


def verdict_of(each):
    """Return the verdict on a case in the JSON of a run; DISTURBED for doubts of load alone.

    That a case was measured in one process is no doubt here: most sweeps have one round.
    """
    doubts = [text for text in each["doubts"] if ONE_PROCESS not in text]
    if each["doubts"] and not doubts:
        return "VALID"
    of_load = bool(doubts) and all(any(word in text for word in OF_LOAD) for text in doubts)
    return DISTURBED if of_load else each["verdict"]


def _blocks(record):
    samples = iter(record["samples_s"])
    return [[next(samples) for _ in range(size)] for size in record["block_sizes"]]


def _of_run(said, records):
    """What is wrong with a run as a whole."""
    found = []
    if "Traceback" in said:
        found.append(("traceback", said[said.index("Traceback") :][-200:]))
    if any("\x1b" in line for line in said.splitlines()):
        found.append(("wrong", "a control character on the terminal"))
    if None in records:
        found.append(("lost", "a line that is no record"))
    rounds = [(r["case_id"], r["round"]) for r in records if r and r["type"] == "measurement"]
    if len(set(rounds)) < len(rounds):
        twice = [key for key, count in collections.Counter(rounds).items() if count > 1]
        found.append(("doubled", f"rounds {twice}"))
    return found


def judged(kind: str, net: Seen | None, twin: Seen | None) -> list[tuple[str, str]]:
    """Return what is wrong with a network of this kind, beside its honest twin."""
    if net is None or twin is None or not (net.blocks or net.failure):
        return [("lost", f"{kind}: no record")]
    found = [("wrong", f"{kind}: the twin failed at {twin.failure}")] if twin.failure else []
    if net.failure:
        outcome = "wrong" if KINDS[kind].is_honest else "refused"
        return [*found, (outcome, f"{kind}: failed at {net.failure}")]
    if len(net.samples) > MOST_SAMPLES:
        found.append(("wrong", f"{kind}: a record of {len(net.samples)} samples"))
    if net.is_silent:
        found.append(("wrong", f"{kind}: {net.verdict}, and no doubt names the setting"))
    if net.verdict not in ("VALID", DISTURBED):
        return found
    if KINDS[kind].must_be_named:
        found.append(("wrong", f"{kind}: {net.verdict}"))
    if max(net.samples) > LONG_S:
        found.append(("wrong", f"{kind}: {net.verdict} {LONG} {max(net.samples):.2g} s"))
    limit = LIMIT if net.verdict == twin.verdict == "VALID" else LIMIT_OF_DISTURBED
    if not twin.failure and (ratio := ratio_of(net, twin)) > limit:
        found.append(("wrong", f"{kind}: {net.verdict}, {RATIO} {ratio:.2f}"))
    return found


RATIO, LONG = "off from its twin by a factor of", "with a call of"


def is_by_time_alone(findings: list[tuple[str, str]]) -> bool:
    """Whether only times are wrong that a busy machine may cause too.

    These are the ratio of latencies, and a long call where other programs are on record.
    """
    wrong = [detail for outcome, detail in findings if outcome == "wrong"]
    return bool(wrong) and all(RATIO in each or f"{DISTURBED} {LONG}" in each for each in wrong)


def ratio_of(net: Seen, twin: Seen) -> float:
    """Return the median ratio of latencies over neighbouring blocks, at least 1."""
    pairs = zip(net.blocks, twin.blocks, strict=False)
    ratio = statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs)
    return max(ratio, 1 / ratio)
