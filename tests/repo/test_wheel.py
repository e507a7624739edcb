"""The wheel, installed without torch into a new environment, works in any folder."""

import os
import subprocess
import sys
import zipfile
from email.parser import HeaderParser

import pytest
from support.paths import ROOT

from bench import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.packages

HEAVY = ("torch", "torchvision", "timm")


PIP = ("-m", "pip", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The path of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (*PIP, "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(ROOT))
    subprocess.run([sys.executable, *build], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` folder of an environment with the wheel and its light dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    pip = (str(folder / "env" / "bin" / "python"), *PIP)
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


def test_the_distribution_is_backbone_bench_with_the_version_of_the_module(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = HeaderParser().parsestr(archive.read(path).decode())
        entries = archive.read(path.replace("METADATA", "entry_points.txt")).decode()
    assert (metadata["Name"], metadata["Version"]) == ("backbone-bench", __version__)
    assert "bench = bench.cli:main" in entries


def test_the_wheel_holds_each_data_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = [path for path in (ROOT / "bench").rglob("*") if path.is_file()]
    kinds = {".csv", ".css", ".js", ".html", ".mplstyle", ".toml"}
    expected = {str(path.relative_to(ROOT)) for path in files if path.suffix in kinds}
    expected |= {f"bench/suites/{path.name}" for path in (ROOT / "suites").glob("*.toml")}
    assert {"bench/paper/data/zoo.csv", "bench/report/figures/bench.mplstyle"} <= expected
    assert expected <= names


def test_version_works_without_torch(installed, tmp_path):
    assert run(installed, tmp_path, "--version").stdout == f"bench {__version__}\n"


def test_installed_suites_and_data_work(installed, tmp_path):
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
