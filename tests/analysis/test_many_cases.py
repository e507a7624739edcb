"""`bench compare` of many cases: its work grows as the number of cases, not as its square."""

import sys

import pytest
from support.attack.environment_files import many_cases

from bench.report import comparison


@pytest.fixture
def compared(bench, tmp_path, monkeypatch):
    """Compare folders of so many cases: the number -> (calls of functions, bars per picture)."""
    drawn = []
    monkeypatch.setattr(comparison, "forest", lambda bars, *_: drawn.append(len(bars)) or b"PNG")

    def compared(count):
        for folder, factor in (("a", 1), ("b", 1.1)):
            chip = tmp_path / str(count) / folder / "chip"
            chip.mkdir(parents=True)
            (chip / "results.jsonl").write_bytes(many_cases(count, factor))
        drawn.clear()
        done, calls = counted(lambda: bench("compare", f"{count}/a", f"{count}/b", "--to", "to"))
        assert done.returncode == 0, done.stderr
        return calls, list(drawn)

    return compared


def counted(function):
    """What the function returns, and how many functions of Python and of C were called."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        return function(), calls
    finally:
        sys.setprofile(None)


def test_twice_as_many_cases_take_at_most_about_twice_the_calls(compared):
    compared(10)  # imports, and fills caches
    few, bars = compared(60)
    many, more_bars = compared(120)
    assert (bars, more_bars) == ([60], [100, 20])
    assert many < 2.2 * few, (few, many)
