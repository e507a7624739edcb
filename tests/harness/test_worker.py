"""The child as a thread of this process, on a simulated CUDA session; and the channel."""

import contextlib
import os
import socket
import sys
import threading
import time

import msgspec
import pytest
import torch

from bench.devices import clocks
from bench.devices.clocks import Moment
from bench.devices.cuda import Cuda, CudaSession
from bench.devices.kernels import Kernels, KernelSize
from bench.devices.sensors.sensor import Memory
from bench.harness.plan import PRESETS
from bench.harness.protocol.channel import (
    TAIL_BYTES,
    Channel,
    MalformedMessageError,
    OutputPipe,
    wait_for,
)
from bench.harness.protocol.messages import Entered, Finish, Job, Observe, Raised, RunBlock
from bench.harness.worker import case as worker
from bench.records import Case, Gauges, Jump, Reading

PLAN = msgspec.structs.replace(PRESETS["quick"], warmup_s=0.01)


class Pretended(CudaSession):
    """A CUDA session without a GPU: the work runs synchronously on the CPU."""

    torch_device = "cpu"

    def __init__(self):
        super().__init__(self, KernelSize(8, 4, "float32", 4096))

    def now(self):
        return time.perf_counter()

    def kernels(self):
        return Kernels(lambda: None, lambda: None)

    def sense(self):
        return Reading(at_s=time.monotonic(), clock_hz=1e9, throttles=["sw_power_cap"])

    def gauges(self):
        return Gauges(utilisation=0.5, power_w=200.0)

    def energy_j(self):
        return 200.0 * time.monotonic()

    def close(self):
        pass

    def device_times(self, call, iterations):
        return [0.001 for _ in range(iterations) if call() is not None]

    def settings(self):
        return {"matmul_tf32": False}

    def reset_peak_memory(self):
        pass

    def memory(self):
        return Memory(500, 600, 700)


class PretendedDriver(Cuda):
    def __init__(self, session):
        self._session = session

    @contextlib.contextmanager
    def session(self, case):
        with torch.inference_mode():
            yield self._session


@pytest.fixture
def child():
    """A function that starts a child for a case and returns the parent's channel."""
    ours, theirs = socket.socketpair()
    threads = []

    def start(case, session=None):
        job = Job(case, 1, PLAN, None)
        arguments = (Channel(theirs), job, PretendedDriver(session or Pretended()))
        threads.append(threading.Thread(target=worker.work, args=arguments))
        threads[0].start()
        return Channel(ours)

    yield start
    ours.close()
    threads[0].join(30)
    theirs.close()
    assert not threads[0].is_alive()


def answer(channel):
    """The next reply other than Entered, and the stages entered before it."""
    stages = []
    while isinstance(reply := channel.receive_reply(60), Entered):
        stages.append(reply.stage)
    return reply, stages


def case(**changes):
    given = {"resolution": 32, "device": "cuda", "threads": 2}
    return Case("repnext_u3_t", "srep", **{**given, **changes})


def test_a_batch_on_a_queue_has_device_clock_and_pipelined_blocks(child):
    channel = child(case(batch=2))
    ready, stages = answer(channel)
    assert stages[:5] == ["build", "fuse", "check", "load", "first"]
    assert stages[5:] == ["check", "warmup", "check", "timed"]
    assert ready.peak_bytes == 700  # the largest of the three
    channel.send(RunBlock(3, 1))
    block, _ = answer(channel)
    assert len(block.samples_s) == len(block.device_samples_s) == 3
    assert block.pipelined_s > 0
    channel.send(Finish())
    finished, _ = answer(channel)
    channel.send(Observe(0.3))
    observed, stages = answer(channel)
    assert stages == ["observe"]
    assert 0.3 <= observed.telemetry.seconds < 5
    assert observed.telemetry.energy_j == pytest.approx(200 * observed.telemetry.seconds, rel=0.2)
    assert observed.seconds >= 0.3
    assert finished.settings == {"matmul_tf32": False}
    assert finished.stages.events > 0
    assert finished.stages.start > 0
    assert finished.conditions.throttled_by == ["sw_power_cap"]
    cost = finished.facts.cost
    memory = (cost.peak_memory_bytes, cost.peak_reserved_bytes, cost.process_bytes)
    assert memory == (500, 600, 700)
    assert finished.facts.check.against == "train, cpu"


def test_batch_1_is_not_pipelined(child):
    channel = child(case())
    answer(channel)
    channel.send(RunBlock(2, 0))
    block, _ = answer(channel)
    assert (len(block.device_samples_s), block.pipelined_s) == (2, None)


def test_an_out_of_memory_error_is_reported_with_its_message(child):
    class Small(Pretended):
        def reset_peak_memory(self):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    broken, stages = answer(child(case(), Small()))
    assert isinstance(broken, Raised)
    assert (broken.error, stages[-1]) == ("OutOfMemory", "load")
    assert "2.00 GiB" in broken.message


@pytest.mark.parametrize(
    ("after", "seen"),
    [
        (Moment(11.0, 11.0, 1e9 + 1), None),
        (Moment(11.0, 11.1, 1e9 + 1.5), None),  # a busy machine reads one after the other
        (Moment(11.0, 41.0, 1e9 + 31), Jump(3, 30.0, 0.0)),
        (Moment(11.0, 11.0, 1e9 - 3599), Jump(3, 0.0, -3600.0)),
        (Moment(11.0, 11.0, 1e9 + 61), Jump(3, 0.0, 60.0)),
        (Moment(11.0, 41.0, 1e9 + 91), Jump(3, 30.0, 60.0)),
    ],
)
def test_clocks_that_disagree_reveal_a_clock_step_or_a_suspend(after, seen):
    assert clocks.jump(3, Moment(10.0, 10.0, 1e9), after) == seen


def test_the_clocks_of_this_machine_agree():
    assert clocks.jump(1, clocks.moment(), clocks.moment()) is None


@pytest.fixture
def pipe():
    """An output pipe, and the descriptor of its writing end."""
    reading, writing = os.pipe()
    output = OutputPipe(reading)
    yield output, writing
    output.close()
    with contextlib.suppress(OSError):
        os.close(writing)


def test_a_pipe_whose_closing_was_interrupted_can_be_closed_again(pipe):
    output, _ = pipe

    def interrupt(frame, event, argument):
        if frame.f_code is not OutputPipe.close.__code__:
            return None
        if event == "line" and not is_open(number):
            raise KeyboardInterrupt
        return interrupt

    number, before = output.fileno(), sys.gettrace()
    sys.settrace(interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            output.close()
    finally:
        sys.settrace(before)
    assert not is_open(number)
    output.close()


def is_open(number):
    """Whether this process has an open file of this number."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_a_waiting_parent_reads_the_output_and_keeps_its_tail(pipe):
    output, writing = pipe
    ours, theirs = socket.socketpair()

    def speak():
        for number in range(50_000):
            os.write(writing, b"line %d\n" % number)
        theirs.sendall(b"done")

    speaker = threading.Thread(target=speak)
    with ours, theirs:
        speaker.start()
        wait_for(ours, [output], 60)
        speaker.join()
    assert output.tail.endswith("line 49999\n")
    assert len(output.tail) == TAIL_BYTES


def test_endless_output_does_not_delay_the_deadline(pipe):
    output, writing = pipe
    ours, theirs = socket.socketpair()

    def flood():
        with contextlib.suppress(OSError):
            while True:
                os.write(writing, bytes(2**16))

    flooding = threading.Thread(target=flood)
    with ours, theirs:
        flooding.start()
        with pytest.raises(TimeoutError):
            wait_for(ours, [output], 0.2)
        output.close()  # which also ends the flood
        flooding.join()


def test_the_parent_sleeps_while_it_waits_for_a_child_with_closed_output(pipe):
    output, writing = pipe
    os.close(writing)
    ours, theirs = socket.socketpair()
    before = time.process_time()
    with ours, theirs, pytest.raises(TimeoutError):
        wait_for(ours, [output], 0.5)
    assert time.process_time() - before < 0.25


@pytest.mark.parametrize(
    "line",
    [
        b"no message",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type":"entered","stage":"lunch"}',
        b'{"type":"ready","iteration_s":-1.0,"peak_bytes":null}',
        b'{"type":"block","start_s":1,"samples_s":[],"compute_s":1,"memory_s":1}',
        b'{"type":"block","start_s":1,"samples_s":[-1],"compute_s":1,"memory_s":1}',
        b'{"type":"block","start_s":1,"samples_s":[null],"compute_s":1,"memory_s":1}',
    ],
)
def test_malformed_messages_and_negative_durations_are_refused(line):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(line + b"\n")
        with pytest.raises(MalformedMessageError):
            Channel(ours).receive_reply(10)
