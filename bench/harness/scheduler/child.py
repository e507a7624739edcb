"""One child, as its parent sees it: questions, answers, and what it died of."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from bench.harness.protocol.channel import Channel, ChannelClosedError, GarbageError, OutputPipe
from bench.harness.protocol.control import KILLED_AT_DEADLINE
from bench.harness.protocol.messages import Entered, Raised, Reply, Request
from bench.records import OUT_OF_MEMORY, Stage

# Waits for a process to end, hears it meanwhile; its wait status, None if the template is dead.
Reap = Callable[[int, OutputPipe], int | None]


class CaseError(Exception):
    """A case ended before its measurement did.

    `stage` is where, `error` the type of the error, `stderr_tail` the last of the child's output.
    `signal` is the number of the signal that killed the child, None where none did.
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
    def is_short_of_memory(self) -> bool:
        """Whether memory was short: torch says so by an error, the kernel by SIGKILL."""
        return self.error == OUT_OF_MEMORY or self.signal == signal.SIGKILL


class TemplateDiedError(Exception):
    """The template was killed from outside, and its children with it."""


class ChildProcess:
    """The parent's side of one child."""

    def __init__(self, reap: Reap, channel: Channel, output: OutputPipe, pid: int) -> None:
        self.channel = channel
        self._reap = reap
        self._output = output
        self._pid = pid
        self._ended = False
        self._stage: Stage = "start"

    def ask(self, request: Request) -> None:
        """Send a request. Raises CaseError where the child is gone."""
        try:
            self.channel.send(request)
        except ChannelClosedError:
            raise self._post_mortem() from None

    def answer(self, deadline_s: float) -> Reply:
        """Wait for what the child says next, besides the stages it enters.

        Raises CaseError where it raised, died, sent what is no message, or nothing for
        `deadline_s` seconds.
        """
        while True:
            try:
                reply = self.channel.receive_reply(deadline_s)
            except TimeoutError:
                self.kill()
                raise self._error("Timeout", f"no answer within {deadline_s:g} s") from None
            except GarbageError as error:
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
        """Kill a child that answers something else than it was asked; returns what to raise."""
        self.kill()
        return self._error("Protocol", message)

    def kill(self) -> None:
        """End the child and all it started, now."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            self.end()

    def close(self) -> None:
        """Kill, and let go of what it wrote."""
        self.kill()
        self._output.close()

    def end(self) -> int | None:
        """Wait for the child to end by itself, for a moment; its wait status."""
        if self._ended:
            return None
        self._ended = True
        self.channel.close()
        status = self._reap(self._pid, self._output)
        self._output.read()
        self._output.close()  # a round may have more cases than this process may have files
        return status

    def _post_mortem(self) -> CaseError:
        """What the child died of. Raises TemplateDiedError where it was not alone."""
        status = self.end()
        if status is None:
            raise TemplateDiedError
        if status == KILLED_AT_DEADLINE:
            return self._error("Protocol", "the process closed its channel, and did not end")
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return self._error("Killed", f"the process died of {_name(-code)}", signal=-code)
        return self._error("Exited", f"the process ended with exit code {code}")

    def _error(self, error: str, message: str, signal: int | None = None) -> CaseError:
        return CaseError(self._stage, error, message, self._output.tail, signal)


def _name(number: int) -> str:
    """Of a signal; those of real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
