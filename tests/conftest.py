"""Fixtures of all tests: folders of their own, one thread, and `bench` as a command."""

import functools
import gc
import os
import sys
import tempfile
from pathlib import Path

import cpuinfo
import pytest
from support import command

from bench.backends import of_program
from bench.fleet.results import Results
from bench.models import zoo

LONG = [
    "test_fleet.py",
    *("test_profiler.py", "test_exporter.py", "test_export.py", "test_contributing.py"),
    *("test_cpu_run.py", "test_kills.py", "test_user.py", "test_selfcheck.py", "test_lock.py"),
]
NO_TIMM = "raise ImportError('no timm here')"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the files that take longest go first, so that no worker is alone with one."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish() -> None:
    """The garbage collector skips what is imported by now: exporters let it collect each time."""
    gc.collect()
    gc.freeze()


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
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call `main` in an empty folder, in this process: (arguments) -> command.Done."""
    monkeypatch.setattr(zoo, "_ask_timm", command.ask_timm)
    return functools.partial(command.call, cwd=tmp_path)


@pytest.fixture
def bench_process(tmp_path: Path):
    """Run `python -m bench` in an empty folder: (arguments) -> CompletedProcess."""
    return functools.partial(command.start, cwd=tmp_path)


@pytest.fixture
def without_timm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that start have no timm, whose import takes them as long as all else together."""
    folder = tmp_path_factory.mktemp("no-timm")
    (folder / "timm.py").write_text(NO_TIMM)
    monkeypatch.syspath_prepend(folder)
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), known])))


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have no pictures, which take most of their time."""
    from bench import report

    monkeypatch.setattr(report, "FIGURES", ())


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


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory):
    """Return a browser for the tests of pages."""
    from support import browser

    with browser.started(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def results(tmp_path: Path):
    """The stores of a fleet's machines below an empty folder, as its client has them."""
    with Results(tmp_path, lambda record, rounds: None) as found:
        yield found
