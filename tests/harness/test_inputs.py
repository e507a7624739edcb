"""Inputs of other shapes, several inputs, and messages where an input does not fit."""

from pathlib import Path

import pytest
import torch
from support.networks import conv, head, module, prepared, timed, with_inputs
from support.records import CHIP
from torch import nn

from bench.errors import UsageError
from bench.harness.protocol.messages import Finished
from bench.harness.suite import Overrides, Suite, expand

# --- the flag ------------------------------------------------------------------------------------

GREY = """
from torch import nn

def net(): return nn.Conv2d(1, 4, 3)
"""


def test_a_network_of_the_user_with_weights_may_take_any_number_of_channels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(GREY)
    torch.save(nn.Conv2d(1, 4, 3).state_dict(), "w.pth")
    overrides = Overrides(models=("net.py:net+w.pth",), input="1x8x24")
    (case,) = expand(Suite(batch=(1,)), overrides, CHIP, None)
    assert (case.input, case.resolution) == ("1x8x24", 24)


# --- what a network is called with ---------------------------------------------------------------


def seeing(seen):
    """A network of any number of channels that notes the shapes of its inputs."""

    def forward(self, *inputs):
        if not inputs[0].is_meta:
            seen.append([tuple(each.shape) for each in inputs])
        return sum(each.flatten(1).float().mean(1, keepdim=True) for each in inputs)

    return module(forward, norm=nn.BatchNorm2d(1))


@pytest.mark.parametrize("batch", [1, 3])
def test_images_have_the_channels_height_and_width_of_the_case(batch):
    seen = []
    prepared(lambda: seeing(seen), input="1x48x32", resolution=48, batch=batch)
    assert {each[1:] for (each,) in seen} == {(1, 48, 32)}
    assert seen[-1] == [(batch, 1, 48, 32)]


def two(batch, resolution):
    return torch.randn(batch, 1, resolution, resolution), torch.randint(9, (batch, 4))


@pytest.mark.parametrize("changes", [{}, {"batch": 3}, {"backend": "channels_last"}])
def test_example_inputs_beside_the_factory_make_the_inputs(changes):
    seen = []
    _, facts = prepared(with_inputs(lambda: seeing(seen), two), **changes)
    batch = changes.get("batch", 1)
    assert seen[-1] == [(batch, 1, 32, 32), (batch, 4)]
    assert facts.cost.uncounted == ""


def test_integers_among_the_inputs_keep_their_type_in_every_precision():
    def forward(self, x, tokens):
        assert tokens.dtype == torch.int64
        return self.layers(x) + self.table(tokens).mean(1)

    def make():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(1, 16, 3), head())
        return module(forward, layers=layers, table=nn.Embedding(9, 10))

    subject, facts = prepared(with_inputs(make, two), precision="bf16")
    with torch.inference_mode():
        assert subject.call().dtype == torch.bfloat16
    assert facts.check.largest_relative_error < facts.check.tolerance


def test_inputs_are_the_same_in_each_process():
    answers = []
    for _ in range(2):
        subject, _ = prepared(with_inputs(lambda: module(lambda self, x, t: x.flatten(1)), two))
        with torch.inference_mode():
            answers.append(subject.call())
    assert torch.equal(*answers)


# --- example_inputs that disagree ----------------------------------------------------------------

NET = """
import torch
from torch import nn

def net(): return nn.Conv2d(1, 4, 3)
def example_inputs(batch, resolution): return {}
"""


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("torch.zeros(1, 1, 8, 8)", r"example_inputs\(2, 224\) returned \(1, 1, 8, 8\)"),
        ("(torch.zeros(batch, 1, 8, 8), torch.zeros(()))", r"returned \(\)"),
        ("[1, 2]", "returned int, int, not tensors"),
    ],
)
@pytest.mark.usefixtures("without_timm")
def test_inputs_that_disagree_with_the_batch_are_refused_before_a_run(
    tmp_path, monkeypatch, made, said
):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET.format(made))
    with pytest.raises(UsageError, match=said) as error:
        expand(Suite(batch=(1,)), Overrides(models=("net.py:net",)), CHIP, None)
    assert "`batch` rows" in error.value.remedy


# --- an input that does not fit ------------------------------------------------------------------


def unet():
    def forward(self, x):
        down = nn.functional.max_pool2d(x, 2)
        return torch.cat([x, nn.functional.interpolate(down, scale_factor=2)], 1)

    return module(forward)


def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))


@pytest.mark.parametrize(
    ("make", "changes", "given"),
    [
        (lambda: nn.Conv2d(1, 4, 3), {}, "float32 1x3x32x32"),
        (lambda: module(lambda self, x, y: x + y), {}, "float32 1x3x32x32"),
        (fixed, {}, "float32 1x3x32x32"),
        (unet, {"input": "3x32x33", "resolution": 33}, "float32 1x3x32x33"),
    ],
)
def test_a_network_that_does_not_accept_its_input_says_what_it_was_given(make, changes, given):
    failed = timed(make, **changes)
    assert failed.error == "InputRefusedError"
    assert f"does not accept its input ({given})" in failed.message
    for flag in ("--resolution", "--input", "example_inputs(batch, resolution)"):
        assert flag in failed.message


# --- networks as people write them ---------------------------------------------------------------


def with_values():
    """Control flow on values, `.item()`, `.numpy()`, and a tensor made on the CPU."""

    def forward(self, x):
        x = self.stem(x)
        if x.mean() > 1e9 or x.abs().max().item() < 0:
            return x
        scale = torch.tensor(x.shape[2:]).numpy().max()
        return self.head(x / float(scale) + torch.ones(1))

    return module(forward, stem=conv(), head=head())


def exported():
    net = nn.Sequential(conv(), nn.ReLU(), head()).eval()
    return torch.export.export(net, (torch.randn(1, 3, 32, 32),)).module()


def quantised():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)


def scripted():
    return torch.jit.script(nn.Sequential(conv(), nn.BatchNorm2d(16), head()).eval())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "known"), [(with_values, True), (exported, True), (scripted, None), (quantised, False)]
)
def test_networks_as_people_write_them_are_timed(make, known):
    done = timed(make)
    assert isinstance(done, Finished), done
    if known is not None:
        assert (done.facts.cost.macs is not None) == known
    assert (done.facts.cost.macs is None) == bool(done.facts.cost.uncounted)


def test_a_compiled_network_is_timed_as_it_was_and_named():
    done = timed(lambda: torch.compile(nn.Sequential(conv(), head())))
    assert isinstance(done, Finished), done
    assert "--backend compile" in done.facts.notes[0]
