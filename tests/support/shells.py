"""Runs Python code in new processes, whose malloc is set up by variables of the shell."""

import os
import shutil
import subprocess
import sys

import pytest

from bench.devices import malloc
from bench.process import command_for_code

needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or not malloc.is_glibc(), reason="needs glibc"
)
RAISED = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
WRAPPER = """
extern void *__libc_malloc(unsigned long);
void *malloc(unsigned long size) { return __libc_malloc(size); }
"""


def printed(code, **variables):
    """Return the last line that a new Python prints which runs `code`."""
    environ = {**os.environ, **variables}
    done = subprocess.run(
        command_for_code(code), env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().rpartition("\n")[2]


def library(folder, name):
    """Build a library that replaces malloc under a name; return its path. Skips without a cc."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    source, path = folder / "malloc.c", folder / name
    source.write_text(WRAPPER)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    return path
