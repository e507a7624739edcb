"""All output of the commands goes through the functions of `bench.cli.console`."""

import ast
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent
# Faults write on purpose, and `fidelity` is a program that prints numbers for `bench selfcheck`.
OTHERS = {ROOT / "cli" / "console.py", ROOT / "devices" / "faults.py"}
OTHERS.add(ROOT / "diagnostics" / "selfcheck" / "fidelity.py")
PRINTING = {"print", "console.print", "_console.print", "sweep.console.print", "table.add_row"}
PRINTING |= {"sys.stdout.write", "sys.stderr.write", "typer.echo"}


def printing(code):
    """The calls in `code` that print, or make a row of a table."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("self.") in PRINTING:
            yield ast.unparse(node)


@pytest.mark.parametrize("code", ["print(name)", "self._console.print(a)", "table.add_row(name)"])
def test_a_call_that_prints_is_found(code):
    assert list(printing(code)) == [code]


def test_only_the_console_prints():
    files = [path for path in ROOT.rglob("*.py") if path not in OTHERS]
    assert len(files) > 80
    found = {path.name: calls for path in files if (calls := list(printing(path.read_text())))}
    assert found == {}
