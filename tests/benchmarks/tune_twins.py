"""How often `bench tune` finds a gain where there is none, on this machine: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/tune_twins.py FOLDER

Five tunings of two minutes, each into its own folder below FOLDER. All candidates are the same
network: names under which timm knows ResNet18. The program prints each answer, and exits with 1 if
one of them says FASTER, or has no answer.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from support import command

from bench.records import Case
from bench.tune import search, tuner
from bench.tune.space import WAVES, Space, Wave

TUNINGS = 5
NETWORK = "timm/resnet18"
TAGS = ("a1_in1k", "a2_in1k", "a3_in1k", "fb_ssl_yfcc100m_ft_in1k", "gluon_in1k", "tv_in1k")
TUNE = ("tune", NETWORK, "--backend", "eager", "--for", "2m", "--json")


def twins(space: Space, ranked: Sequence[Case]) -> list[Case]:
    """The network under its other names."""
    return [msgspec.structs.replace(ranked[0], model=f"{NETWORK}.{tag}") for tag in TAGS]


def main(folder: Path) -> int:
    """Tune, print, and return the exit code."""
    answers = []
    waves = (WAVES[0], Wave("the same network", twins))
    with pytest.MonkeyPatch.context() as patch:
        for module in (search, tuner):
            patch.setattr(module, "WAVES", waves)
        for number in range(1, TUNINGS + 1):
            out = folder.absolute() / f"twins-{number}"
            out.mkdir(parents=True, exist_ok=True)
            done = command.call(*TUNE, "--out", str(out), cwd=out)
            if done.returncode:
                sys.exit(done.stderr)
            answers.append(json.loads(done.stdout))
            print(answers[-1]["finding"], answers[-1]["answer"][0], flush=True)
    found = [each["finding"] for each in answers if each["candidate"]]
    return int("FASTER" in found or len(found) < TUNINGS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder))
