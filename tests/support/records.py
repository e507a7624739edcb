"""Records made without measuring."""

from bench.records import (
    Case,
    Check,
    Chip,
    Cost,
    Environment,
    Failure,
    Measurement,
    Stages,
)

CHIP = Chip(device="cpu", kind="cpu", name="Test Chip 9000", threads=2, facts={"memory_gib": 8})
ENVIRONMENT = Environment(
    run_id="run",
    environment_id="env",
    chip=CHIP,
    versions={"torch": "2.0", "bench": "0"},
    state={},
    started_at="2026-01-01T00:00:00+00:00",
    command="bench run",
)


def measurement(case: Case, round_number: int = 1, **changes: object) -> Measurement:
    """A round of `case` with three samples, in one block unless `changes` say otherwise."""
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
        "structure": "abc",
        "check": Check(),
        "preset": "quick",
    }
    return Measurement(**{**fields, **changes})  # type: ignore[arg-type]


def failure(case: Case, **changes: object) -> Failure:
    """A failure of `case` at `check`."""
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
