"""Tests share through tests/support alone, and nothing that it has is written again."""

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
    """Functions and classes at the top of a module that are not tests."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("test_")]


def imported(tree):
    """First parts of the names of the modules that a file imports, and what is taken of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def body_of(helper):
    """What a helper does, without its name, arguments and docstring."""
    has_docstring = ast.get_docstring(helper) is not None
    return ast.dump(ast.Module(helper.body[1:] if has_docstring else helper.body, []))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_file_imports_no_test_and_no_conftest(path):
    assert not set(imported(tree_of(path))) & (OTHERS | {"tests"})


def test_no_helper_is_written_twice():
    found = collections.defaultdict(list)
    for path in FILES:
        for helper in helpers_of(tree_of(path)):
            if len(ast.unparse(helper).splitlines()) > 2:
                found[body_of(helper)].append(f"{path.relative_to(TESTS)}: {helper.name}")
    twice = [places for places in found.values() if len({p.partition(":")[0] for p in places}) > 1]
    assert twice == [], "put it into tests/support"


@pytest.mark.parametrize("shared", ["records", "results", "pictures", "tensors"])
def test_a_name_of_support_is_defined_nowhere_else(shared):
    own = TESTS / "support" / f"{shared}.py"
    names = {helper.name for helper in helpers_of(tree_of(own))}
    again = [
        f"{path.relative_to(TESTS)}: {helper.name}"
        for path in FILES
        if path.parent != own.parent
        for helper in helpers_of(tree_of(path))
        if helper.name in names and not helper.decorator_list
    ]
    assert again == [], "use that of tests/support, or say in the name what is different"
