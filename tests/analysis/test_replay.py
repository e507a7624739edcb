"""Replays: false differences under drift, and ten kinds of planted difference, each named first."""

import math
import random

import msgspec
import pytest
from support.records import CASE, CHIP, ENVIRONMENT, QUIET, measurement

from bench.analysis.replay import Side, judge, sentence
from bench.analysis.verdict import Verdict
from bench.records import Chip

VALID = Verdict("VALID", [])
FASTER = 1.4  # a planted difference


def side(
    random_,
    *,
    factor=1.0,
    drift=0.0,
    kernels=None,
    noise=0.01,
    processes=6,
    environment=None,
    **changes,
):
    """Rounds of one sitting. Its kernels show the drift, and `kernels` times as long if given.

    `noise` is that of the kernels: the standard deviation of the log of a reading.
    """
    common = random_.gauss(0, drift)
    own = math.exp(common) * (kernels or 1.0)
    found = []
    for number in range(1, processes + 1):
        centre = 0.01 * factor * math.exp(common + random_.gauss(0, 0.03))
        samples = [centre * math.exp(random_.gauss(0, 0.02)) for _ in range(20)]
        kernel = [1e-3 * own * math.exp(random_.gauss(0, noise))]
        record = measurement(
            CASE,
            number,
            samples_s=samples,
            block_compute_s=kernel,
            block_memory_s=kernel,
            **{"conditions": QUIET, "structure": "s", **changes},
        )
        found.append(record)
    return Side(environment or ENVIRONMENT, found, VALID)


def test_of_200_replays_under_drift_at_most_a_twentieth_is_falsely_different():
    random_ = random.Random(8)
    findings = [
        judge(side(random_, drift=0.05), side(random_, drift=0.05)).finding for _ in range(200)
    ]
    assert findings.count("DIFFERENT") <= 10
    assert findings.count("REPRODUCED") > 100


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_noise_of_the_kernels_alone_hides_no_replay(drift):
    """On a shared machine, a reading of the kernels scatters by 10 %, and the latency by 3 %."""
    random_ = random.Random(8)
    findings = [
        judge(*(side(random_, drift=drift, noise=0.1) for _ in range(2))).finding
        for _ in range(200)
    ]
    assert findings.count("DIFFERENT") <= 10
    assert findings.count("REPRODUCED") > (150 if not drift else 80)


def test_without_the_drift_there_would_be_more():
    """The kernels hide the drift: then the same replays are falsely different more often."""
    random_ = random.Random(8)
    blind = []
    for _ in range(200):
        sides = [side(random_, factor=math.exp(random_.gauss(0, 0.15))) for _ in range(2)]
        blind.append(judge(*sides).finding)
    assert blind.count("DIFFERENT") > 40


def chip(**changes):
    return msgspec.structs.replace(ENVIRONMENT, chip=msgspec.structs.replace(CHIP, **changes))


def conditions(**changes):
    return msgspec.structs.replace(QUIET, **changes)


# Each planted difference: what it changes besides, as its effects do in real runs.
PLANTED = {
    "network": {"structure": "t"},
    "chip": {"environment": chip(name="Other Chip"), "kernels": FASTER},
    "power mode": {
        "environment": chip(facts={"power_mode": "15W"}),
        "kernels": FASTER,
        "conditions": conditions(highest_clock_hz=1.0e9, power_modes=["15W"]),
    },
    "versions": {"environment": msgspec.structs.replace(ENVIRONMENT, versions={"torch": "2.9"})},
    "variables of the shell": {
        "environment": msgspec.structs.replace(ENVIRONMENT, variables={"OMP_NUM_THREADS": "1"}),
        "conditions": conditions(threads_used=1.0),
    },
    "settings of the process": {"settings": {"mkldnn": False}},
    "threads": {"conditions": conditions(threads_used=1.0)},
    "load": {"conditions": conditions(busy_cpu_s=1.8), "kernels": 1.2},
    "clock": {"conditions": conditions(highest_clock_hz=1.4e9), "kernels": FASTER},
    "page faults": {"conditions": conditions(page_faults=20 * 9000)},
    "speed of the machine": {"kernels": FASTER},
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_difference_is_named_first(kind):
    random_ = random.Random(3)
    usual = conditions(
        highest_clock_hz=2.0e9, threads_used=2.0, page_faults=20, power_modes=["MAXN"]
    )
    planted = dict(PLANTED[kind])
    own = planted.pop("conditions", None)
    if own is not None:
        known = {
            name: value
            for name, value in msgspec.structs.asdict(own).items()
            if value != getattr(QUIET, name)
        }
        planted["conditions"] = msgspec.structs.replace(usual, **known)
    stored = side(random_, drift=0.02, conditions=usual, settings={"mkldnn": True})
    new = side(
        random_,
        factor=FASTER,
        drift=0.02,
        **{"conditions": usual, "settings": {"mkldnn": True}, **planted},
    )
    found = judge(stored, new)
    assert found.differences[0].kind == kind
    assert f"most likely by the {kind}" in sentence(found)
    drifted = kind == "speed of the machine"  # nothing else differs: the machine itself drifted
    assert found.finding == ("CANNOT BE TOLD" if drifted else "DIFFERENT")


def test_a_factor_that_explains_the_ratio_comes_before_versions_and_after_them_otherwise():
    random_ = random.Random(3)
    usual, half = conditions(threads_used=2.0), conditions(threads_used=1.0)
    newer = msgspec.structs.replace(ENVIRONMENT, versions={"torch": "2.9"})
    stored = side(random_, conditions=usual)
    for factor, first in ((2.0, "threads"), (6.0, "versions")):
        new = side(random_, factor=factor, conditions=half, environment=newer)
        assert judge(stored, new).differences[0].kind == first


def test_what_one_side_does_not_know_is_no_difference():
    random_ = random.Random(3)
    unknown = Chip("cpu", "", "unknown cpu", 0, {})
    bare = msgspec.structs.replace(ENVIRONMENT, chip=unknown, versions={"torch": "2.0"})
    known = chip(facts={"power_mode": "15W"})
    found = judge(
        side(random_, conditions=None, environment=bare),
        side(random_, conditions=conditions(busy_cpu_s=1.9), environment=known),
    )
    assert found.differences == []


def test_an_invalid_side_cannot_be_told_and_says_so():
    random_ = random.Random(3)
    new = side(random_)._replace(verdict=Verdict("INVALID", []))
    found = judge(side(random_), new)
    assert found.finding == "CANNOT BE TOLD"
    assert "most likely by the verdict: VALID → INVALID" in sentence(found)


@pytest.mark.parametrize(
    ("factor", "processes", "finding"),
    [(1.0, 6, "REPRODUCED"), (1.15, 3, "CANNOT BE TOLD"), (1.25, 12, "DIFFERENT")],
)
def test_reproduced_is_no_lack_of_evidence(factor, processes, finding):
    random_ = random.Random(2)
    sides = side(random_, processes=processes), side(random_, factor=factor, processes=processes)
    assert judge(*sides).finding == finding


def test_a_difference_of_speed_alone_says_that_nothing_explains_it():
    random_ = random.Random(3)
    found = judge(side(random_), side(random_, factor=2.0))
    assert found.finding == "DIFFERENT"
    assert sentence(found).endswith("nothing on record explains it")


def test_too_few_or_too_different_processes_cannot_be_told():
    random_ = random.Random(3)
    few = judge(side(random_, processes=2), side(random_))
    assert (few.finding, few.ratio) == ("CANNOT BE TOLD", None)
    assert sentence(few) == "CANNOT BE TOLD: each side needs 3 processes"
    wide = judge(side(random_), side(random_, kernels=1.6))
    assert wide.finding == "CANNOT BE TOLD"
