"""Training, stopping and going on: with the same numbers as if it had never stopped."""

import json
import math

import msgspec
import pytest
import torch
from support.pictures_of_classes import write_classes
from torch import nn

from bench.errors import UsageError
from bench.harness.images import sets
from bench.models import repnext
from bench.models.cost import weights_hash
from bench.training import checkpoint, network, trainer
from bench.training.checkpoint import Identity
from bench.training.recipe import Recipe
from bench.training.trainer import Place, Trainer, TrainingError

RECIPE = Recipe(epochs=3, batch=4, rate=0.01, resolution=16, warmup_epochs=1, ema=0.9)
CLASSES = ("cat", "dog", "owl")


class Net(nn.Module):
    """Draws random numbers while it is trained, and has a BatchNorm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8, len(CLASSES))

    def forward(self, x):
        return self.head(self.drop(self.stem(x).mean((2, 3))))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_classes(folder, CLASSES, 6)
    return sets.find(folder)


def made(out, images, recipe=RECIPE, check=lambda: None, save_every_s=1e9, **changes):
    """A training in the folder `out`."""
    out.mkdir(exist_ok=True)
    torch.manual_seed(0)
    net = changes.pop("net", None) or Net()
    fields = {"model": "net", "recipe": msgspec.to_builtins(recipe), "data": images.digest}
    fields |= {"classes": images.classes, "seed": 0, "accumulate": 1, **changes}
    identity = Identity(**fields)
    place = Place(out, "cpu", 0, identity.accumulate, False, save_every_s, check, lambda _: None)
    return Trainer(net, recipe, images, identity, place)


def trained(out, images, **changes):
    found = made(out, images, **changes)
    found.run()
    return found


def hashes(of):
    return weights_hash(of.net), of.ema and weights_hash(of.ema)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images):
    """A training that was never stopped."""
    return trained(tmp_path_factory.mktemp("whole"), images)


class StoppedError(KeyboardInterrupt):
    """The user presses Ctrl-C."""


def stopping(after):
    """A check that stops at its n-th call."""
    left = [after]

    def check():
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError

    return check


@pytest.mark.parametrize(
    "after", range(0, 18, 2)
)  # an epoch has 4 updates, and 2 batches are held out
def test_a_training_that_was_stopped_continues_with_the_same_numbers(
    tmp_path, images, whole, after
):
    with pytest.raises(StoppedError):
        trained(tmp_path, images, check=stopping(after))
    found = trained(tmp_path, images)
    assert hashes(found) == hashes(whole)
    kept = [(each.loss, each.top1, each.top1_ema, each.rate) for each in found.history]
    assert kept == [(each.loss, each.top1, each.top1_ema, each.rate) for each in whole.history]


@pytest.mark.parametrize("after", [2, 7, 11])
def test_a_training_that_was_killed_continues_from_its_last_checkpoint(
    tmp_path, images, whole, after, monkeypatch
):
    killed = made(tmp_path, images, check=stopping(after), save_every_s=0.0)
    save = checkpoint.save
    kept = []

    def killed_while_it_saves(path, state):
        kept.append(path)
        if len(kept) <= after // 2:  # later ones never happened
            save(path, state)

    monkeypatch.setattr(checkpoint, "save", killed_while_it_saves)
    with pytest.raises(StoppedError):
        killed.run()
    monkeypatch.undo()
    assert hashes(trained(tmp_path, images)) == hashes(whole)


def test_the_log_has_a_line_per_epoch_and_the_curves_are_drawn(tmp_path, images):
    found = trained(tmp_path, images)
    lines = [json.loads(line) for line in (tmp_path / trainer.LOG).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["updates"] for line in lines] == [4, 8, 12]
    assert lines == msgspec.to_builtins(list(found.history))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_rate_rises_then_falls_as_a_cosine(tmp_path, images):
    rates = []
    found = made(tmp_path, images, recipe=msgspec.structs.replace(RECIPE, epochs=5))
    update = found._update

    def noted(*batch):
        loss = update(*batch)
        rates.append(found._optimiser.param_groups[0]["lr"])
        return loss

    found._update = noted
    found.run()
    first, last, top = RECIPE.first_rate, RECIPE.last_rate, RECIPE.rate
    assert rates[0] == pytest.approx(first)
    assert rates[2] == pytest.approx(first + 2 / 4 * (top - first))
    assert rates[4] == pytest.approx(top)
    for number in (4, 10, 19):  # 4 updates of warm-up, then 16
        expected = last + 0.5 * (top - last) * (1 + math.cos(math.pi * (number - 4) / 16))
        assert rates[number] == pytest.approx(expected)


def test_a_network_learns_what_the_images_show(tmp_path, images):
    plain = {"mixup": 0, "cutmix": 0, "rand_augment": "", "colour_jitter": 0, "erase": 0}
    recipe = msgspec.structs.replace(RECIPE, epochs=25, rate=0.05, ema=0.5, **plain)
    found = trained(tmp_path, images, recipe=recipe)
    assert found.history[-1].top1 == 100.0
    assert found.history[-1].top1_ema == 100.0
    assert found.history[-1].loss < found.history[0].loss


def test_parts_of_a_batch_make_the_same_update_where_nothing_depends_on_the_batch(tmp_path, images):
    def net():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))

    both = [trained(tmp_path / str(parts), images, net=net(), accumulate=parts) for parts in (1, 2)]
    for one, other in zip(*(each.net.parameters() for each in both), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_other_weights_under_the_same_name_are_refused(tmp_path, images):
    with pytest.raises(StoppedError):
        trained(tmp_path, images, check=stopping(1))
    with pytest.raises(UsageError, match="does not fit the network"):
        made(tmp_path, images, net=nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)))


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tmp_path, images):
    found = made(tmp_path, images)
    found.net.head.weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(TrainingError, match="a gradient is not finite in epoch 1, update 1"):
        found.run()
    assert all(bool(each.isfinite().all()) for each in found.net.parameters())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, images):
    with pytest.raises(StoppedError):
        trained(tmp_path, images, check=stopping(3))
    before = (tmp_path / checkpoint.NAME).read_bytes()
    wrong = made(tmp_path, images)
    wrong.net.head.weight.data.fill_(torch.nan)
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1, update 4") as caught:
        wrong.run()
    assert caught.value.exit_code == 1
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_the_gradient_is_cut_at_its_norm(tmp_path, images, monkeypatch):
    found = made(tmp_path, images, recipe=msgspec.structs.replace(RECIPE, epochs=2, clip=1e-3))
    norms = []

    def step(*_):
        gradients = [each.grad.norm() for each in found.net.parameters()]
        norms.append(float(torch.stack(gradients).norm()))

    monkeypatch.setattr(found._optimiser, "step", step)
    found.run()
    assert norms == pytest.approx([1e-3] * 8, rel=1e-2)


def test_without_an_average_of_the_weights_there_is_one_accuracy(tmp_path, images):
    found = trained(tmp_path, images, recipe=msgspec.structs.replace(RECIPE, epochs=2, ema=0.0))
    assert found.ema is None
    assert found.history[0].top1_ema is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "other"}, "model was net, now other"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"data": "0"}, "is of another training: other images were trained on"),
        (
            {"recipe": msgspec.structs.replace(RECIPE, ema=0.5, clip=1.0)},
            "in the recipe, clip was 0.0, now 1.0; ema was 0.9, now 0.5",
        ),
        ({"classes": ["a", "b", "c"]}, r"classes was \['cat', 'dog', 'owl'\], now"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, images, changes, said):
    with pytest.raises(StoppedError):
        trained(tmp_path, images, check=stopping(1))
    with pytest.raises(UsageError, match=said):
        made(tmp_path, images, **changes)


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (print, ("evil",))


@pytest.mark.parametrize("content", [Evil(), {"a": 1}, b"damaged"])
def test_a_file_that_is_no_checkpoint_runs_no_code_and_is_refused(
    tmp_path, images, content, capsys
):
    path = tmp_path / checkpoint.NAME
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UsageError, match="is no checkpoint of bench") as caught:
        made(tmp_path, images)
    assert "--again" in caught.value.remedy
    assert "evil" not in capsys.readouterr().out


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, {"a": 1})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UsageError, match="No space left on device"):
        checkpoint.save(path, {"a": 2})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [checkpoint.NAME]


def test_fewer_images_than_a_batch_are_refused(tmp_path, images):
    with pytest.raises(UsageError, match="18 images are fewer than a batch of 64"):
        made(tmp_path, images, recipe=msgspec.structs.replace(RECIPE, batch=64))


def test_stochastic_depth_rises_with_the_depth_and_is_off_in_eval_mode():
    net = network.untrained(network.named("repnext_u3_t"), 5, 32, 0, drop_path=1.0)
    blocks = [each for each in net.modules() if isinstance(each, repnext.RepNeXtBlock)]
    x = torch.randn(2, 96, 8, 8)
    with torch.no_grad():
        assert not torch.equal(blocks[0](x), blocks[0].act(x))  # rate 0
        last = blocks[-1]
        y = torch.randn(2, 768, 2, 2)
        assert torch.equal(last(y), last.act(y))  # rate 1
        assert not torch.equal(last.eval()(y), last.act(y))
    assert net.training
    assert net.classifier.fc.out_features == 5


def test_the_weights_are_those_of_the_constructor_and_depend_on_the_seed():
    def first(seed):
        return network.untrained(network.named("timm/test_resnet"), 3, 32, seed, 0.1).state_dict()

    same, again, other = first(0), first(0), first(1)
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not all(torch.equal(same[name], other[name]) for name in same)
    assert torch.equal(same["bn1.weight"], torch.ones_like(same["bn1.weight"]))


def test_a_warm_up_as_long_as_the_training_is_refused(tmp_path, images):
    with pytest.raises(UsageError, match="the warm-up of 3 epochs leaves none of 3"):
        made(tmp_path, images, recipe=msgspec.structs.replace(RECIPE, warmup_epochs=3))


def test_a_network_with_other_classes_or_for_other_images_is_refused():
    with pytest.raises(
        UsageError, match=r"the data has 4 classes, and the output .* shape \(2, 3\)"
    ):
        network.check(Net(), 16, 4)
    with pytest.raises(UsageError, match="does not take images of 2 x 2 pixels"):
        network.check(Net(), 2, 3)


def test_a_network_without_weights_to_train_is_refused(monkeypatch):
    monkeypatch.setattr(network, "make", lambda *_: Net().requires_grad_(requires_grad=False))
    with pytest.raises(UsageError, match="has no weights to train"):
        network.untrained(network.named("timm/test_resnet"), 3, 32, 0, 0.1)


@pytest.mark.parametrize(("name", "has"), [("shortcut_act_t", True), ("timm/test_resnet", False)])
def test_whether_a_network_has_stochastic_depth_is_known(name, has):
    net = network.untrained(network.named(name), 3, 32, 0, 0.0)
    assert network.has_stochastic_depth(net) == has


def test_memory_that_does_not_suffice_is_one_message(tmp_path, images):
    found = made(tmp_path, images)

    def forward(x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    found.net.forward = forward
    with pytest.raises(TrainingError, match="not enough memory") as caught:
        found.run()
    assert "--accumulate" in caught.value.remedy
