"""What several test files need: records without measuring, and `bench` as a command."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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


@pytest.fixture(autouse=True, scope="session")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory):
    """The locks of devices are there: no run of anybody else's is in the way, nor is ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests that compute here share the CPUs with others, whom threads that spin would hold up."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def bench(tmp_path: Path):
    """Run `python -m bench` in an empty folder: (arguments) -> CompletedProcess."""

    def call(*arguments: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call
