"""Make records without measuring."""

from collections.abc import Iterable

import msgspec

from bench.records import (
    Case,
    Check,
    Chip,
    Conditions,
    Cost,
    Environment,
    Evaluation,
    Failure,
    Measurement,
    Neighbour,
    Stages,
)

CASE = Case("resnet50", "plain")
CHIP = Chip(device="cpu", kind="cpu", name="Test Chip 9000", threads=2, facts={"memory_gib": 8})
FAKE_CHIP = msgspec.structs.replace(CHIP, device="fake", name="fake")
ENVIRONMENT = Environment(
    run_id="run",
    environment_id="env",
    chip=CHIP,
    versions={"torch": "2.0", "bench": "0"},
    state={},
    started_at="2026-01-01T00:00:00+00:00",
    command="bench run",
)
GPU = Chip("cuda", "gpu", "Test GPU", threads=8, facts={})

# Conditions of a round, by the load of other processes: VALID, SUSPECT, SUSPECT and INVALID.
QUIET = Conditions(
    own_cpu_s=1.0, busy_cpu_s=1.0, stolen_cpu_s=0.0, throttled_s=0.0, wall_s=1.0, cpus=2
)
BUSY = msgspec.structs.replace(QUIET, busy_cpu_s=1.26)
BUSIER = msgspec.structs.replace(QUIET, busy_cpu_s=1.4)
TAKEN = msgspec.structs.replace(QUIET, busy_cpu_s=2.0)
FULLY_USED = Conditions(wall_s=1, cpus=2, own_cpu_s=2, busy_cpu_s=2, stolen_cpu_s=0)
OBSERVED = {"conditions": QUIET, "block_compute_s": [1e-3], "block_memory_s": [1e-3]}
NEIGHBOUR = Neighbour("a1", "nets/spin.py:net", share=0.45)  # it disturbed a round
SPREAD = (0.95, 1.0, 1.06)
EVIL = "timm/<script>alert(1)</script>"  # a name that a browser would run


def measurement(case: Case, round_number: int = 1, **changes: object) -> Measurement:
    """Return a round of `case` with three samples in one block; `changes` are its other fields."""
    samples = changes.get("samples_s", [0.010, 0.012, 0.011])
    fields: dict[str, object] = {
        "run_id": "run",
        "case_id": case.case_id,
        "case": case,
        "environment_id": "env",
        "round": round_number,
        "samples_s": samples,
        "block_sizes": [len(samples)],  # type: ignore[arg-type]
        "block_starts_s": [1.0],
        "stages_s": Stages(build=0.1, first=0.02, timed=0.033),
        "cost": Cost(params=25_557_032, macs=4_089_184_256, weight_bytes=102_000_000),
        "stopped_by": "round",
        "discarded": 3,
        "share_s": 0.5,
        "structure": case.name,
        "check": Check(),
        "preset": "quick",
    }
    return Measurement(**{**fields, **changes})  # type: ignore[arg-type]


def processes(*pairs: tuple[int | None, float], **changes: object) -> list[Measurement]:
    """Return rounds of CASE with these (page faults a call, milliseconds)."""
    return [
        measurement(
            CASE,
            number,
            samples_s=[ms / 1e3] * 4,
            conditions=Conditions(page_faults=None if faults is None else 4 * faults),
            **changes,
        )
        for number, (faults, ms) in enumerate(pairs, 1)
    ]


def timed(
    model: str,
    form: str = "plain",
    ms: float = 10.0,
    *,
    spread: Iterable[float] = SPREAD,
    round_number: int = 1,
    **changes: object,
) -> Measurement:
    """Return a round with one sample per factor of `spread`: `ms` times the factor.

    `changes` are fields of the case or of the measurement; the case has two threads if not given.
    """
    of_case = {name: changes.pop(name) for name in Case.__struct_fields__ if name in changes}
    case = Case(model, form, **{"threads": 2, **of_case})  # type: ignore[arg-type]
    samples_s = [ms / 1e3 * factor for factor in spread]
    return measurement(case, round_number, **{"samples_s": samples_s, **changes})


def rounds(
    model: str,
    form: str = "plain",
    latencies_ms: Iterable[float] = (10.0,),
    *,
    last: str = "round",
    **changes: object,
) -> list[Measurement]:
    """Return one round per latency; `last` is the `stopped_by` of the last round."""
    found = [
        timed(model, form, ms, round_number=number, **changes)
        for number, ms in enumerate(latencies_ms, 1)
    ]
    ended = changes.get("stopped_by", last)
    return [*found[:-1], msgspec.structs.replace(found[-1], stopped_by=ended)]


def three(record: Measurement) -> list[Measurement]:
    """Return three rounds like `record`: a case of one process would be SUSPECT for that alone."""
    return [msgspec.structs.replace(record, round=number) for number in (1, 2, 3)]


def failure(case: Case, **changes: object) -> Failure:
    """Return a failure of `case` at the stage `check`; `changes` are its other fields."""
    fields: dict[str, object] = {
        "run_id": "run",
        "case_id": case.case_id,
        "case": case,
        "environment_id": "env",
        "round": 1,
        "stage": "check",
        "error": "CheckError",
        "message": "output is not finite",
    }
    return Failure(**{**fields, **changes})  # type: ignore[arg-type]


def evaluation(case: Case, top1: int, **changes: object) -> Evaluation:
    """Return an evaluation in which `top1` of 200 images are right; `changes` are other fields."""
    fields: dict[str, object] = {
        "run_id": "run",
        "case_id": case.case_id,
        "case": case,
        "environment_id": "env",
        "dataset": "toys",
        "images_hash": "hash",
        "images": 200,
        "classes": 10,
        "crop_share": 0.875,
        "interpolation": "bicubic",
        "top1": top1,
        "top5": None,
        "weights_hash": "weights",
    }
    return Evaluation(**{**fields, **changes})  # type: ignore[arg-type]
