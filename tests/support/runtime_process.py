"""A runtime in a process of its own, which imports neither timm nor pytest's other modules."""

import multiprocessing
import time

import torch
from torch import nn

from bench.backends import BACKENDS
from bench.backends import onnxruntime as module

RESTING_S = 0.25  # as long as a block


def small_net():
    """Return a network of three layers, in eval mode, with the same weights each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.GELU()).eval()


def computing_threads(runtime: str) -> list[int]:
    """Return the threads of a runtime that compute, with one thread and then with two.

    In the process of the tests, threads of other tests may still compute.
    """
    return _in_a_process(_count_threads, runtime)


def resting_s(runtime: str, force_stop: bool = True) -> float:
    """Return the CPU seconds of a process that waits for RESTING_S after it called a runtime."""
    return _in_a_process(_run_and_rest, runtime, force_stop)


def _in_a_process(work, *arguments):
    """What a function puts into a queue, its last argument, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=work, args=(*arguments, answers))
    process.start()
    found = answers.get(timeout=600)
    process.join()
    return found


def _count_threads(runtime: str, answers) -> None:
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            call = BACKENDS[runtime].load(small_net(), [torch.randn(1, 3, 8, 8)], "fp32")
            found.append(BACKENDS[runtime].settings(call)["runtime_threads"])
    answers.put(found)


def _run_and_rest(runtime: str, force_stop: bool, answers) -> None:
    if not force_stop:
        options = module.Session._options

        def spinning(self, threads):
            found = options(self, threads)
            found.add_session_config_entry("session.force_spinning_stop", "0")
            return found

        module.Session._options = spinning
    torch.set_num_threads(2)
    with torch.inference_mode():
        net = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(4)))
        call = BACKENDS[runtime].load(net, [torch.randn(1, 16, 112, 112)], "fp32")
        found = []
        for _ in range(5):
            for _ in range(10):
                call()
            before = time.process_time()
            time.sleep(RESTING_S)
            found.append(time.process_time() - before)
    answers.put(sorted(found)[2])
