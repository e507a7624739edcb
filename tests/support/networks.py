"""Networks as users write them, prepared and timed by the worker in this process."""

import contextlib
import socket
import threading
import types

import msgspec
import pytest
import torch
from torch import nn

from bench.devices import DEVICES
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import PRESETS
from bench.harness.protocol.channel import Channel
from bench.harness.protocol.messages import (
    Block,
    CaseFacts,
    Entered,
    Finish,
    Finished,
    Job,
    Observed,
    Raised,
    Ready,
    RunBlock,
)
from bench.harness.scheduler import record
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.record import RoundContext
from bench.harness.worker import case as worker
from bench.harness.worker import prepare
from bench.harness.worker.timing import Prepared, StageClock
from bench.models.user import code
from bench.records import Case, Measurement, Source
from support.records import ENVIRONMENT

PLAN = msgspec.structs.replace(PRESETS["quick"], warmup_s=0.01)


def conv():
    return nn.Conv2d(3, 16, 3, 4, 1)


def head(channels=16):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class Residual(nn.Module):
    """Convolutions, a ReLU, a residual addition, a GELU and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.branch = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.act = nn.GELU()
        self.head = head(8)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.act(x + self.branch(x)))


def module(forward, **members):
    """Return a module whose `forward` is the given function, and which has these members.

    A member that is a tensor, but no parameter, becomes a buffer.
    """
    net = type("Net", (nn.Module,), {"forward": forward})()
    for name, member in members.items():
        if isinstance(member, torch.Tensor) and not isinstance(member, nn.Parameter):
            net.register_buffer(name, member)
        else:
            setattr(net, name, member)
    return net


def job(facts=None, **changes):
    """Return the job of a user's network: of the first round, or with `facts` of the second."""
    given = {"model": "net.py:net#12345678", "form": "plain", "resolution": 32, "threads": 1}
    case = Case(**{**given, **changes})
    return Job(case, 2 if facts else 1, PLAN, facts, Source(file="net.py", factory="net"))


def prepared(make, facts: CaseFacts | None = None, **changes) -> tuple[Prepared, CaseFacts]:
    """Return the prepared network, and the facts from the check of its first output."""
    cpu = CpuSession(Host())
    clock = StageClock(cpu.now, lambda stage: None)
    with made_by(make), torch.inference_mode():
        subject = prepare.prepare(job(facts, **changes), cpu, clock)
        return subject, subject.inspect(subject.call())


def timed(make, after_block=lambda: None, **changes) -> Finished | Raised:
    """Time two blocks of a user's network on the CPU, in a thread: the worker's last message."""
    with _worker(make, job(**changes)) as channel:
        return _converse(channel, after_block)


def measured(make, **changes) -> Measurement:
    """Return the record of a round of a user's network, with two blocks, timed in a thread."""
    given = job(**changes)
    with _worker(make, given) as channel:
        subject = CaseRound(given, _Child(channel), [])
        subject.await_ready()
        for _ in range(2):
            subject.time_block()
        context = RoundContext(0.0, 1, None, [])
        nothing = Observed(None, 0.0)
        return record.measurement(ENVIRONMENT, subject, subject.finish(), nothing, context)


class _Child:
    """A worker in a thread, as the parent sees its child process."""

    def __init__(self, channel):
        self._channel = channel

    def ask(self, request):
        self._channel.send(request)

    def answer(self, deadline_s):
        while isinstance(reply := self._channel.receive_reply(deadline_s), Entered):
            pass
        assert not isinstance(reply, Raised), reply
        return reply


@contextlib.contextmanager
def _worker(make, given: Job):
    """Run the worker in a thread; yield the parent's end of its channel."""
    ours, theirs = socket.socketpair()
    channel, its_own = Channel(ours), Channel(theirs)
    with made_by(make):
        thread = threading.Thread(target=worker.work, args=(its_own, given, DEVICES["cpu"]))
        thread.start()
        try:
            yield channel
        finally:
            channel.close()
            thread.join(60)
            its_own.close()


def _converse(channel, after_block):
    requests = [RunBlock(2, 1), RunBlock(2, 1), Finish()]
    while not isinstance(answer := channel.receive_reply(60), (Finished, Raised)):
        if isinstance(answer, Block):
            after_block()
        if isinstance(answer, (Ready, Block)):
            channel.send(requests.pop(0))
    return answer


class Doubling(nn.Module):
    """A network without parameters."""

    def forward(self, x):
        return 2 * x


@contextlib.contextmanager
def made_by(make):
    """Let `make` be the factory `net` of every user's module, with `make.beside` beside it."""
    module = types.SimpleNamespace(net=make, **getattr(make, "beside", {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "UserImports", _NoImports)
        patch.setattr(code, "_module", lambda source, imports: module)
        yield


def with_inputs(make, example_inputs):
    """Return the factory with a function `example_inputs` beside it."""

    def factory():
        return make()

    factory.beside = {"example_inputs": example_inputs}
    return factory


class _NoImports:
    """Imports nothing: the factory is here already."""

    def __init__(self, source):
        pass

    begin = check = lambda self: None

    def files(self):
        return {}
