"""Each process is started where the refusal of the system becomes a message."""

import ast
from pathlib import Path

import bench

ROOT = Path(bench.__file__).parent
CALLS = {"subprocess.Popen", "subprocess.run", "os.fork"}
ELSEWHERE = {
    "devices/faults.py",  # in a child, where an exception is the fault that was asked for
    "devices/sensors/jtop.py",  # the sensor gives up, with the reason
    "harness/scheduler/template.py",  # the caller of `_start` has the `with` block
    "harness/worker/template.py",  # the parent hears of it, and measures the case later
}


def is_start(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS


def is_guarded(node):
    return isinstance(node, ast.With) and "starting(" in ast.unparse(node.items)


def unguarded(node):
    """Whether a process is started in the tree below `node`, outside a block of `starting`."""
    if is_start(node):
        return True
    return not is_guarded(node) and any(map(unguarded, ast.iter_child_nodes(node)))


def test_a_process_is_started_in_a_block_of_starting():
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if unguarded(ast.parse(path.read_text()))
    }
    assert found == ELSEWHERE
