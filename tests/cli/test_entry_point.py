"""Errors of the system become one message with a remedy, whatever the command was."""

import sys

import pytest
import typer
from support.threads import start_refused

from bench.cli import entry_point


def fail():
    raise RuntimeError("another error")


def called(monkeypatch, command):
    monkeypatch.setattr(entry_point, "app_of", lambda _: lambda **_: command())
    monkeypatch.setattr(sys, "argv", ["bench"])
    entry_point._call()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may refuse in other words")
def test_a_limit_on_threads_is_a_message(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        called(monkeypatch, start_refused)
    assert ended.value.code == 2
    message, remedy = capsys.readouterr().err.splitlines()
    assert message == "error: can't start new thread"
    assert "ulimit -u" in remedy


def test_another_error_stays_what_it_is(monkeypatch):
    with pytest.raises(RuntimeError, match="another error"):
        called(monkeypatch, fail)


def test_ctrl_c_in_any_command_is_exit_code_130(monkeypatch):
    """typer catches it, and what it raises instead is another exception in each release."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        called(monkeypatch, lambda: app([], standalone_mode=False))
    assert ended.value.code == 130


def test_a_terminal_that_lacks_letters_shows_their_escapes(bench):
    """What these commands print holds ±, ² and –."""
    case = ("--models", "resnet50,swin_t", "--batch", "1", "--rounds", "1")
    for words, shown in (
        (("run", *case, "--device", "fake", "--preset", "quick", "--out", "out"), "resnet50"),
        (("explain", "resnet50", "--in", "out"), r"224\xb2"),
        (("compare", "resnet50", "swin_t", "--in", "out"), r"| \u2013"),
    ):
        done = bench(*words, encoding="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert shown in done.stdout
