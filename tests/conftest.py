"""Fixtures of all tests: folders of their own, one thread, and `bench` as a command."""

import functools
import sys
import tempfile
from pathlib import Path

import cpuinfo
import pytest
from support import command

from bench.backends import of_program

LONG = ("test_cpu_run.py", "test_kills.py", "test_user.py", "test_selfcheck.py", "test_lock.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the files that take longest go first, so that no worker is alone with one."""
    items.sort(key=lambda item: item.path.name not in LONG)


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


@pytest.fixture(autouse=True, scope="session")
def one_look_at_the_cpu():
    """cpuinfo starts processes for more than a second to find what stays the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpuinfo, "get_cpu_info", functools.cache(cpuinfo.get_cpu_info))
        yield


@pytest.fixture
def bench(tmp_path: Path):
    """Call `main` in an empty folder, in this process: (arguments) -> command.Done."""
    return functools.partial(command.call, cwd=tmp_path)


@pytest.fixture
def bench_process(tmp_path: Path):
    """Run `python -m bench` in an empty folder: (arguments) -> CompletedProcess."""
    return functools.partial(command.start, cwd=tmp_path)


@pytest.fixture
def without_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile no file on which threads are counted: it would take longer than most tests."""
    monkeypatch.setattr(of_program.OfProgram, "make_probe", lambda self: None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test alone for exported networks."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder
