"""A fleet whose workers have Pythons of their own, with packages from the index."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.fleets import Fleet, by_round, measured
from support.paths import ROOT

from bench.records import Environment
from bench.storage import reader

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.packages

VERSIONS = ("3.10", "3.12")
# What a worker with the simulated device imports.
NEEDED = ("msgspec", "numpy", "nvidia-ml-py", "psutil", "py-cpuinfo", "rich", "scipy", "typer")
SUITE = """
models = ["resnet50", "swin_t", "convnext_t"]
batch = [1, 2, 4, 8]
rounds = 3
pace_s = 0.05
"""


def interpreter(version):
    """Return a Python of this version. Skips the test where none is installed."""
    installed = Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")
    for found in [*installed, shutil.which(f"python{version}")]:
        command = [found or "false", "-c", "import venv"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip(f"no Python {version} is installed")


def environment(folder, version):
    """Return the Python of a new environment with what a worker needs, without torch."""
    subprocess.run([interpreter(version), "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["fleet"]]
    wanted = (*NEEDED, "tomli", "cryptography", "distributed")
    chosen = [line for line in lines if line.startswith(wanted)]
    pip = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python)
    subprocess.run([*pip, *chosen], check=True)
    return python


def test_three_workers_with_other_pythons_share_a_table(tmp_path):
    pythons = {version: environment(tmp_path / version, version) for version in VERSIONS}
    (tmp_path / "suite.toml").write_text(SUITE)
    with Fleet(tmp_path, pythons) as fleet:
        fleet.scheduler()
        fleet.workers(*VERSIONS, "own")
        fleet.client("--suite", "suite.toml")
        fleet.await_text("client", "round 2")
        fleet.kill("own")
        code, said = fleet.wait("client")
    assert code == 0, said
    assert len(by_round(measured(tmp_path / "out"))) == 3 * 4 * 3
    records, _ = reader.read(tmp_path / "out" / "fake" / reader.FILE_NAME)
    runs = [record for record in records if isinstance(record, Environment)]
    assert len({run.environment_id for run in runs}) == 1
    used = {".".join(run.versions["python"].split(".")[:2]) for run in runs}
    assert used >= {*VERSIONS}
