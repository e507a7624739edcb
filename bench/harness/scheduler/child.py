"""One child, as its parent sees it: questions, answers, and what it died of."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from bench.harness.protocol.channel import Channel, ChannelClosedError, GarbageError, Voice
from bench.harness.protocol.control import MADE_TO_END
from bench.harness.protocol.messages import Broken, Entered, Reply, Request
from bench.records import Stage

# Waits for a process to end, hears it meanwhile; its wait status, None if the template is dead.
Reap = Callable[[int, Voice], int | None]


class CaseError(Exception):
    """A case ended before its measurement did: where, what kind, and the last of its stderr."""

    def __init__(self, stage: Stage, error: str, message: str, stderr_tail: str = "") -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error
        self.message = message
        self.stderr_tail = stderr_tail


class TemplateDiedError(Exception):
    """The template was killed from outside, and its children with it."""


class ChildProcess:
    """The parent's side of one child."""

    def __init__(self, reap: Reap, channel: Channel, voice: Voice, pid: int) -> None:
        self.channel = channel
        self._reap = reap
        self._voice = voice
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
                raise self.refuse(f"no message came on its channel: {error}") from None
            except ChannelClosedError:
                raise self._post_mortem() from None
            if isinstance(reply, Entered):
                self._stage = reply.stage
            elif isinstance(reply, Broken):
                self._stage = reply.stage
                self.end()
                raise self._error(reply.error, reply.message)
            else:
                return reply

    def refuse(self, message: str) -> CaseError:
        """End a child that does not say what it was asked; what to raise."""
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
        self._voice.close()

    def end(self) -> int | None:
        """Wait for the child to end by itself, for a moment; its wait status."""
        if self._ended:
            return None
        self._ended = True
        self.channel.close()
        status = self._reap(self._pid, self._voice)
        self._voice.hear()
        self._voice.close()  # a round may have more cases than this process may have files
        return status

    def _post_mortem(self) -> CaseError:
        """What the child died of. Raises TemplateDiedError where it was not alone."""
        status = self.end()
        if status is None:
            raise TemplateDiedError
        if status == MADE_TO_END:
            return self._error("Protocol", "the process closed its channel, and did not end")
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return self._error("Killed", f"the process died of {_name(-code)}")
        return self._error("Exited", f"the process ended with exit code {code}")

    def _error(self, error: str, message: str) -> CaseError:
        return CaseError(self._stage, error, message, self._voice.last_words)


def _name(number: int) -> str:
    """Of a signal; those of real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
