"""The parent's side of one child process: requests, replies, and the cause of its death."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from bench.harness.protocol.channel import (
    Channel,
    ChannelClosedError,
    MalformedMessageError,
    OutputPipe,
)
from bench.harness.protocol.control import KILLED_AT_DEADLINE
from bench.harness.protocol.messages import Entered, Raised, Reply, Request
from bench.records import OUT_OF_MEMORY, Stage

# Waits for a process to end and reads its output meanwhile. Returns its wait status, or None if
# the template process is dead.
Reap = Callable[[int, OutputPipe], int | None]


class CaseError(Exception):
    """A case failed: its child raised, died, timed out or broke the protocol.

    `stage` is the stage that failed, `error` the type of the error, `stderr_tail` the end of the
    child's output. `signal` is the signal that killed the child, or None if no signal did.
    """

    def __init__(
        self,
        stage: Stage,
        error: str,
        message: str,
        stderr_tail: str = "",
        signal: int | None = None,
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error
        self.message = message
        self.stderr_tail = stderr_tail
        self.signal = signal

    @property
    def is_out_of_memory(self) -> bool:
        """Whether memory ran out: torch raises an error, the Linux kernel sends SIGKILL."""
        return self.error == OUT_OF_MEMORY or self.signal == signal.SIGKILL


class TemplateDiedError(Exception):
    """Another program killed the template process, and its children died with it."""


class ChildProcess:
    """The parent's side of one child."""

    def __init__(self, reap: Reap, channel: Channel, output: OutputPipe, pid: int) -> None:
        self.channel = channel
        self._reap = reap
        self._output = output
        self.pid = pid
        self._ended = False
        self._stage: Stage = "start"

    def ask(self, request: Request) -> None:
        """Send a request. Raises CaseError if the child died, TemplateDiedError if both died."""
        try:
            self.channel.send(request)
        except ChannelClosedError:
            raise self._post_mortem() from None

    def answer(self, deadline_s: float) -> Reply:
        """Return the child's next reply, except Entered, which only updates the current stage.

        Raises CaseError where the child raised, died, sent a malformed message, or sent nothing
        for `deadline_s` seconds. Raises TemplateDiedError where the template died.
        """
        while True:
            try:
                reply = self.channel.receive_reply(deadline_s)
            except TimeoutError:
                self.kill()
                raise self._error("Timeout", f"no answer within {deadline_s:g} s") from None
            except MalformedMessageError as error:
                raise self.protocol_error(f"no message came on its channel: {error}") from None
            except ChannelClosedError:
                raise self._post_mortem() from None
            if isinstance(reply, Entered):
                self._stage = reply.stage
            elif isinstance(reply, Raised):
                self._stage = reply.stage
                self.end()
                raise self._error(reply.error, reply.message)
            else:
                return reply

    def protocol_error(self, message: str) -> CaseError:
        """Kill a child that broke the protocol; return the error for the caller to raise."""
        self.kill()
        return self._error("Protocol", message)

    def kill(self) -> None:
        """Kill the child and its process group at once."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self.end()

    def close(self) -> None:
        """Kill the child and close its output pipe."""
        self.kill()
        self._output.close()

    def end(self) -> int | None:
        """Wait until the child has ended; the template kills it after GRACE_S seconds.

        Returns its wait status, or None if it had ended before or the template is dead.
        """
        if self._ended:
            return None
        self._ended = True
        self.channel.close()
        status = self._reap(self.pid, self._output)
        self._output.read()
        self._output.close()  # a round may have more cases than the limit on open files
        return status

    def _post_mortem(self) -> CaseError:
        """Return how the child died. Raises TemplateDiedError where the template died as well."""
        status = self.end()
        if status is None:
            raise TemplateDiedError
        if status == KILLED_AT_DEADLINE:
            return self._error("Protocol", "the process closed its channel, and did not end")
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return self._error("Killed", f"the process died of {_signal_name(-code)}", signal=-code)
        return self._error("Exited", f"the process ended with exit code {code}")

    def _error(self, error: str, message: str, signal: int | None = None) -> CaseError:
        return CaseError(self._stage, error, message, self._output.tail, signal)


def _signal_name(number: int) -> str:
    """Return the name of a signal; real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
