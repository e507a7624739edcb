"""A template process that cannot start: it is killed, it crashes, or the system has no room."""

import os
import signal
import subprocess
import sys
import threading
import types

import pytest

from bench.devices import proof
from bench.diagnostics import doctor
from bench.diagnostics.hardware import runs
from bench.diagnostics.hardware.disturb import disturbed
from bench.diagnostics.selfcheck.faults import Hog
from bench.errors import UnavailableError, UsageError
from bench.harness.protocol.messages import Probe, Probed
from bench.harness.scheduler import template
from bench.harness.scheduler.answers import answers
from bench.harness.scheduler.child import TemplateDiedError
from bench.harness.scheduler.template import Template
from bench.models import user, zoo
from bench.process import command_for_code
from bench.records import Source

COMMAND = template.command_for_module
# Whoever runs the tests may ignore a signal, as `nohup` does, and programs inherit that.
DIES = """
import contextlib, os, signal
with contextlib.suppress(OSError):
    signal.signal({0}, signal.SIG_DFL)
os.kill(os.getpid(), {0})
"""

# An import that turns an interrupt into another error, as C extensions do.
HIDES = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    raise ImportError("initialization failed")
"""


@pytest.fixture
def dies(monkeypatch):
    """(signal, times) -> the first `times` templates die of it; returns the templates started."""

    def dies(number, times=99):
        started = []

        def command(*words):
            started.append(words)
            if len(started) > times:
                return COMMAND(*words)
            return command_for_code(DIES.format(int(number)), *words)

        monkeypatch.setattr(template, "command_for_module", command)
        return started

    return dies


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT])
def test_a_template_that_another_program_ends_while_it_starts_is_no_broken_installation(
    dies, number
):
    dies(number)
    with pytest.raises(TemplateDiedError):
        Template("fake")


def test_an_interrupt_that_an_import_would_hide_ends_the_template(monkeypatch):
    def interrupted(*words):
        program, option, code, *arguments = COMMAND(*words)
        return [program, option, f"{HIDES}\n{code}", *arguments]

    monkeypatch.setattr(template, "command_for_module", interrupted)
    with pytest.raises(TemplateDiedError):
        Template("fake")


def test_an_interrupt_while_a_template_starts_is_not_lost(monkeypatch):
    def interrupt(*words):
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # no other thread may get it
        return COMMAND(*words)

    monkeypatch.setattr(template, "command_for_module", interrupt)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Template("fake")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_a_template_that_crashes_while_it_starts_is_a_broken_installation(dies):
    dies(signal.SIGSEGV)
    with pytest.raises(UnavailableError, match="a measuring process could not start") as raised:
        Template("fake")
    assert "pip install --force-reinstall torch" in raised.value.remedy


def test_packages_that_end_the_import_of_torch_are_named(dies, monkeypatch):
    dies(signal.SIGSEGV)
    monkeypatch.setattr(user, "unreadable_packages", lambda: ["the package broken is malformed"])
    with pytest.raises(UnavailableError) as raised:
        Template("fake")
    assert raised.value.remedy.splitlines()[0] == "the package broken is malformed"


def test_questions_before_a_run_are_asked_again_when_their_template_is_ended(dies):
    started = dies(signal.SIGTERM, times=2)
    (answer,) = answers("fake", [Probe(Source(module="json", factory="loads"), 32)], 1)
    assert isinstance(answer, Probed)
    assert len(started) == 3


def test_questions_end_with_a_remedy_if_each_template_is_ended(dies):
    started = dies(signal.SIGTERM)
    with pytest.raises(UsageError, match="killed 3 times in a row"):
        answers("fake", [Probe(Source(module="json", factory="loads"), 32)], 1)
    assert len(started) == 3


@pytest.mark.parametrize(
    "start",
    [
        lambda: Template("fake"),
        lambda: zoo.timm_forms(["a_network_that_nobody_asked_for"]),
        lambda: proof.prove("Test GPU"),
        lambda: list(doctor._imports()),
        lambda: Hog().__enter__(),
        lambda: runs._in_process("fake", "tf32"),
        lambda: disturbed(types.SimpleNamespace(has_queue=True, torch_device="")).__enter__(),
    ],
)
def test_a_limit_on_processes_is_a_message(monkeypatch, start):
    def refused(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    with pytest.raises(UsageError, match=r"cannot start a .*: Resource temporarily") as raised:
        start()
    assert "ulimit -u" in raised.value.remedy
    assert len(os.listdir("/proc/self/fd") if before else []) == len(before)
