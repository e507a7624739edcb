"""Fixtures of all tests: folders of their own, one thread, and `bench` as a command."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


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
