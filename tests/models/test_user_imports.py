"""The user's code imports its own package, and every file that it runs is known by its hash."""

import sys
from pathlib import Path

import pytest

from bench import models
from bench.errors import UsageError
from bench.models import user
from bench.models.user.content import hash_of
from bench.models.user.layout import layout_of

BLOCKS = "from torch import nn\n\ndef B():\n    return nn.Linear({width}, 1)\n"
RELATIVE = "from .blocks import B\n\ndef net():\n    return B()\n"
ABSOLUTE = "from mynets.blocks import B\n\ndef net():\n    return B()\n"


@pytest.fixture(autouse=True)
def own_imports(monkeypatch, tmp_path):
    """A working folder, and a state of the import system that ends with the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("mynets", "blocks") or name.startswith("_bench_user_"):
            del sys.modules[name]
    sys.path_importer_cache.clear()


def package(folder, width, *, net=RELATIVE, init=True):
    """Write the package `mynets` into a folder; its network has `width` inputs."""
    root = Path(folder, "mynets")
    root.mkdir(parents=True)
    if init:
        (root / "__init__.py").touch()
    (root / "blocks.py").write_text(BLOCKS.format(width=width))
    (root / "net.py").write_text(net)


def width_of(entry):
    return user.build(user.resolve(entry).source).in_features


ENTRIES = ("{}/mynets/net.py:net", "{}::mynets.net:net")


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("net", [RELATIVE, ABSOLUTE])
@pytest.mark.parametrize("entry", ENTRIES)
def test_each_checkout_runs_its_own_package(monkeypatch, tmp_path, entry, net, init):
    """Even if the package is installed, too, or lies in the working folder."""
    package("installed", 7, net=net)
    package(".", 8, net=net)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    for side, width in (("base", 1), ("head", 2)):
        package(side, width, net=net, init=init)
        assert width_of(entry.format(side)) == width


@pytest.mark.parametrize("marker", ["pyproject.toml", ".git"])
@pytest.mark.parametrize(
    ("package_in", "script"), [("src", "net.py"), ("", "net.py"), ("src", "speed/net.py")]
)
def test_a_script_imports_the_package_of_its_checkout(
    monkeypatch, tmp_path, marker, package_in, script
):
    package("installed", 7)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    for side, width in (("base", 1), ("head", 2)):
        package(Path(side, package_in), width)
        Path(side, marker).touch()
        file = Path(side, script)
        file.parent.mkdir(exist_ok=True)
        file.write_text(ABSOLUTE)
        assert width_of(f"{file}:net") == width


def test_a_module_in_the_sources_of_the_working_folder_comes_before_an_installed_one(
    monkeypatch, tmp_path
):
    package("installed", 7)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    package("src", 3)
    assert width_of("mynets.net:net") == 3


def test_an_imported_module_that_the_checkout_has_too_is_refused(monkeypatch, tmp_path):
    """Python prefers the installed package, because the other one has no __init__.py."""
    package("installed", 7)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    package("base", 1, init=False)
    Path("base/net.py").write_text(ABSOLUTE)
    with pytest.raises(UsageError) as refused:
        width_of("base/net.py:net")
    assert "mynets.blocks was imported from installed/mynets/blocks.py" in refused.value.message
    assert "not from base/mynets/blocks.py" in refused.value.message
    assert "__init__.py" in refused.value.remedy


def test_a_module_that_was_imported_before_is_imported_again_from_the_checkout(
    monkeypatch, tmp_path
):
    package("installed", 7)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    import mynets.blocks  # noqa: F401

    package("base", 1)
    Path("base/net.py").write_text(ABSOLUTE)
    assert width_of("base/net.py:net") == 1


def test_the_imported_files_are_known_by_their_hash():
    package("base/src", 1, net="import json\n" + RELATIVE)
    source = user.resolve("base/src/mynets/net.py:net").source
    assert user.imported_files(source) == {}
    user.build(source)
    assert user.imported_files(source) == {
        f"mynets/{name}": hash_of(Path("base/src/mynets", name).read_bytes())
        for name in ("__init__.py", "blocks.py", "net.py")
    }


def test_the_package_of_the_factory_counts_even_if_it_is_installed():
    source = user.resolve("json.encoder:JSONEncoder").source
    with pytest.raises(UsageError, match=r"not an nn\.Module"):
        user.build(source)
    assert {"json/__init__.py", "json/encoder.py"} <= set(user.imported_files(source))
    assert all(name.startswith("json/") for name in user.imported_files(source))


def test_a_neighbour_that_changed_during_the_run_is_not_run():
    package("base", 1)
    model = user.resolve("base/mynets/net.py:net")
    files = {"mynets/blocks.py": hash_of(b"another")}
    source = user.identified(model, files).source
    with pytest.raises(RuntimeError, match=r"blocks.py was changed since the run began"):
        models.build("mine", source=source)


def test_a_name_tells_the_files_and_what_was_built():
    package("base", 1)
    model = user.resolve("base/mynets/net.py:net")
    files = {"mynets/net.py": "11111111"}
    names = {
        user.identified(model, files, ("abc", 3, 4)).name,
        user.identified(model, files, ("abc", 3, 5)).name,
        user.identified(model, {**files, "mynets/blocks.py": "22222222"}, ("abc", 3, 4)).name,
    }
    assert len(names) == 3
    assert {name.partition("#")[0] for name in names} == {"base/mynets/net.py:net"}


@pytest.mark.parametrize(
    ("file", "module", "folder"),
    [
        ("base/mynets/net.py", "mynets.net", "base"),
        ("base/mynets/__init__.py", "mynets", "base"),
        ("base/src/inner/deep/net.py", "inner.deep.net", "base/src"),
        ("base/script.py", "", "base"),
    ],
)
def test_a_package_begins_above_its_topmost_init(tmp_path, file, module, folder):
    for name in ("base/mynets/__init__.py", "base/src/inner/__init__.py", file):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("base/src/inner/deep").mkdir(parents=True, exist_ok=True)
    Path("base/src/inner/deep/__init__.py").touch()
    found = layout_of(tmp_path / file)
    assert (found.module, found.folders[0]) == (module, tmp_path / folder)


@pytest.mark.parametrize(
    ("imports", "module"),
    [
        ("from .part import W", "pack.net"),
        ("from ..part import W", "outer.pack.net"),
        ("from outer.pack import part", "outer.pack.net"),
        ("from pack import missing", ""),
        ("import pack", ""),
        ("def (", ""),
    ],
)
def test_a_package_without_init_begins_where_its_imports_say(tmp_path, imports, module):
    folder = tmp_path / "outer" / "pack"
    folder.mkdir(parents=True)
    (folder / "part.py").touch()
    (folder / "net.py").write_text(imports)
    assert layout_of(folder / "net.py").module == module


NO_FACTORIES = """
from torch import nn

made = nn.Linear(1, 1)
number = 3

def net(width, *, depth): ...
def words(): return "a network"
class Net(nn.Module):
    def __init__(self, width): super().__init__()
class Sized(Net):
    def __init__(self, width=3): super().__init__(width)
"""


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("made", "made is a network, not a function that returns one\nWrite `def make()"),
        ("number", "number is of type int, not a function"),
        ("net", "net needs arguments: width, depth\nWrite a function without arguments"),
        ("Net", "Net needs arguments: width"),
        ("words", "words() returned str, not an nn.Module"),
        ("nets", "unknown factory in net.py: 'nets'\nDid you mean net or Net?"),
    ],
)
def test_what_is_no_factory_is_refused_with_a_remedy(factory, said):
    Path("net.py").write_text(NO_FACTORIES)
    with pytest.raises(UsageError) as refused:
        user.build(user.resolve(f"net.py:{factory}").source)
    assert said in str(refused.value)


def test_a_class_with_defaults_is_a_factory():
    Path("net.py").write_text(NO_FACTORIES)
    assert type(user.build(user.resolve("net.py:Sized").source)).__name__ == "Sized"


@pytest.mark.parametrize("content", [b"def net(:\n", b"\x89PNG\r\n\x00", b"x = '\xff'\n"])
@pytest.mark.parametrize("name", ["net.py", "blocks.py"])
def test_a_file_that_is_no_python_is_refused(name, content):
    Path("net.py").write_text("import blocks\n")
    Path(name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"{name} is no Python file: ") as refused:
        user.build(user.resolve("net.py:net").source)
    assert "py_compile" in refused.value.remedy


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("nowhere::mynets.net:net", "the folder nowhere has no package 'mynets'"),
        ("base::other.net:net", "the folder base has no package 'other'"),
        ("base::my-nets:net", "has no package 'my-nets'"),
        ("base::mynets.absent:net", "there is no module 'mynets.absent'"),
    ],
)
def test_a_folder_without_the_module_is_refused(entry, said):
    package("base", 1)
    with pytest.raises(UsageError, match=said):
        width_of(entry)


def test_a_package_that_the_code_lacks_is_no_mistake_in_the_name():
    package("base", 1, net="import package_that_is_missing\n")
    with pytest.raises(ModuleNotFoundError, match="package_that_is_missing"):
        width_of("base::mynets.net:net")
