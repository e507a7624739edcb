"""Tests share code only through tests/support, and do not copy its code."""

import ast
import collections

import pytest
from support.paths import TESTS

FILES = sorted(TESTS.rglob("*.py"))
SUPPORT = {path.stem for path in TESTS.glob("support/*.py")}
OTHERS = {path.stem for path in FILES} - SUPPORT


def tree_of(path):
    return ast.parse(path.read_text())


def helpers_of(tree):
    """Return the functions and classes at the top of a module that are not tests."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("test_")]


def imported(tree):
    """Yield the top-level names of the modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def body_of(helper):
    """Return the code of a helper without its name, arguments and docstring."""
    has_docstring = ast.get_docstring(helper) is not None
    return ast.dump(ast.Module(helper.body[1:] if has_docstring else helper.body, []))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_imports_no_other_test(path):
    assert not set(imported(tree_of(path))) & (OTHERS | {"tests"})


def test_no_helper_is_written_twice():
    found = collections.defaultdict(list)
    for path in FILES:
        for helper in helpers_of(tree_of(path)):
            if len(ast.unparse(helper).splitlines()) > 2:
                found[body_of(helper)].append(f"{path.relative_to(TESTS)}: {helper.name}")
    twice = [places for places in found.values() if len({p.partition(":")[0] for p in places}) > 1]
    assert twice == [], "move it to tests/support"


@pytest.mark.parametrize("shared", ["records", "results", "pictures", "tensors"])
def test_names_of_support_are_not_defined_again(shared):
    own = TESTS / "support" / f"{shared}.py"
    names = {helper.name for helper in helpers_of(tree_of(own))}
    again = [
        f"{path.relative_to(TESTS)}: {helper.name}"
        for path in FILES
        if path.parent != own.parent
        for helper in helpers_of(tree_of(path))
        if helper.name in names and not helper.decorator_list
    ]
    assert again == [], "use the one in tests/support, or choose a name that says the difference"
