"""Each dependency has wheels for the systems of a Jetson Orin: no board has to build one."""

import subprocess
import sys
import zipfile

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.packages

# JetPack -> its Python, and the platform of its C library: Ubuntu 22.04 and 24.04.
SYSTEMS = {"6": ("3.10", "aarch64-manylinux_2_35"), "7": ("3.12", "aarch64-manylinux_2_39")}


def resolve(python, platform, *arguments):
    """Choose wheels for another machine, without a source distribution; nothing is installed."""
    target = ("--python-version", python, "--python-platform", platform, "--only-binary", ":all:")
    quiet = ("--no-python-downloads", "--no-header", "--no-annotate")
    return subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", *target, *quiet, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("jetpack", SYSTEMS)
def test_each_dependency_has_a_wheel_for_jetpack(jetpack):
    done = resolve(*SYSTEMS[jetpack], str(ROOT / "pyproject.toml"))
    assert done.returncode == 0, done.stderr
    chosen = {line.partition("==")[0] for line in done.stdout.splitlines()}
    assert {"msgspec", "scipy", "timm", "torch", "torchvision"} <= chosen
    assert ("tomli" in chosen) == (jetpack == "6")  # Python 3.11 and later read TOML themselves


def sham_wheel(folder, platform):
    """Write an empty wheel of the package `sham` for one platform."""
    with zipfile.ZipFile(folder / f"sham-1.0-cp310-cp310-{platform}.whl", "w") as wheel:
        wheel.writestr("sham-1.0.dist-info/METADATA", "Name: sham\nVersion: 1.0\n")
        wheel.writestr("sham-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: cp310-{platform}\n")
        wheel.writestr("sham-1.0.dist-info/RECORD", "")


@pytest.mark.parametrize(("machine", "exit_code"), [("aarch64", 0), ("x86_64", 1)])
def test_a_dependency_without_a_wheel_for_the_board_is_refused(tmp_path, machine, exit_code):
    sham_wheel(tmp_path, f"manylinux_2_28_{machine}")
    needed = tmp_path / "requirements.in"
    needed.write_text("sham\n")
    done = resolve(*SYSTEMS["6"], "--no-index", "--find-links", str(tmp_path), str(needed))
    assert done.returncode == exit_code, done.stderr
    assert ("no wheels with a matching platform tag" in done.stderr) == bool(exit_code)
