"""A network's process that is stopped while it is timed, from the run to the verdict."""

import sys

import pytest
from support.runs import REAL_RUN, recorded

# The network asks a helper to stop its process for a second in a call of its second block.
NET = """
import os, subprocess, time
import torch

STOP = "kill -STOP {0}; sleep 1; kill -CONT {0}"

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 10)
        self.calls = 0

    def forward(self, x):
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass
        self.calls += 1
        if self.calls == 75:
            helper = subprocess.Popen(["sh", "-c", STOP.format(os.getpid())])
            while time.monotonic() < end + 0.3:
                pass
            helper.wait()
        return self.fc(x.mean((2, 3)))

def net():
    return Net()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what threads did")
@pytest.mark.usefixtures("without_timm")
def test_a_run_names_the_block_in_which_its_process_was_stopped(bench, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    bench(*REAL_RUN, "--device", "cpu", "--models", "net.py:net", "--resolution", "32")
    (record,) = recorded(tmp_path, "measurement")
    seen = record["conditions"]
    others = (seen["busy_cpu_s"] - seen["own_cpu_s"]) / (seen["wall_s"] * seen["cpus"])
    if others > 0.5 and max(seen["idle_s"]) < 0.5:
        pytest.skip("the kernel does not count waits, and other programs used the CPUs")
    said = " ".join(bench("explain", "net.py:net", "--in", "out").stdout.split())
    assert "the process stood still for 1.0 s" in said or "stood still for 0.9" in said, said
