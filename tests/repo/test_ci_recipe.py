"""The commands of docs/ci.md, on two checkouts of a package: a slow-down fails the job."""

import re
import shlex

import pytest
from support.paths import ROOT, write_tree

from bench.analysis.recorded import Recorded
from bench.analysis.verdict import Verdict

RECIPE = re.compile(r"```\n(bench run .*?)\n(bench compare .*?)\n```", re.DOTALL)
# The paper's preset takes minutes. These settings replace it, and make the network small.
SHORT = ("--preset", "quick", "--rounds", "4", "--resolution", "64", "--threads", "1")
CHECKOUT = {
    "pyproject.toml": "",
    "net.py": "from mynets.model import Net\n\ndef net():\n    return Net()\n",
    "mynets/__init__.py": "",
    "mynets/blocks.py": """
from torch import nn

DEPTH = {depth}

def body(width):
    return nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(DEPTH)))
""",
    "mynets/model.py": """
from torch import nn
from mynets import blocks
from .blocks import body

class Net(nn.Sequential):
    def __init__(self):
        assert body is blocks.body
        pool = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
        super().__init__(nn.Conv2d(3, 32, 3, stride=2), body(32), *pool)
""",
}


def checkout(folder, depth):
    files = {path: text.replace("{depth}", str(depth)) for path, text in CHECKOUT.items()}
    write_tree(folder, files)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "code", "finding"), [(9, 1, "SLOWER"), (2, 0, "")])
@pytest.mark.usefixtures("without_timm")
def test_the_job_fails_if_an_imported_module_became_slower(
    bench, tmp_path, monkeypatch, depth, code, finding
):
    """The package is installed, too, and lies in the working folder."""
    checkout(tmp_path / "base", 2)
    checkout(tmp_path / "head", depth)
    for elsewhere in (tmp_path, tmp_path / "installed"):
        checkout(elsewhere, 5)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    # Other tests compute at the same time, which makes every result INVALID.
    monkeypatch.setattr(Recorded, "verdict", lambda *_: Verdict("VALID", []))
    recipe = RECIPE.search((ROOT / "docs" / "ci.md").read_text())
    measure, compare = (shlex.split(line)[1:] for line in recipe.groups())
    at = measure.index("--preset")
    measure[at : at + 2] = SHORT
    done = bench(*measure)
    assert done.returncode == 0, done.stderr + done.stdout
    done = bench(*compare)
    assert finding in done.stdout
    assert done.returncode == code, done.stdout
    assert ("ran the same code" in done.stderr) == (code == 0)


def test_the_workflow_has_the_commands_of_the_recipe():
    text = (ROOT / "docs" / "ci.md").read_text()
    for command in RECIPE.search(text).groups():
        assert " ".join(text.split()).count(command) == 2
