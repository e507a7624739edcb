"""Checkpoints as people save them: where the tensors are, what they are called, what fits."""

import argparse
import collections
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from support.attack import environment_files
from support.runs import REAL_RUN, recorded
from torch import nn

from bench import models
from bench.errors import UsageError
from bench.harness import networks
from bench.harness.networks import Network
from bench.models import user
from bench.models.build import load_weights
from bench.models.user import legacy
from bench.models.user.names import UserModel
from bench.process import command_for_code
from bench.records import Source

NET = """
from pathlib import Path
from torch import nn

def net():
    features = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))

def meddling():
    file = Path("w.pth")
    stored, numbers = file.read_bytes(), bytes.fromhex(Path("numbers").read_text())
    with file.open("r+b") as part:
        part.seek(stored.index(numbers))
        part.write(bytes(len(numbers)))
    return net()

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = net()

    def forward(self, x):
        return self.model(x)
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)


def own(name="net"):
    return user.resolve(f"net.py:{name}")


def tensors(name="net"):
    return models.build("mine", source=own(name).source, seed=1).state_dict()


def prefixed(prefix, weights):
    return {prefix + name: value for name, value in weights.items()}


def loaded(content, model=None, resolution=32):
    """Save a checkpoint, and load it into a network."""
    torch.save(content, "w.pth")
    weighted = user.with_weights(model or own(), Path("w.pth"))
    return load_weights(weighted.source, resolution)


def test_a_checkpoint_that_changes_while_it_is_read_is_refused():
    """A mapped file is read when its tensors are copied; the network is built before that."""
    wanted = tensors()
    numbers = next(value for value in wanted.values() if value.numel() > 50)
    Path("numbers").write_text(numbers.numpy().tobytes().hex())
    with pytest.raises(RuntimeError, match=r"w\.pth was changed since the run began"):
        loaded(wanted, own("meddling"))


def assert_loaded(model, wanted):
    found = model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["state_dict"], "under 'state_dict'"),
        (["model"], "under 'model'"),
        (["model_state_dict"], "under 'model_state_dict'"),
        (["ema"], "under 'ema'"),
        (["state_dict_ema"], "under 'state_dict_ema'"),
        (["model", "state_dict"], "under 'model' / 'state_dict'"),
    ],
)
def test_weights_are_found_in_the_checkpoints_of_training_programs(keys, said):
    content = wanted = tensors()
    for key in reversed(keys):
        content = {"epoch": 3, "args": {"lr": 0.1}, key: content}
    found = loaded(content)
    assert_loaded(found.model, wanted)
    assert found.notes == [f"w.pth: took the weights {said}"]


def test_a_compressed_checkpoint_is_refused_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    Path("w.pth").write_bytes(environment_files.bomb(1 / 64))
    assert Path("w.pth").stat().st_size < 2**20
    weighted = user.with_weights(own(), Path("w.pth"))
    with pytest.raises(UsageError, match=r"w\.pth is no checkpoint: it is compressed, .* GiB"):
        load_weights(weighted.source, 32)


def archived(change, compression=zipfile.ZIP_STORED):
    """Save tensors, and write the entries of the file anew; `change` may add to them."""
    torch.save(tensors(), "stored.pth")
    with (
        zipfile.ZipFile("stored.pth") as stored,
        zipfile.ZipFile("w.pth", "w", compression) as archive,
    ):
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
        change(archive)
    return user.with_weights(own(), Path("w.pth")).source


def test_a_compressed_checkpoint_is_refused_whatever_its_size():
    """A file of few tensors has fewer bytes in its entries than in all: the rest are names."""
    source = archived(lambda archive: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match="it is compressed"):
        load_weights(source, 32)
    assert_loaded(load_weights(archived(lambda archive: None), 32).model, tensors())


def test_entries_that_share_bytes_are_refused_before_they_are_loaded(monkeypatch):
    def share(archive):
        archive.writestr("archive/data/9", bytes(2**20))
        archive.filelist += [archive.filelist[-1]] * 2**10

    source = archived(share)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(UsageError, match="its entries share bytes, and unfold to 1 GiB"):
        load_weights(source, 32)


def test_a_tensor_that_repeats_one_number_is_refused_before_a_copy_unfolds_it():
    with pytest.raises(UsageError, match=r"it repeats numbers, and unfolds to 4.1e\+03 GiB"):
        loaded({"weight": torch.zeros(1).expand(2**20, 2**20)})


def test_tied_weights_and_small_repetitions_are_loaded():
    content = tensors()
    name = next(name for name, value in content.items() if value.dim() == 1 and value.numel() > 1)
    content[name] = torch.full((1,), 0.5).expand_as(content[name])
    found = loaded(content)
    assert_loaded(found.model, content)


def test_only_the_weights_of_a_checkpoint_are_read_into_memory():
    """The optimizer's state has 128 MiB, and a mapped file costs memory only where it is read."""
    wanted = tensors()
    state = {"model": wanted, "optimizer": {"momentum": torch.ones(2**25)}}
    torch.save(state, "w.pth")
    del state
    code = """
from pathlib import Path
from bench.devices.host import status_bytes
from bench.models import user
from bench.models.user.content import file_hash
from bench.records import Source
import torch
source = Source(weights="w.pth", weights_hash=file_hash(Path("w.pth")))
Path("/proc/self/clear_refs").write_text("5")
before = status_bytes("VmRSS")
weights = user.read_weights(source)
total = sum(float(value.sum()) for value in weights.tensors.values())
print((status_bytes("VmHWM") - before) // 2**20)
"""
    done = subprocess.run(command_for_code(code), capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64


def saved_before_1_6(content):
    torch.save(content, "w.pth", _use_new_zipfile_serialization=False)
    return user.with_weights(own(), Path("w.pth")).source


@pytest.mark.parametrize("keys", [[], ["model"], ["model", "state_dict"]])
def test_weights_that_torch_saved_before_1_6_are_loaded(keys):
    content = wanted = tensors()
    for key in reversed(keys):
        content = {"epoch": 3, "args": {"lr": 0.1}, "loss": torch.zeros(1), key: content}
    assert_loaded(load_weights(saved_before_1_6(content), 32).model, wanted)


def test_the_bytes_of_storages_in_an_old_file_are_known_without_loading_it():
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64)
    kinds += (torch.complex128, torch.int64, torch.int32, torch.int16, torch.uint8, torch.bool)
    content = {str(kind): torch.zeros(3, dtype=kind) for kind in kinds}
    saved_before_1_6({**content, "again": content})
    found = legacy.read(Path("w.pth"))
    assert sorted(found.storages.values()) == sorted(each.nbytes for each in content.values())
    assert found.bytes_of(found.content["again"]) == sum(found.storages.values())
    torch.save(content, "w.pth")
    assert legacy.read(Path("w.pth")) is None


def test_an_old_file_with_the_state_of_an_optimizer_is_refused_before_it_is_loaded(monkeypatch):
    momentum = {number: value.double() for number, value in enumerate(tensors().values())}
    optimizer = {"state": momentum, "param_groups": [{"lr": 0.1}]}
    source = saved_before_1_6({"model": tensors(), "optimizer": optimizer})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(UsageError, match=r"torch's format before 1.6, .* GiB beside the weights"):
        load_weights(source, 32)


class MakesFolder:
    """Creates a folder where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("made",)


def test_the_sizes_of_an_old_file_are_read_without_running_code():
    with Path("w.pth").open("wb") as file:
        for part in (legacy.MAGIC, 1001, {"little_endian": True}, {"weight": MakesFolder()}):
            last = file.tell()
            pickle.dump(part, file, 2)
    assert legacy.read(Path("w.pth")).storages == {}
    assert not Path("made").exists()
    pickle.loads(Path("w.pth").read_bytes()[last:])  # what the restricted reader does not do
    assert Path("made").exists()


STORAGE = object()


class OfOneGib:
    """Pickles as a tensor of four numbers, whose storage is STORAGE."""

    def __reduce__(self):
        arguments = (STORAGE, 0, (4,), (1,), False, collections.OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class OldPickler(pickle.Pickler):
    """Writes STORAGE as torch before 1.6 writes a storage of 1 GiB."""

    def persistent_id(self, value):
        kind = torch.FloatStorage
        return ("storage", kind, "0", "cpu", 2**28, None) if value is STORAGE else None


def test_an_old_file_whose_tensors_have_more_bytes_is_refused_before_it_is_loaded(monkeypatch):
    """torch loads it: a storage that is not in the list at the end of the file is never filled."""
    with Path("w.pth").open("wb") as file:
        for header in (legacy.MAGIC, 1001, {"little_endian": True}):
            pickle.dump(header, file, 2)
        OldPickler(file, 2).dump({"weight": OfOneGib()})
        pickle.dump([], file, 2)
    source = user.with_weights(own(), Path("w.pth")).source
    assert torch.load("w.pth", weights_only=True)["weight"].shape == (4,)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(UsageError, match="its tensors add up to 1 GiB, more than the file has"):
        load_weights(source, 32)


def test_an_old_file_of_other_objects_is_refused_by_the_name_of_their_class():
    with pytest.raises(UsageError, match=r"more than tensors: argparse\.Namespace"):
        load_weights(saved_before_1_6({"model": tensors(), "args": argparse.Namespace(lr=1)}), 32)


def test_tensors_that_share_bytes_of_the_file_are_refused_before_a_copy_unfolds_them(monkeypatch):
    numbers = memoryview(torch.ones(2**10).numpy())
    shared = {str(n): torch.frombuffer(numbers[n:], dtype=torch.float32) for n in range(2**9)}
    torch.save({}, "w.pth")
    source = user.with_weights(own(), Path("w.pth")).source
    monkeypatch.setattr(torch, "load", lambda *_, **__: shared)
    with pytest.raises(UsageError, match="its tensors share bytes, and unfold to"):
        load_weights(source, 32)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed_and_said(prefix):
    found = loaded(prefixed(prefix, tensors()))
    assert_loaded(found.model, tensors())
    assert found.notes == [f"w.pth: took the weights without the prefix {prefix!r}"]


def test_a_prefix_that_the_network_has_itself_stays():
    found = loaded(prefixed("module.", tensors("Wrapped")), own("Wrapped"))
    assert_loaded(found.model, tensors("Wrapped"))
    assert loaded(tensors("Wrapped"), own("Wrapped")).notes == []


def test_counters_are_ignored_and_half_precision_is_cast():
    wanted = {name: value.half() for name, value in tensors().items()}
    counters = {"total_ops": torch.zeros(1), "0.0.total_params": torch.zeros(1)}
    found = loaded(wanted | counters)
    assert found.notes == ["w.pth: ignored total_ops, total_params"]
    assert {value.dtype for value in found.model.parameters()} == {torch.float32}
    assert_loaded(found.model, {name: value.float() for name, value in wanted.items()})


def test_the_weights_of_a_checkpoint_are_not_drawn_again():
    wanted = {name: torch.full_like(value, 1e-5) for name, value in tensors().items()}
    wanted["0.1.running_mean"].zero_()  # as in a new BatchNorm
    wanted["0.1.running_var"].fill_(1.0)
    wanted["0.1.num_batches_tracked"].zero_()
    torch.save(wanted, "w.pth")
    source = user.with_weights(own(), Path("w.pth")).source
    assert_loaded(models.build("mine", source=source, resolution=32), wanted)


@pytest.mark.parametrize("name", ["timm/test_resnet", "repnext_u3_t"])
def test_a_network_of_the_zoo_has_the_classes_and_channels_of_its_weights(name):
    with torch.device("meta"):
        net = models.build(name, resolution=32, num_classes=7)
    wanted = {key: torch.zeros(value.shape) for key, value in net.state_dict().items()}
    (stem,) = (key for key, value in wanted.items() if value.dim() == 4 and value.shape[1] == 3)
    wanted[stem] = wanted[stem][:, :1].clone()
    found = loaded(wanted, UserModel(name, Source(zoo=name)))
    assert found.channels == 1
    assert found.model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 7)


def test_weights_for_grey_images_need_a_shape():
    torch.save(tensors(), "grey.pth")
    model = user.with_weights(UserModel("resnet50", Source(zoo="resnet50")), Path("grey.pth"))
    networks.check_channels([Network(model, "plain")], 3)
    networks.check_channels([Network(model, "plain", channels=1)], 1)
    with pytest.raises(UsageError, match=r"resnet50\+grey.pth#\w+ takes images of 1 channel") as no:
        networks.check_channels([Network(model, "plain", channels=1)], 3)
    assert "--input 1x224x224" in no.value.remedy


def test_a_mismatch_shows_three_names_of_each_kind():
    wrong = tensors()
    wrong["0.0.weight"] = torch.zeros(4, 5, 3, 3)
    missing = ["0.1.weight", "0.1.bias", "0.1.running_mean", "0.1.running_var", "3.bias"]
    for name in missing:
        del wrong[name]
    wrong |= {f"head.{number}": torch.zeros(1) for number in range(5)}
    with pytest.raises(UsageError) as refused:
        loaded(wrong)
    assert refused.value.message == (
        "w.pth has the weights of another network. "
        "missing: 0.1.weight, 0.1.bias, 0.1.running_mean and 2 more; "
        "unexpected: head.0, head.1, head.2 and 2 more; "
        "of another shape: 0.0.weight 4x5x3x3 instead of 4x3x3x3"
    )
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {}, "args": argparse.Namespace(lr=1)}, "more than tensors: argparse.Namespace"),
        (nn.Linear(1, 1), "more than tensors: torch.nn.modules.linear.Linear"),
        ({"epoch": 3}, "besides tensors it holds int"),
    ],
)
def test_other_objects_are_refused_by_the_name_of_their_class(content, said):
    with pytest.raises(UsageError) as refused:
        loaded(content)
    assert said in refused.value.message
    assert "torch.save(net.state_dict(), 'net.pt')" in refused.value.remedy


@pytest.mark.parametrize(
    ("entry", "model", "weights", "form"),
    [
        ("net.py:net+w.pth", "net.py:net", "w.pth", ""),
        ("net.py:net+runs/a@b/w.pth@rrep", "net.py:net", "runs/a@b/w.pth", "rrep"),
        ("c++/net.py:net", "c++/net.py:net", None, ""),
        ("c++/net.py", "c++/net.py", None, ""),
        ("c++/net.py:net+a+b.pth", "c++/net.py:net", "a+b.pth", ""),
        ("net.py:net#1a2b3c4d+w.pth", "net.py:net#1a2b3c4d", "w.pth", ""),
        ("timm/test_resnet+d/w.safetensors@plain", "timm/test_resnet", "d/w.safetensors", "plain"),
        ("base/src::a.b:net+w.pth", "base/src::a.b:net", "w.pth", ""),
        ("resnet50@plain", "resnet50", None, "plain"),
    ],
)
def test_weights_follow_the_plus_sign_after_the_model(entry, model, weights, form):
    whole, _, named = user.split_form(entry)
    assert named == form
    assert user.split_weights(whole) == (model, Path(weights) if weights else None)


def test_networks_with_weights_are_measured_beside_others(bench, tmp_path):
    Path("runs").mkdir()
    torch.save({"model": prefixed("module.", tensors())}, "runs/w.pth")
    net = models.build("timm/test_resnet", resolution=32, num_classes=5)
    torch.save(net.state_dict(), "resnet.pt")
    run = (*REAL_RUN, "--resolution", "32", "--models")
    names = "net.py:net+runs/w.pth,net.py:net,timm/test_resnet+resnet.pt@plain"
    done = bench(*run, names)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "w.pth: took the weights under 'model' without the prefix 'module.'" in done.stdout
    measured = [each["case"]["model"] for each in recorded(tmp_path, "measurement")]
    assert [name.partition("#")[0] for name in measured] == ["net.py:net"] * 2 + [
        "timm/test_resnet+resnet.pt"
    ]
    assert "+runs/w.pth#" in measured[0]
    done = bench(*run, ",".join(measured), "--dry-run")
    assert done.stdout.count("on record") == 3


@pytest.mark.usefixtures("without_timm")
def test_weights_that_do_not_fit_end_the_command(bench, tmp_path):
    torch.save(tensors(), "w.pth")
    Path("net.py").write_text(NET.replace("Linear(4, 10)", "Linear(4, 11)"))
    for names, said in (
        ("net.py:net,net.py:net+w.pth", "error: net.py:net: w.pth has the weights of another"),
        ("net.py:net#00000000", "net.py:net was changed: its hash is #"),
        ("net.py:net+w.pth#00000000", "w.pth was changed: its hash is "),
        ("resnet50+absent.pth", "cannot read absent.pth"),
    ):
        done = bench("run", "--models", names, "--batch", "1", "--out", "out")
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "out").exists()
