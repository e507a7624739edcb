"""The folder of exported networks: complete files only, damage is seen, and its size is bounded."""

import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.backends import artifacts
from bench.backends.artifacts import ArtifactError
from bench.records import Artifact

pytestmark = pytest.mark.usefixtures("cache")


def written(key, content=b"network"):
    return artifacts.store(key, lambda path: path.write_bytes(content))


def artifact(stored):
    return Artifact(stored.name, artifacts.hash_of(stored.content), len(stored.content), "dynamo")


def test_a_stored_file_is_found_by_its_key_and_read_by_its_artifact(cache):
    made = written("a")
    assert artifacts.stored("a") == made
    assert artifacts.is_here(artifact(made))
    assert artifacts.content_of(artifact(made)) == b"network"
    assert artifacts.folder() == cache / "backbone-bench" / "exported"
    assert artifacts.stored("b") is None


def test_without_a_variable_the_folder_is_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert artifacts.folder() == Path("~/.cache/backbone-bench/exported").expanduser()


def test_a_damaged_file_is_removed_and_named_with_a_remedy():
    made = written("a")
    path = artifacts.folder() / made.name
    path.write_bytes(b"netwark")
    with pytest.raises(ArtifactError, match=r"was changed after it was checked.*--retry-failed"):
        artifacts.content_of(artifact(made))
    assert not path.exists()
    with pytest.raises(ArtifactError, match=r"cannot be read: No such file.*--retry-failed"):
        artifacts.content_of(artifact(made))
    made = written("a")
    path.write_bytes(b"netwark")
    assert artifacts.stored("a") is None
    assert not path.exists()


def test_a_file_that_is_not_complete_has_no_name():
    def half(path):
        path.write_bytes(b"net")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artifacts.store("a", half)
    assert artifacts.files() == []
    killed = artifacts.folder() / f"a-1{artifacts.PARTIAL}"
    killed.write_bytes(b"net")
    assert artifacts.stored("a") is None
    os.utime(killed, (100, 100))
    assert artifacts.unfinished(before=99) == []
    assert artifacts.unfinished(before=101) == [killed]


def test_a_full_disk_is_named_with_a_remedy():
    def full(path):
        path.write_bytes(b"net")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ArtifactError, match=r"No space left on device.*XDG_CACHE_HOME"):
        artifacts.store("a", full)
    assert artifacts.files() == []


def test_files_that_were_not_used_for_long_make_room(monkeypatch):
    monkeypatch.setattr(artifacts, "MOST_BYTES", 20)
    for number, key in enumerate("abc"):
        made = written(key)  # 7 bytes each
        os.utime(artifacts.folder() / made.name, (number + 1, number + 1))
        if key == "b":
            artifacts.content_of(artifact(artifacts.stored("a")))  # used last
    assert [key for key in "abc" if artifacts.stored(key)] == ["a", "c"]
    large = written("d", b"x" * 30)  # the file just made stays
    assert artifacts.stored("d") == large
    assert artifacts.size_of(artifacts.files()) == 30


def net(**changes):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for name, value in changes.items():
        setattr(made[1], name, value)
    return made


@pytest.mark.parametrize(
    ("model", "images", "identity", "versions"),
    [
        (net(running_mean=torch.full((4,), 1e-3)), (1, 3, 8, 8), "net", ["torch 2"]),
        (net(), (2, 3, 8, 8), "net", ["torch 2"]),
        (net(), (1, 3, 8, 8), "another", ["torch 2"]),
        (net(), (1, 3, 8, 8), "net", ["torch 3"]),
        (net().double(), (1, 3, 8, 8), "net", ["torch 2"]),
    ],
)
def test_the_key_depends_on_weights_shapes_network_and_versions(model, images, identity, versions):
    known = artifacts.key_of(net(), [torch.zeros(1, 3, 8, 8)], "net", ["torch 2"])
    assert artifacts.key_of(net(), [torch.ones(1, 3, 8, 8)], "net", ["torch 2"]) == known
    assert artifacts.key_of(model, [torch.zeros(images)], identity, versions) != known


def test_a_network_without_an_identity_is_exported_each_time():
    keys = {artifacts.key_of(net(), [torch.zeros(1, 3, 8, 8)], "", []) for _ in range(3)}
    assert len(keys) == 3
