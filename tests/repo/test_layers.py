"""Imports point down only, and fast commands import no heavy package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import MEASURED

import bench

ROOT = Path(bench.__file__).parent
LAYERS = [  # rooms from the top down; a room imports only rooms on lines below its own
    {"__main__"},
    {"cli"},
    {"diagnostics", "tune", "training", "fleet"},
    {"report"},
    {"harness"},
    {"analysis"},
    {"paper"},
    {"models", "backends"},
    {"devices", "storage"},
    {"records"},
    {"errors", "text", "process"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports_of(path: Path) -> set[str]:
    """Return the layers that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "bench":
            modules = [f"bench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        found |= {name.split(".")[1] for name in modules if name.startswith("bench.")}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    own = layer_of(path)
    for other in imports_of(path):
        if (ROOT / other).exists() or (ROOT / f"{other}.py").exists():
            assert other == own or LEVEL[other] > LEVEL[own], f"{own} imports {other}"


@pytest.mark.parametrize("name", ["records", "errors", "text"])
def test_the_lowest_layers_import_no_other_room(name):
    path = ROOT / name
    files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    for file in files:
        assert imports_of(file) <= {name}


RUNTIMES = {"executorch", "onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt"}
FLEET = {"cryptography", "dask", "distributed", "tornado"}
PROBE = """
import sys
sys.argv = ["bench", *{arguments!r}]
from bench.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
heavy = {heavy!r} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"torch", "timm", "pandas", "matplotlib", "scipy", *RUNTIMES, *FLEET}),
        (["fleet", "run", "--help"], {"torch", "timm", "pandas", "matplotlib", "scipy", *FLEET}),
        (["list", "backends"], {"torch", "timm", "pandas", "matplotlib", "scipy", *RUNTIMES}),
        (["list", "models"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (["list", "suites"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (["report", "--help"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (["choose", "--help"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (
            ["choose", "--in", str(MEASURED.parents[1])],
            {"torch", "timm", "pandas", "matplotlib", *RUNTIMES, *FLEET},
        ),
        (["train", "--help"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (["run", "--help"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (["selfcheck", "--help"], {"torch", "timm", "pandas", "matplotlib", "scipy"}),
        (
            ["run", "--device", "fake", "--models", "resnet50", "--rounds", "1"],
            {"torch", "timm", *RUNTIMES, *FLEET},
        ),
    ],
)
def test_fast_commands_import_no_heavy_package(arguments, heavy, tmp_path):
    code = PROBE.format(arguments=arguments, heavy=heavy)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
