"""A simulated GPU for the lines of a first contact: a queue, a sensor and bare instruments.

`fault` plants one error. Networks are tiny and real, so that outputs follow their images.
"""

import torch
from torch import nn

from bench.devices.sensors.sensor import Memory
from bench.diagnostics.hardware.instruments import Loaded
from bench.records import Gauges

LAUNCH_S = 2e-5
IDLE_W, BUSY_W = 80.0, 600.0
AVERAGED_S = 0.5  # the sensor's utilisation is the share of the last half second
WORK_S = 1e-3


class Queue:
    """The clock of the host, and the busy times of the GPU."""

    def __init__(self):
        self.host_s = 0.0
        self.free_s = 0.0
        self.busy = []

    def launch(self, seconds):
        self.host_s += LAUNCH_S
        start = max(self.host_s, self.free_s)
        self.free_s = start + seconds
        self.busy.append((start, self.free_s))
        return start

    def wait(self):
        self.host_s = max(self.host_s, self.free_s)
        return self.host_s

    def busy_s(self, since, until):
        recent = (pair for pair in self.busy if pair[1] > since)
        return sum(min(end, until) - max(start, since) for start, end in recent)


class FakeSensor:
    def __init__(self, queue, fault):
        self._queue, self._fault = queue, fault
        self._joules = self._read_s = 0.0

    def gauges(self):
        now = self._queue.host_s
        if self._fault == "sleeping sensor":
            return Gauges(utilisation=0.0, power_w=IDLE_W)
        share = self._queue.busy_s(now - AVERAGED_S, now) / AVERAGED_S
        watts = IDLE_W + (BUSY_W - IDLE_W) * share + 1e-3 * (now % 1)
        return Gauges(utilisation=min(share, 1.0), power_w=watts)

    def energy_j(self):
        now = self._queue.host_s
        if now > self._read_s:
            self._joules += self.gauges().power_w * (now - self._read_s)
            self._read_s = now
        if self._fault == "no energy counter":
            return None
        return self._joules * (2 if self._fault == "energy off by 2" else 1)


class FakeGpuSession:
    torch_device = "cpu"
    has_queue = True

    def __init__(self, queue, fault):
        self._queue, self._fault = queue, fault
        self._sensor = None if fault == "no sensor" else FakeSensor(queue, fault)
        self.peak = 0

    def now(self):
        rate = 1.1 if self._fault == "wrong clock" else 1.0
        return rate * (self._queue.host_s if self._fault == "no wait" else self._queue.wait())

    def device_times(self, call, iterations):
        if self._fault == "no device time":
            return []
        self._queue.wait()
        times = []
        for _ in range(iterations):
            before = self._queue.free_s
            call()
            times.append(self._queue.free_s - max(before, self._queue.busy[-1][0]))
        return times

    def sensor(self):
        return self._sensor

    def reset_peak_memory(self):
        pass

    def memory(self):
        return Memory(self.peak // (2 if self._fault == "memory off by 2" else 1))


class FakeInstruments:
    def __init__(self, fault=""):
        self._queue, self._fault = Queue(), fault
        self.session = FakeGpuSession(self._queue, fault)

    def load(self, network, backend):
        torch.manual_seed(0)
        net, images = nn.Linear(4, 3), torch.ones(1, 4)
        first = net(images).detach()

        def call():
            self._queue.launch(WORK_S)
            if backend == "cudagraph" and self._fault == "graph does nothing":
                return first
            with torch.no_grad():
                return net(images)

        return Loaded(call, images)

    def missing(self, backend):
        return "no graphs here" if self._fault == "no graphs" else None

    def host_s(self, call, calls):
        began = self._queue.wait()
        for _ in range(calls):
            call()
            self._queue.wait()
        return (self._queue.host_s - began) / calls

    def device_s(self, call, calls):
        self._queue.wait()
        call()
        began = self._queue.free_s
        for _ in range(calls):
            call()
        return (self._queue.free_s - began) / calls

    def product_errors(self, precision):
        rounded = precision == "tf32" and self._fault != "TF32 changes nothing"
        error = 3e-4 if rounded or self._fault == "TF32 always on" else 1e-6
        return {"product": error, "convolution": error}

    def seconds(self):
        return self._queue.host_s

    def burn(self, seconds):
        self._queue.launch(seconds)
        self._queue.wait()

    def rest(self, seconds):
        self._queue.host_s += seconds

    def allocate(self, size):
        self.session.peak += size
        return object()

    def counted_bytes(self):
        return self.session.peak
