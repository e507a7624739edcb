"""Workers with other Pythons, and without torch, in a fleet with this one."""

import subprocess
import sys

import pytest
from support import pythons
from support.fleets import Fleet, by_round, measured
from support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.packages

OTHERS = ("3.10", "3.12")
HEAVY = ("torch", "timm", "matplotlib", "pandas", "plotly", "pillow", "tabulate", "setuptools")


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """The Python of a new environment with bench and its extra `fleet`, by version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light = [line for line in project["dependencies"] if not line.startswith(HEAVY)]
    light += project["optional-dependencies"]["fleet"]
    found = {}
    for version in OTHERS:
        if not (python := pythons.find(version)):
            pytest.skip(f"no Python {version} here")
        folder = tmp_path_factory.mktemp("python")
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        own = str(folder / "bin" / "python")
        pip = (own, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        subprocess.run([*pip, *light], check=True)
        subprocess.run([*pip, "--no-deps", str(ROOT)], check=True)
        found[version] = own
    return found


def test_three_workers_with_several_pythons_measure_one_table(environments, tmp_path):
    with Fleet(tmp_path) as fleet:
        fleet.scheduler()
        fleet.await_text("scheduler", "tls://")
        workers = {**environments, "here": sys.executable}
        for name, python in workers.items():
            fleet.worker(f"worker-{name}", python=python)
        for name in workers:
            fleet.await_text(f"worker-{name}", "connected")
        words = ("--models", "resnet50,swin_t", "--batch", "1,2,3,4,5,6")
        done = fleet.run(*fleet.client_words(*words))
        assert (done.returncode, done.stderr) == (0, "")
        assert len(by_round(measured(tmp_path / "out"))) == 2 * 6 * 3
        used = [name for name in workers if list((tmp_path / f"worker-{name}").glob("*/results*"))]
        assert sorted(used) == sorted(workers)
