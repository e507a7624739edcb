"""User models: from a file, a package or an entry point, with and without weights."""

import pickle
from pathlib import Path

import pytest
import torch
from support.runs import REAL_RUN, recorded
from support.weights import Payload

from bench import models
from bench.errors import UsageError
from bench.models import user
from bench.models.user.content import hash_of
from bench.records import Source

NET = '''"""A network of the user's."""

from torch import nn
from part import WIDTH  # a file in the same folder


def net():
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, bias=False), nn.BatchNorm2d(WIDTH), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(WIDTH, 10),
    )


def broken():
    raise RuntimeError("out of ideas")


def nothing():
    return "a network"


def merging():
    import timm
    return timm.create_model("mobileone_s0", num_classes=10)
'''
RUN = (*REAL_RUN, "--resolution", "32")


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A folder with the user's code; it is also the working folder."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").write_text(NET)
    (tmp_path / "nets" / "part.py").write_text("WIDTH = 6\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_named_by_its_relative_path_and_content(nets):
    first = user.resolve("nets/mine.py:net")
    assert first.name.startswith("nets/mine.py:net#")
    assert user.resolve(str(nets / "nets" / "mine.py") + ":net").name == first.name
    (nets / "nets" / "mine.py").write_text(NET + "\n")
    assert user.resolve("nets/mine.py:net").name != first.name


def test_a_file_outside_the_working_folder_is_named_without_its_path(nets, monkeypatch):
    (nets / "elsewhere").mkdir()
    monkeypatch.chdir(nets / "elsewhere")
    assert user.resolve("../nets/mine.py:net").name.startswith("mine.py:net#")


@pytest.mark.parametrize("name", ["resnet50", "timm/resnet18", "net.py:", ":net", "a:b-c"])
def test_other_names_are_not_user_models(name):
    assert user.resolve(name) is None


@pytest.mark.parametrize("name", ["none.py:net", "no_such_package:net"])
def test_a_missing_file_or_package_is_refused(nets, name):
    with pytest.raises(UsageError):
        user.resolve(name)


def installed(name: str, entry_points: bytes) -> None:
    """Install a package with these entry points into the folder `site`."""
    info = Path("site") / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(entry_points)


def test_an_installed_package_offers_models_by_entry_point(nets, monkeypatch):
    installed("offer", b"[bench.models]\noffered = json:loads\nresnet50 = json:loads\n")
    monkeypatch.syspath_prepend(str(nets / "site"))
    assert user.unreadable_packages() == []
    assert user.resolve("offered") == user.UserModel(
        "offered", Source(module="json", factory="loads")
    )
    assert user.resolve("resnet50") is None


@pytest.mark.parametrize(
    "malformed",
    [
        b"[console_scripts]\nno equals sign\n",
        b"[bench.models]\nmine = not a reference!\n",
        b"[bench.models]\nmine = only.a.module\n",
        b"\xff\xfe[bench.models]\n",
    ],
)
def test_malformed_entry_points_of_a_package_are_named_and_the_others_offer_models(
    nets, bench, monkeypatch, malformed
):
    installed("broken", malformed)
    installed("offer", b"[bench.models]\noffered = json:loads\n")
    monkeypatch.syspath_prepend(str(nets / "site"))
    assert user.entry_points().keys() == {"offered"}
    assert user.resolve("mine") is None
    said = "the package broken offers no models, because its entry_points.txt is malformed ("
    done = bench("list", "models")
    assert done.returncode == 0
    assert "offered" in done.stdout
    assert done.stderr.startswith(f"warning: {said}")
    flags = ("--device", "fake", "--batch", "1", "--rounds", "1")
    done = bench("run", "--models", "resnet50", *flags)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_a_user_network_is_built_from_the_seed_in_eval_mode(nets):
    source = user.resolve("nets/mine.py:net").source
    first, second = (models.build("mine", source=source, seed=3) for _ in range(2))
    assert not first.training
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("nested", [False, True])
def test_weights_are_loaded_from_safetensors_and_from_torch(nets, suffix, nested):
    from safetensors.torch import save_file

    source = user.resolve("nets/mine.py:net").source
    wanted = models.build("mine", source=source, seed=1).state_dict()
    path = nets / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(wanted, path)
    else:
        torch.save({"state_dict": wanted} if nested else wanted, path)
    model = user.with_weights(user.resolve("nets/mine.py:net"), path)
    assert f"+weights.{suffix}#" in model.name
    built = models.build("mine", source=model.source, seed=2).state_dict()
    assert all(torch.equal(built[name], value) for name, value in wanted.items())


def test_a_checkpoint_with_code_is_refused_and_the_code_does_not_run(nets):
    (nets / "evil.pt").write_bytes(pickle.dumps({"weight": Payload()}, protocol=2))
    model = user.with_weights(user.resolve("nets/mine.py:net"), nets / "evil.pt")
    with pytest.raises(UsageError, match="more than tensors"):
        models.build("mine", source=model.source)
    assert not (nets / "harm").exists()


def test_weights_may_be_a_link_whose_target_has_another_suffix(nets):
    from safetensors.torch import save_file

    source = user.resolve("nets/mine.py:net").source
    wanted = models.build("mine", source=source, seed=1).state_dict()
    save_file(wanted, nets / "blob")
    (nets / "w.safetensors").symlink_to("blob")  # as in a cache of downloads
    model = user.with_weights(user.resolve("nets/mine.py:net"), nets / "w.safetensors")
    built = models.build("mine", source=model.source, seed=2).state_dict()
    assert all(torch.equal(built[name], value) for name, value in wanted.items())


def test_user_networks_are_measured_and_their_exceptions_become_failures(bench, nets):
    listed = ",".join(
        f"nets/mine.py:{name}" for name in ("net", "broken", "merging", "merging@rrep")
    )
    done = bench(*RUN, "--models", listed, cwd=nets)
    assert done.returncode == 1, done.stderr
    measured, plain, merged = recorded(nets, "measurement")
    assert (plain["case"]["form"], merged["case"]["form"]) == ("plain", "rrep")
    assert merged["cost"]["params"] < plain["cost"]["params"] / 2
    assert merged["check"]["largest_relative_error"] < 1e-5
    assert measured["case"]["model"].startswith("nets/mine.py:net#")
    assert measured["cost"]["params"] == 3 * 9 * 6 + 12 + 70
    assert measured["files"] == {
        name: hash_of((nets / "nets" / name).read_bytes()) for name in ("mine.py", "part.py")
    }
    (failed,) = recorded(nets, "failure")
    assert (failed["stage"], failed["message"]) == ("build", "out of ideas")
    assert str(nets) not in (next(nets.glob("out/*/results.jsonl"))).read_text()
    assert bench("report", "out", cwd=nets).returncode == 0


def test_weights_for_several_models_are_refused(bench, nets):
    (nets / "w.pt").write_bytes(b"")
    done = bench(*RUN, "--models", "resnet50,swin_t", "--weights", "w.pt", cwd=nets)
    assert done.returncode == 2
    assert "--weights fit one model" in done.stderr
    done = bench(*RUN, "--models", "resnet50", "--weights", "none.pt", cwd=nets)
    assert done.returncode == 2
    assert "cannot read none.pt" in done.stderr


@pytest.mark.slow
def test_a_model_of_the_zoo_can_load_weights(bench, nets):
    net = models.build("mobilenetv3_s", resolution=32)
    torch.save(net.state_dict(), nets / "w.pt")
    done = bench(*RUN, "--models", "mobilenetv3_s", "--weights", "w.pt", cwd=nets)
    assert done.returncode == 0, done.stdout + done.stderr
    (measured,) = recorded(nets, "measurement")
    assert measured["case"]["model"].startswith("mobilenetv3_s+w.pt#")


def test_a_file_that_changes_during_a_run_is_not_measured_under_its_old_name(nets):
    source = user.resolve("nets/mine.py:net").source
    (nets / "nets" / "mine.py").write_text(NET.replace("10", "11"))
    with pytest.raises(RuntimeError, match=r"mine.py was changed since the run began"):
        models.build("mine", source=source)


def test_statistics_from_a_factory_are_kept(nets):
    text = (
        NET
        + """

def trained():
    made = net()
    made[1].running_mean.fill_(3.0)
    return made
"""
    )
    (nets / "nets" / "mine.py").write_text(text)
    built = models.build("mine", source=user.resolve("nets/mine.py:trained").source)
    assert bool((built[1].running_mean == 3.0).all())


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ("resnet50@plain", ("resnet50", "@", "plain")),
        ("a@b/mine.py:net@rrep", ("a@b/mine.py:net", "@", "rrep")),
        ("a@b/mine.py:net", ("a@b/mine.py:net", "", "")),
    ],
)
def test_a_form_follows_the_at_sign_after_the_factory(entry, parts):
    assert user.split_form(entry) == parts


def test_a_file_without_a_factory_is_refused_with_an_example(nets):
    with pytest.raises(UsageError, match=r"--models nets/mine.py:net"):
        user.resolve("nets/mine.py")
