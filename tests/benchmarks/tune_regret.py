"""How much slower than the best of all combinations `bench tune` is, on this machine: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/tune_regret.py FOLDER

MobileOne-S0 at 128 pixels: first a tuning, then three rounds of every combination of the same
forms, backends, allocators and huge pages with all threads, then the winners of both in turns, in
new processes (half an hour, below FOLDER; what is complete is not measured again). The program
prints how much slower the winner of the tuning is, and exits with 1 if that is more than 2 % for
sure. It also prints what a tuner would take that times twenty calls of each candidate in one
process, and its loss.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from support.sittings import measured

from bench.analysis.settle import Question, answer
from bench.models.naming import selector
from bench.records import Case, Measurement, Recipe
from bench.tune.ranking import latencies

NETWORK = "timm/mobileone_s0"
BACKENDS = "eager,channels_last,onnxruntime,openvino"
TOGETHER = ("--resolution", "128", "--preset", "quick")
TUNE = ("tune", NETWORK, "--backend", BACKENDS, "--for", "8m", *TOGETHER)
EVERYTHING = (
    *("run", "--models", NETWORK, "--backend", BACKENDS, "--batch", "1", "--rounds", "3"),
    *("--allocator", "default,arena", "--huge-pages", "default,madvise,never", *TOGETHER),
)
CALLS = 20
GOOD_ENOUGH = 1.02


def by_twenty_calls(rounds: Sequence[Measurement]) -> dict[Case, float]:
    """The mean of the first calls of the first process of each case, in seconds."""
    first = {each.case: each for each in rounds if each.round == 1}
    return {case: statistics.fmean(each.samples_s[:CALLS]) for case, each in first.items()}


def fastest(seconds: Mapping[Case, float]) -> Case:
    """The case with the smallest latency."""
    return min(seconds, key=seconds.__getitem__)


def recipe_in(folder: Path) -> Path:
    """The recipe that the tuning has written."""
    (found,) = folder.glob("*/*.recipe.json")
    return found


def main(folder: Path) -> int:
    """Measure, print, and return the exit code."""
    measured(folder / "tuning", TUNE)
    everything = measured(folder / "everything", EVERYTHING).recorded.records
    rounds = [each for each in everything if isinstance(each, Measurement)]
    seconds, by_calls = latencies(rounds), by_twenty_calls(rounds)
    chosen = msgspec.json.decode(recipe_in(folder / "tuning").read_bytes(), type=Recipe)
    best, of_calls = fastest(seconds), fastest(by_calls)
    print(f"{len(seconds)} combinations, the fastest: {selector(best)}")
    loss = seconds[of_calls] / seconds[best]
    print(f"by {CALLS} calls: {selector(of_calls)}, {loss:.3f} times as long in three rounds")
    print(f"by bench tune: {selector(chosen.case)}")
    if chosen.case == best:
        return 0
    other = folder / "best.json"
    other.write_bytes(msgspec.json.encode(msgspec.structs.replace(chosen, case=best)))
    models = ",".join(f"{NETWORK}@tuned:{each}" for each in (other, recipe_in(folder / "tuning")))
    run = ("run", "--models", models, "--rounds", "3", *TOGETHER)
    question = f"{best.case_id} < {chosen.case.case_id}"
    settle = ("settle", "--for", "6m", "--question", question)
    both = measured(folder / "final", run, settle).recorded
    found = answer(
        Question(best, chosen.case), *(both.history(each).rounds for each in (best, chosen.case))
    )
    print(f"tune / best: {found.ratio} {found.finding}")
    return int(found.ratio is None or found.ratio.low > GOOD_ENOUGH)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder))
