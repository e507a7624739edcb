"""Each path of CONTRIBUTING.md, walked in a copy of the checkout."""

import json
import shutil

import pytest
from support.paths import ROOT
from support.runs import REAL_RUN, recorded

RUN = (*REAL_RUN, "--resolution", "32")


@pytest.fixture
def checkout(tmp_path):
    """A copy of what matters here; `python -m bench` in it runs the copy."""
    for folder in ("bench", "suites"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    return tmp_path


def insert(path, after, text):
    """Put `text` behind the one place where `after` stands."""
    source = path.read_text()
    assert source.count(after) == 1
    path.write_text(source.replace(after, after + text))


def measured(bench, checkout, *arguments):
    """The cases that a run of the copy measures."""
    done = bench(*RUN, *arguments, cwd=checkout)
    assert done.returncode == 0, done.stderr + done.stdout
    records = recorded(checkout, "measurement")
    return [record["case"] | {"macs": record["cost"]["macs"]} for record in records]


def test_add_a_model_of_timm(bench, checkout):
    zoo = checkout / "bench" / "models" / "zoo.py"
    insert(zoo, "TIMM_NAMES = {\n", '    "tiny_resnet": TimmName("test_resnet", "small"),\n')
    (case,) = measured(bench, checkout, "--models", "tiny_resnet")
    assert case["form"] == "plain"


def test_add_a_size_of_repnext(bench, checkout):
    sizes = '    "n": Size((16, 32, 64, 128), (1, 1, 1, 1)),\n'
    insert(checkout / "bench" / "models" / "repnext.py", "SIZES = {\n", sizes)
    zoo = checkout / "bench" / "models" / "zoo.py"
    insert(zoo, 'SIZES = ("t", ', '"n", ')
    cases = measured(bench, checkout, "--models", "repnext_u3_n")
    assert [case["form"] for case in cases] == ["train", "rrep", "rrep_fc", "srep"]


def test_add_a_form(bench, checkout):
    zoo = checkout / "bench" / "models" / "zoo.py"
    insert(zoo, 'BRANCHED = ("train", "rrep", ', '"copy", ')
    insert(zoo, "FORMS = {\n", '    "copy": "the block itself once more",\n')
    method = '''
    def copied(self) -> RepNeXtBlock:
        """The same block."""
        return copy.deepcopy(self)
'''
    block = "        return self.pw2(self.act(self.pw1(self.unit(x)))) + self.act(x)\n"
    insert(checkout / "bench" / "models" / "repnext.py", block, method)
    models = checkout / "bench" / "models" / "__init__.py"
    insert(models, "LAST_STEP = {", '"copy": "copied", ')
    (case,) = measured(bench, checkout, "--models", "repnext_u3_t@copy")
    assert case["form"] == "copy"


def test_add_a_device(bench, checkout):
    (checkout / "bench" / "devices" / "toy.py").write_text(
        '''"""A CPU under another name."""

import msgspec

from bench.devices.cpu import Cpu


class Toy(Cpu):
    name = "toy"

    def identify(self):
        return msgspec.structs.replace(super().identify(), device="toy", name="Toy 1")
'''
    )
    devices = checkout / "bench" / "devices" / "__init__.py"
    insert(devices, "from bench.devices.orin import Orin\n", "from bench.devices.toy import Toy\n")
    insert(devices, "(Cpu(), ", "Toy(), ")
    (case,) = measured(bench, checkout, "--models", "timm/test_resnet", "--device", "toy")
    assert case["device"] == "toy"
    assert (checkout / "out" / "toy-1").is_dir()


def test_add_a_backend(bench, checkout):
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a backend")[1]
    text = section.split("```python\n")[1].split("```")[0]
    (checkout / "bench" / "backends" / "traced.py").write_text(text)
    backends = checkout / "bench" / "backends" / "__init__.py"
    insert(backends, "cudagraph, eager", ", traced")
    insert(backends, '    "cudagraph": cudagraph,\n', '    "traced": traced,\n')
    arguments = ("--models", "timm/test_resnet", "--backend", "eager,traced")
    cases = measured(bench, checkout, *arguments)
    assert [case["backend"] for case in cases] == ["eager", "traced"]
    listed = json.loads(bench("list", "backends", "--json", cwd=checkout).stdout)
    assert "traced" in [entry["name"] for entry in listed]


def test_add_a_suite(bench, checkout):
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a suite")[1]
    text = section.split("```toml\n")[1].split("```")[0]
    (checkout / "suites" / "mine.toml").write_text(text)
    done = bench("run", "--suite", "mine", "--device", "fake", "--out", "out", cwd=checkout)
    assert done.returncode == 0, done.stderr
    listed = json.loads(bench("list", "suites", "--json", cwd=checkout).stdout)
    assert {"mine", "smoke", "table6"} <= {entry["name"] for entry in listed}


def test_a_model_that_stays_ones_own(bench, checkout):
    text = (ROOT / "CONTRIBUTING.md").read_text().split("```python\n")[1].split("```")[0]
    (checkout / "nets").mkdir()
    (checkout / "nets" / "mine.py").write_text(text)
    (case,) = measured(bench, checkout, "--models", "nets/mine.py:net")
    assert case["model"].startswith("nets/mine.py:net#")
