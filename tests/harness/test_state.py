"""Networks whose answer or speed depends on more than the image: measured rightly, or refused."""

import os
import signal

import pytest
import torch
from support.networks import conv, head, module, prepared, timed
from torch import nn
from torch.nn import functional

from bench.harness.protocol.messages import Finished, Raised
from bench.harness.worker.calls import InputChangedError, NotRepeatableError

# --- types ---------------------------------------------------------------------------------------


def spectral():
    """A global filter (GFNet): the spectrum of the features times complex weights."""
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(16, 8, 5, dtype=torch.cfloat))

    def forward(self, x):
        x = self.stem(x) * self.table.float().mean() + self.shift[0]
        return self.head(torch.fft.irfft2(torch.fft.rfft2(x) * self.w, s=x.shape[-2:]))

    table, shift = torch.full((3,), 1 / 3, dtype=torch.float64), torch.tensor([2])
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16 * 8 * 8, 10))
    return module(forward, stem=conv(), w=weights, table=table, shift=shift, head=layers)


@pytest.mark.parametrize("backend", ["eager", "channels_last"])
def test_complex_double_and_integer_tensors_keep_their_values(backend):
    """`nn.Module.to(dtype)` would drop the imaginary part of the weights."""
    seen = []

    def make():
        net = spectral().eval()
        net.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
        return net

    subject, facts = prepared(make, backend=backend)
    with torch.inference_mode():
        output = subject.call()
        assert torch.allclose(output, spectral().eval()(seen[-1]), atol=1e-6)
    assert facts.check.against == ("eager" if backend == "channels_last" else None)


def test_a_network_that_does_not_run_in_a_precision_is_refused_with_the_reason():
    failed = timed(spectral, precision="fp16")
    assert isinstance(failed, Raised)
    assert (failed.stage, failed.error) == ("first", "InputRefusedError")
    assert "float16 1x3x32x32" in failed.message
    assert "--precision fp32" in failed.message


def test_double_precision_weights_are_refused_with_a_remedy():
    failed = timed(lambda: nn.Sequential(conv(), nn.BatchNorm2d(16), head()).double())
    assert (failed.stage, failed.error) == ("first", "InputRefusedError")
    assert "float64 weights: return `net.float()`" in failed.message


# --- the image -----------------------------------------------------------------------------------


class Block(nn.Module):
    """A convolution and a BatchNorm that merge into one convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16)

    def forward(self, x):
        return self.norm(self.conv(x))

    def fuse(self):
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        merged = nn.Conv2d(16, 16, 1)
        merged.weight.data = self.conv.weight * scale[:, None, None, None]
        merged.bias.data = self.norm.bias - self.norm.running_mean * scale
        return merged


def normalising(*layers):
    """A network that normalises its input in place."""

    def forward(self, x):
        return self.layers(x.sub_(0.5).div_(0.2))

    return module(forward, layers=nn.Sequential(*layers))


@pytest.mark.parametrize("changes", [{}, {"batch": 3}, {"backend": "channels_last"}])
def test_a_network_that_changes_its_input_is_refused(changes):
    """After some sixty calls, the image would be infinite."""
    with pytest.raises(InputChangedError, match=r"x = x - mean"):
        prepared(lambda: normalising(conv(), head()), **changes)


def test_a_network_that_changes_its_input_is_not_called_a_wrong_merge():
    with pytest.raises(InputChangedError):
        prepared(lambda: normalising(conv(), Block(), head()), form="rrep")


# --- state from other calls ----------------------------------------------------------------------


def with_grid(*, of_batch):
    """A network that keeps a grid of the size of its first input, as many positional codes do."""

    def forward(self, x):
        x = self.norm(self.stem(x))
        if self.grid is None:
            rows = torch.linspace(0, 1, x.shape[2])[:, None].expand(x.shape[2:])
            self.grid = rows.expand(len(x), 1, *rows.shape).clone() if of_batch else rows
        return self.head(x + self.grid)

    return module(forward, stem=conv(), norm=nn.BatchNorm2d(16), grid=None, head=head())


@pytest.mark.parametrize("backend", ["eager", "channels_last"])
@pytest.mark.parametrize(
    ("of_batch", "changes"), [(False, {"resolution": 192}), (True, {"batch": 5})]
)
def test_a_grid_of_the_first_size_is_not_that_of_another_call(of_batch, changes, backend):
    """Statistics are taken at 160 pixels, and the check runs two images."""
    subject, _ = prepared(lambda: with_grid(of_batch=of_batch), backend=backend, **changes)
    with torch.inference_mode():
        assert subject.call().shape == (changes.get("batch", 1), 10)


def counting(step):
    def forward(self, x):
        self.calls += 1
        return self.layers(x) + step(self.calls)

    return module(forward, layers=nn.Sequential(conv(), head()), calls=torch.zeros(()))


def test_a_network_whose_answer_depends_on_earlier_calls_fails_its_check():
    failed = timed(lambda: counting(lambda calls: 0.1 * calls))
    assert (failed.stage, failed.error) == ("check", "NotRepeatableError")
    assert "keeps state between calls" in failed.message


def test_the_last_timed_output_is_compared_with_the_first_one():
    """The state becomes visible between the blocks, long after the warm-up."""
    net = counting(lambda calls: float(calls > 1e6))
    failed = timed(lambda: net, after_block=lambda: net.calls.fill_(2e6))
    assert (failed.stage, failed.error) == ("check", "NotRepeatableError")
    assert "keeps state between calls" in failed.message


def test_a_counter_that_changes_no_answer_is_allowed():
    assert isinstance(timed(lambda: counting(lambda calls: 0.0)), Finished)


def dropping(*layers):
    """Dropout that stays active in eval mode: a common mistake."""

    def forward(self, x):
        return self.head(functional.dropout(self.layers(x), 0.5))

    return module(forward, layers=nn.Sequential(conv(), *layers), head=head())


@pytest.mark.parametrize("changes", [{}, {"backend": "channels_last"}, {"precision": "bf16"}])
def test_active_dropout_is_called_an_answer_that_differs_each_time(changes):
    failed = timed(dropping, **changes)
    assert (failed.stage, failed.error) == ("check", "NotRepeatableError")
    assert "answers differently each time" in failed.message
    assert "training=self.training" in failed.message


def test_active_dropout_is_not_called_a_wrong_merge():
    with pytest.raises(NotRepeatableError, match="each time"):
        prepared(lambda: dropping(Block()), form="rrep")


# --- settings of the process ---------------------------------------------------------------------


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def plain():
    return nn.Sequential(conv(), head())


@pytest.mark.usefixtures("two_threads")
def test_threads_that_a_factory_sets_are_set_back_and_named():
    def make():
        torch.set_num_threads(1)
        return plain()

    done = timed(make, threads=2)
    assert done.settings["threads"] == 2
    assert done.changed == {}
    (note,) = done.facts.notes
    assert note == (
        "the code of the network changed the number of threads from 2 to 1; bench set it back"
    )


@pytest.mark.usefixtures("two_threads")
def test_threads_that_each_call_sets_are_on_record_as_a_doubt():
    def forward(self, x):
        torch.set_num_threads(1)
        return self.layers(x)

    done = timed(lambda: module(forward, layers=plain()), threads=2)
    assert done.settings["threads"] == 1
    assert done.changed == {"the number of threads": "from 2 to 1"}
    assert len(done.facts.notes) == 1


def test_settings_that_the_code_changes_are_set_back_before_the_first_call(tmp_path):
    """In the main thread, as in a child: handlers of signals can be set only there."""
    folder, handler = os.getcwd(), signal.getsignal(signal.SIGUSR1)
    with torch.inference_mode():
        grad = torch.is_grad_enabled()

    def make():
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("cpu")
        torch.use_deterministic_algorithms(True)
        torch.set_grad_enabled(not grad)
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = True
        os.chdir(tmp_path)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return plain().float()

    _, facts = prepared(make)
    assert torch.get_default_dtype() == torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.benchmark
    assert os.getcwd() == folder
    assert signal.getsignal(signal.SIGUSR1) == handler
    named = " ".join(facts.notes)
    for setting in (
        "dtype",
        "device",
        "deterministic",
        "grad",
        "TF32",
        "cuDNN",
        "folder",
        "signal",
    ):
        assert setting in named
    assert str(tmp_path) not in named  # records hold no path of the user
