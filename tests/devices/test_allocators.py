"""Which allocator a process has is found out by what it does, whatever its shell says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.shells import RAISED, library, needs_glibc, printed

from bench.devices import allocators, malloc
from bench.devices.allocators import ALLOCATORS, OTHER

FOUND = "from bench.devices import allocators; print(allocators.found())"
BROUGHT = "from bench.devices import allocators; print(allocators.brought({!r}))"


@needs_glibc
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "default"),
        ({"MALLOC_ARENA_MAX": "1"}, "default"),
        (RAISED, "arena"),
        ({"MALLOC_TRIM_THRESHOLD_": str(2**29)}, OTHER),
        ({"MALLOC_MMAP_MAX_": "0"}, OTHER),
        ({"MALLOC_MMAP_THRESHOLD_": str(2**16)}, OTHER),
        ({"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={2**30}"}, OTHER),
    ],
)
def test_thresholds_that_the_shell_brings_are_found(variables, expected):
    assert printed(FOUND, **variables) == expected
    said = printed(BROUGHT.format("default"), **variables)
    assert ("thresholds" in said) is (expected != "default")
    assert printed(BROUGHT.format("arena"), **variables) == "None"  # mallopt replaces them


@needs_glibc
def test_free_memory_within_the_heap_is_not_taken_for_other_thresholds():
    """A large network leaves it: malloc then maps no block that fits into it."""
    code = f"""
from bench.devices import allocators, malloc
take, give = malloc._library().malloc, malloc._library().free
give(take(31 * 2**20))  # raises the threshold, so the next blocks lie in the heap
blocks = [take(30 * 2**20) for _ in range(2 * malloc.BLOCKS)]
above = take(2**17)
for block in blocks:
    give(block)
{FOUND}"""
    assert printed(code) == "default"


@needs_glibc
def test_a_process_gets_the_thresholds_of_its_case():
    assert printed(f"from bench.devices import allocators\nallocators.apply('arena')\n{FOUND}") == (
        "arena"
    )


@needs_glibc
def test_memory_that_is_freed_causes_page_faults_only_by_default():
    code = """
from bench.devices import allocators, malloc
from bench.devices.host import own_usage
import ctypes
allocators.apply({!r})
def call():
    with malloc._blocks(malloc.LARGE, 1):
        pass
    address = malloc._library().malloc(malloc.LARGE)
    ctypes.memset(address, 1, malloc.LARGE)
    malloc._library().free(address)
call()
before = own_usage().page_faults
call()
print(own_usage().page_faults - before)
"""
    pages = 48 * 2**20 // 2**16  # of the largest base page of Linux
    assert int(printed(code.format("default"))) >= pages
    assert int(printed(code.format("arena"))) < pages / 10


@needs_glibc
def test_a_library_that_replaces_malloc_is_found_by_its_name(tmp_path):
    preload = {"LD_PRELOAD": str(library(tmp_path, "libjemalloc.so.9"))}
    assert printed(FOUND, **preload) == "jemalloc"
    assert "--allocator jemalloc" in printed(BROUGHT.format("arena"), **preload)
    assert printed(BROUGHT.format("jemalloc"), **preload) == "None"
    unknown = {"LD_PRELOAD": str(library(tmp_path, "libmimalloc.so.2"))}
    assert printed(FOUND, **unknown) == "libmimalloc.so.2"
    assert "Unset LD_PRELOAD." in printed(BROUGHT.format("default"), **unknown)


@needs_glibc
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("lscpu") is None, reason="the launcher needs lscpu")
def test_the_library_of_pytorchs_own_launcher_is_found(tmp_path):
    """It preloads the library that lies in the environment."""
    folder, program = tmp_path / "lib", tmp_path / "program.py"
    folder.mkdir()
    library(folder, "libtcmalloc.so")
    program.write_text(f"{FOUND}\n{BROUGHT.format('default')}")
    launcher = [sys.executable, "-m", "torch.backends.xeon.run_cpu", "--enable-tcmalloc"]
    launcher += ["--disable-numactl", "--disable-taskset", "--disable-iomp"]
    environ = {**os.environ, "CONDA_PREFIX": str(tmp_path)}
    done = subprocess.run(
        [*launcher, program], env=environ, capture_output=True, text=True, check=True
    )
    found, brought = done.stdout.strip().splitlines()
    assert found.endswith("tcmalloc")
    assert "--allocator tcmalloc" in brought


@needs_glibc
def test_a_library_is_found_where_the_program_has_its_own_address_of_malloc(tmp_path):
    """As programs that are not position-independent have: here, another function's address."""
    code = """
import ctypes
from bench.devices import malloc
malloc._library().malloc = ctypes.pythonapi.Py_Initialize
print(malloc.provider())
"""
    assert printed(code) == ""
    preload = {"LD_PRELOAD": str(library(tmp_path, "libjemalloc.so.9"))}
    assert printed(code, **preload) == "libjemalloc.so.9"


@needs_glibc
@pytest.mark.parametrize(("name", "has"), [("default", "jemalloc"), ("tcmalloc", "jemalloc")])
def test_a_process_with_another_library_measures_nothing(tmp_path, name, has):
    preload = {"LD_PRELOAD": str(library(tmp_path, f"lib{has}.so.2"))}
    code = f"""
from bench.devices import allocators
try:
    allocators.apply({name!r})
except allocators.AllocatorError as error:
    print(error)
"""
    assert printed(code, **preload) == (
        f"the allocator of the process is lib{has}.so.2, not {name}"
    )


def test_an_installed_library_is_preloaded_before_those_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.setattr(allocators, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(allocators.sys, "prefix", str(tmp_path))
    why, remedy = allocators.missing("jemalloc")
    assert why == "its library is not installed"
    assert remedy.endswith("sudo apt install libjemalloc2")
    assert allocators.variables("jemalloc", {}) == {}
    path = tmp_path / "libjemalloc.so.2"
    path.touch()
    assert allocators.missing("jemalloc") is None
    assert allocators.variables("jemalloc", {}) == {"LD_PRELOAD": str(path)}
    shell = {"LD_PRELOAD": "/lib/libgomp.so.1"}
    assert allocators.variables("jemalloc", shell) == {"LD_PRELOAD": f"{path}:/lib/libgomp.so.1"}


def test_only_a_library_needs_variables():
    names = [name for name, each in ALLOCATORS.items() if not each.library]
    assert [allocators.variables(name, {}) for name in names] == [{}, {}]


@pytest.mark.skipif(sys.platform != "linux", reason="needs the linker of Linux")
def test_the_libraries_of_this_process_are_found_without_a_callback():
    """A callback of the linker can wait for ever for another thread that imports an extension."""
    found = [os.fsdecode(file) for file in malloc._loaded_files()]
    mapped = Path("/proc/self/maps").read_text()
    assert any("libc" in file or "musl" in file for file in found)
    assert all(os.path.realpath(file) in mapped for file in found if file.startswith("/"))
    assert len(found) == len(set(found))
    assert not hasattr(malloc, "_Callback")
