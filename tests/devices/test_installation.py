"""On a Jetson, no command of ours replaces the torch of the board's vendor."""

import re
from functools import partial
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from support.jetson_trees import RELEASE, TREES, release
from support.paths import ROOT, write_tree
from support.requirements import needed_by

from bench.backends import BACKENDS, compiled
from bench.devices import installation
from bench.devices.installation import how_to_install
from bench.diagnostics.doctor import FOR_OLDER_TORCH
from bench.errors import UsageError
from bench.report.figures import canvas

FROM_VENDOR = installation.FROM_VENDOR
ALL = ("torch", "torchvision", "timm")


def of_torch_from_the_public_index(command):
    return [
        each
        for each in command.split(" && ")
        if re.search(r"\btorch", each) and "--index-url https://pypi.jetson" not in each
    ]


def installed_with_dependencies(command):
    """Return the packages of the commands that let pip install what a package needs."""
    commands = [each.partition("pip install ")[2].split() for each in command.split(" && ")]
    return [
        name for words in commands if "--no-deps" not in words for name in words if name[0] != "-"
    ]


def normal(name):
    return name.lower().replace("_", "-")


@pytest.mark.parametrize(
    ("board", "index"),
    [("JetPack 6, Orin Nano 8GB", "jp6/cu126"), ("JetPack 7, Orin NX", "sbsa/cu130")],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_jetson_takes_torch_from_its_vendor_and_nothing_replaces_it(
    tmp_path, board, index, again
):
    root = write_tree(tmp_path, TREES[board].files)
    for packages in (ALL, ("timm",), ("torch",), ("torch", "triton")):
        command = how_to_install(*packages, again=again, root=root)
        assert of_torch_from_the_public_index(command) == []
        assert not {*FROM_VENDOR} & needed_by(installed_with_dependencies(command))
        assert all(name in command for name in packages)
        assert (index in command) == ("torch" in packages)
        assert ("--force-reinstall" in command) == again


@pytest.mark.parametrize("is_of_the_system", [True, False])
def test_pip_is_told_to_install_into_a_python_of_the_system(
    tmp_path, monkeypatch, is_of_the_system
):
    monkeypatch.setattr(installation.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(installation.sys, "base_prefix", installation.sys.prefix)
    if is_of_the_system:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    root = write_tree(tmp_path, TREES["JetPack 7, Orin NX"].files)
    commands = how_to_install(*ALL, root=root).split(" && ")
    assert [("--break-system-packages" in each) for each in commands] == [is_of_the_system] * 3
    monkeypatch.setattr(installation.sys, "base_prefix", "/usr")  # in an environment
    assert "--break-system-packages" not in how_to_install(*ALL, root=root)


def test_timm_gets_what_it_needs_besides_the_packages_of_the_vendor(tmp_path):
    root = write_tree(tmp_path, TREES["JetPack 6, Orin Nano 8GB"].files)
    *_, alone = how_to_install("timm", root=root).split(" && ")
    assert alone == "pip install --no-deps timm"
    needed = {normal(Requirement(line).name) for line in metadata.requires("timm")}
    with_dependencies = installed_with_dependencies(how_to_install("timm", root=root))
    assert {*map(normal, with_dependencies)} == needed - {*FROM_VENDOR}
    assert "huggingface" not in how_to_install("numpy<2", root=root)


@pytest.mark.parametrize("which", ["an old JetPack", "an unknown JetPack"])
def test_a_jetson_without_a_known_index_points_to_the_page(tmp_path, which):
    files = dict(TREES["JetPack 5, AGX Orin"].files)
    if which == "an unknown JetPack":
        files[RELEASE] = release(99, "1.0")
    command = how_to_install(*ALL, root=write_tree(tmp_path, files))
    assert "pip" not in command
    assert "docs/orin.md" in command
    alone = how_to_install("numpy<2", root=tmp_path)  # this package does not need the index
    assert alone == "pip install --no-deps 'numpy<2'"


def test_the_page_on_orin_gives_the_same_commands_and_the_right_power_mode():
    text = (ROOT / "docs" / "orin.md").read_text()
    for index in installation.INDEXES.values():
        assert "/".join(index.split("/")[-2:]) in text
    assert installation.INTO_THE_SYSTEM in text
    assert f"'{FOR_OLDER_TORCH}'" in text
    words = " ".join(text.split())
    assert "`nvpmodel -p --verbose` lists the modes" in words
    assert "take the one named MAXN (`MAXN_SUPER` on a Super board)" in words
    assert "nvpmodel -m 0" not in words


def test_the_remedies_of_a_backend_and_of_the_figures_keep_the_vendors_torch(tmp_path, monkeypatch):
    root = write_tree(tmp_path, TREES["JetPack 7, Orin NX"].files)
    for room in (compiled, canvas):
        monkeypatch.setattr(room, "how_to_install", partial(how_to_install, root=root))
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(compiled.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(compiled.util, "find_spec", lambda name: None)
    assert "sbsa/cu130 triton" in BACKENDS["compile"].missing("cuda")
    monkeypatch.setattr(canvas, "FONT", "no such font")
    canvas._glyphs.cache_clear()
    with pytest.raises(UsageError) as raised:
        canvas._glyphs()
    canvas._glyphs.cache_clear()
    assert raised.value.remedy.endswith(": pip install --force-reinstall --no-deps matplotlib")


def test_another_machine_takes_all_packages_from_the_public_index(tmp_path):
    assert how_to_install(*ALL, root=tmp_path) == "pip install torch torchvision timm"
    assert how_to_install("numpy<2", root=tmp_path) == "pip install 'numpy<2'"
