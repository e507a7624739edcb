"""The sessions of noxfile.py for a GPU and for a board."""

import importlib.util
import subprocess
import sys

import pytest
from support.paths import ROOT
from support.requirements import needed_by
from typer.main import get_command

from bench.cli.entry_point import app_of
from bench.devices import installation
from bench.diagnostics import doctor

SPEC = importlib.util.spec_from_file_location("sessions", ROOT / "noxfile.py")
noxfile = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(noxfile)  # once: nox registers its sessions

VENDORS = {"torch", "torchvision"}
HERE = '[{"name": "cuda", "available": true}, {"name": "orin", "available": true}]'


class Session:
    """Keeps what a session installs and runs."""

    posargs = ()

    def __init__(self, numpy=""):
        self.installed, self.ran, self.numpy = [], [], numpy

    def install(self, *arguments):
        self.installed.append(arguments)

    def run(self, *command, **_):
        self.ran.append(command)
        return self.numpy if noxfile.TRY_NUMPY in command else HERE


@pytest.fixture
def called(monkeypatch):
    """A function that calls a session of noxfile.py."""
    monkeypatch.chdir(ROOT)

    def call(name, **options):
        session = Session(**options)
        getattr(noxfile, name)(session)
        return session

    return call


@pytest.mark.parametrize("name", ["bench_orin", "first_contact_orin"])
def test_a_session_on_a_board_installs_no_torch(called, name):
    session = called(name)
    assert session.installed
    assert session.ran
    alone = [each for each in session.installed if "--no-deps" in each]
    assert [each[1:] for each in alone] == [("timm", "-e", ".")]
    (light,) = [each for each in session.installed if each not in alone]
    assert "scipy" in needed_by(light)
    assert not VENDORS & needed_by(light)
    assert needed_by(["timm"]) >= VENDORS  # so it is installed alone
    assert {*installation.NEEDED_BY_TIMM} <= {*light}


@pytest.mark.parametrize("name", ["bench_orin", "first_contact_orin"])
def test_a_torch_that_was_built_on_numpy_1_gets_it(called, name):
    installed = called(name).installed
    assert called(name, numpy=f"a warning\n{noxfile.TOO_NEW}\n").installed == [
        *installed,
        (doctor.FOR_OLDER_TORCH,),
    ]


@pytest.mark.parametrize(
    ("body", "is_too_new"),
    [
        ("raise RuntimeError('Numpy is not available')", True),
        ("return [0.0]", False),
    ],
)
def test_only_a_torch_that_cannot_make_arrays_says_that_numpy_is_too_new(
    tmp_path, body, is_too_new
):
    tensor = f"class Tensor:\n    def numpy(self):\n        {body}\n"
    (tmp_path / "torch.py").write_text(f"{tensor}def zeros(size):\n    return Tensor()\n")
    command = [sys.executable, "-c", noxfile.TRY_NUMPY]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (noxfile.TOO_NEW in done.stdout) == is_too_new
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1  # accepted: `bench` says what is missing
    assert noxfile.TOO_NEW not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["zoo", "paper_zoo", "attack"])
def test_a_session_of_a_long_program_starts_it(called, name):
    (command,) = called(name).ran
    assert command[0] == noxfile.PYTHON
    assert (ROOT / command[1]).is_file()


@pytest.mark.parametrize("device", ["cuda", "orin"])
def test_a_first_contact_is_one_call_of_selfcheck(called, device):
    name = {"cuda": "first_contact_gpu", "orin": "first_contact_orin"}[device]
    (command,) = [each for each in called(name).ran if noxfile.TRY_NUMPY not in each]
    assert command[1:4] == ("-m", "bench", "selfcheck")
    context = (
        get_command(app_of()).commands["selfcheck"].make_context("selfcheck", list(command[4:]))
    )
    assert (context.params["device"], context.params["hardware"]) == (device, True)
    assert not context.params["every"]


def test_oldest_installs_the_lowest_versions_on_the_oldest_python(called):
    session = called("oldest")
    (installed,) = session.installed
    assert installed == ("--resolution", "lowest-direct", "-e", ".[dev]")
    assert f'requires-python = ">={noxfile.oldest.python}"' in (ROOT / "pyproject.toml").read_text()
    assert noxfile.oldest.venv_backend == "uv"  # pip resolves to the newest versions alone
    (command,) = session.ran
    assert command[0] == "pytest"  # of that environment
