"""The wheel, installed without torch in an environment of its own, works from another folder."""

import os
import subprocess
import sys

import pytest
from support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.packages

HEAVY = ("torch", "torchvision", "timm")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `bin` folder of an environment with the wheel and its light dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    python = str(folder / "env" / "bin" / "python")
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    build = (*pip, "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(ROOT))
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light = [line for line in project["dependencies"] if not line.startswith(HEAVY)]
    subprocess.run([*pip, "install", "--quiet", *light], check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
    return folder / "env" / "bin"


def run(installed, tmp_path, *arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [installed / "bench", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_suites_and_data_are_inside(installed, tmp_path):
    smoke = ("run", "--suite", "smoke", "--device", "fake", "--out", "out", "--rounds", "1")
    done = run(installed, tmp_path, *smoke)
    assert done.returncode == 0, done.stderr
    done = run(installed, tmp_path, "report", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "fake" / "figure1.png").stat().st_size > 10_000
    assert "table6" in run(installed, tmp_path, "list", "suites").stdout


def test_without_torch_the_cpu_says_what_to_install(installed, tmp_path):
    done = run(installed, tmp_path, "run", "--models", "resnet50", "--batch", "1")
    assert done.returncode == 3
    assert "No module named" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_works_without_torch_and_says_so(installed, tmp_path):
    done = run(installed, tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    assert "lack  torch: not installed" in done.stdout
