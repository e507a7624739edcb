"""Ctrl-C ends a run even where the code that it interrupts discards the exception."""

import contextlib
import io
import os
import signal
import typing

import pytest
from rich.console import Console
from support.records import measurement

from bench.cli import interrupts
from bench.cli.live_table import LiveTable
from bench.cli.plain_lines import PlainLines
from bench.cli.tracker import Tracker
from bench.harness.plan import PRESETS
from bench.harness.scheduler.estimate import CaseProgress
from bench.records import Case
from bench.storage import reader
from bench.text import to_json

CASE = Case("mobilenetv3_l", "plain")


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    interrupts.heed()
    yield
    interrupts.heed()  # forget the signals: later tests of this process call `check`
    for number, handler in before.items():
        signal.signal(number, handler)


def displays():
    for display in (PlainLines, LiveTable):
        tracker = Tracker(PRESETS["quick"], {CASE: CaseProgress(0.1)})
        yield display(Console(file=io.StringIO()), tracker)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_whose_exception_was_discarded_ends_the_run_after_the_block(number):
    for display in displays():
        display.started([CASE], [])
        display.sampled(CASE, [], [0.1])
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    for display in displays():
        display.started([CASE], [])
        with pytest.raises(KeyboardInterrupt):
            display.sampled(CASE, [], [0.1])


def test_only_the_first_signal_raises():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    for number in interrupts.SIGNALS:
        os.kill(os.getpid(), number)


def test_a_signal_that_the_caller_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.heed()
    os.kill(os.getpid(), signal.SIGINT)
    interrupts.check()


def test_a_record_is_decoded_without_calls_of_python(monkeypatch):
    """An exception of a signal in such a call would be discarded by msgspec."""
    hashed = []
    alias = type(typing.Annotated[int, 1])
    monkeypatch.setattr(alias, "__hash__", lambda self: hashed.append(self) or id(self))
    reader.decode(to_json(measurement(CASE)).encode())
    assert not hashed
