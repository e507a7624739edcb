"""On a Jetson, no command of ours replaces the torch of the board's vendor."""

import re

import pytest
from support.jetson_trees import RELEASE, TREES, release
from support.paths import write_tree

from bench.devices.installation import how_to_install

ALL = ("torch", "torchvision", "timm")


def of_torch_from_the_public_index(command):
    return [
        each
        for each in command.split(" && ")
        if re.search(r"\btorch", each) and "--index-url https://pypi.jetson" not in each
    ]


@pytest.mark.parametrize(
    ("board", "index"),
    [("JetPack 6, Orin Nano 8GB", "jp6/cu126"), ("JetPack 7, Orin NX", "sbsa/cu130")],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_jetson_takes_torch_from_its_vendor_and_nothing_replaces_it(
    tmp_path, board, index, again
):
    root = write_tree(tmp_path, TREES[board].files)
    for packages in (ALL, ("timm",), ("torch",)):
        command = how_to_install(*packages, again=again, root=root)
        assert of_torch_from_the_public_index(command) == []
        assert all("--no-deps" in each for each in command.split(" && "))
        assert all(name in command for name in packages)
        assert (index in command) == ("torch" in packages)
        assert ("--force-reinstall" in command) == again


@pytest.mark.parametrize("which", ["an old JetPack", "an unknown JetPack"])
def test_a_jetson_without_a_known_index_points_to_the_page(tmp_path, which):
    files = dict(TREES["JetPack 5, AGX Orin"].files)
    if which == "an unknown JetPack":
        files[RELEASE] = release(99, "1.0")
    command = how_to_install(*ALL, root=write_tree(tmp_path, files))
    assert "pip" not in command
    assert "docs/orin.md" in command


def test_another_machine_takes_all_packages_from_the_public_index(tmp_path):
    assert how_to_install(*ALL, root=tmp_path) == "pip install torch torchvision timm"
