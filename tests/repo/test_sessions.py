"""The sessions of noxfile.py for a GPU and for a board."""

import importlib.util

import pytest
from support.paths import ROOT
from support.requirements import needed_by
from typer.main import get_command

from bench.cli.entry_point import app
from bench.devices import installation

SPEC = importlib.util.spec_from_file_location("sessions", ROOT / "noxfile.py")
noxfile = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(noxfile)  # once: nox registers its sessions

VENDORS = {"torch", "torchvision"}
HERE = '[{"name": "cuda", "available": true}, {"name": "orin", "available": true}]'


class Session:
    """Keeps what a session installs and runs."""

    posargs = ()

    def __init__(self):
        self.installed, self.ran = [], []

    def install(self, *arguments):
        self.installed.append(arguments)

    def run(self, *command, **_):
        self.ran.append(command)
        return HERE


@pytest.fixture
def called(monkeypatch):
    """A function that calls a session of noxfile.py."""
    monkeypatch.chdir(ROOT)

    def call(name):
        session = Session()
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


@pytest.mark.parametrize("device", ["cuda", "orin"])
def test_a_first_contact_is_one_call_of_selfcheck(called, device):
    name = {"cuda": "first_contact_gpu", "orin": "first_contact_orin"}[device]
    (command,) = called(name).ran
    assert command[1:4] == ("-m", "bench", "selfcheck")
    context = get_command(app).commands["selfcheck"].make_context("selfcheck", list(command[4:]))
    assert (context.params["device"], context.params["hardware"]) == (device, True)
    assert not context.params["every"]
