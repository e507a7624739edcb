"""Each example of CONTRIBUTING.md, carried out in a copy of the checkout."""

import json
import shutil
import textwrap

import pytest
from support.paths import ROOT
from support.runs import REAL_RUN, recorded

pytestmark = pytest.mark.slow

RUN = (*REAL_RUN, "--resolution", "32")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the folders `bench` and `suites`; `python -m bench` in it runs the copy."""
    for folder in ("bench", "suites"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    return tmp_path


def insert(path, after, text):
    """Insert `text` after the single occurrence of `after`."""
    source = path.read_text()
    assert source.count(after) == 1
    path.write_text(source.replace(after, after + text))


def measured(bench_process, checkout, *arguments):
    """Run the copy; return the measured cases, each with its MACs."""
    done = bench_process(*RUN, *arguments, cwd=checkout)
    assert done.returncode == 0, done.stderr + done.stdout
    records = recorded(checkout, "measurement")
    return [record["case"] | {"macs": record["cost"]["macs"]} for record in records]


def test_add_a_model_of_timm(bench_process, checkout):
    zoo = checkout / "bench" / "models" / "zoo.py"
    line = '    "tiny_resnet": TimmName("Tiny", "test_resnet", "small"),\n'
    insert(zoo, "TIMM_NAMES = {\n", line)
    (case,) = measured(bench_process, checkout, "--models", "tiny_resnet")
    assert case["form"] == "plain"


def test_add_a_size_of_repnext(bench_process, checkout):
    sizes = '    "n": Size((16, 32, 64, 128), (1, 1, 1, 1)),\n'
    insert(checkout / "bench" / "models" / "repnext.py", "SIZES = {\n", sizes)
    zoo = checkout / "bench" / "models" / "zoo.py"
    insert(zoo, 'SIZES = ("t", ', '"n", ')
    cases = measured(bench_process, checkout, "--models", "repnext_u3_n")
    assert [case["form"] for case in cases] == ["train", "rrep", "rrep_fc", "srep"]


def with_a_form(checkout, entry, method):
    """Insert the example into the two files that CONTRIBUTING.md names."""
    last = '        colour="#D55E00",\n        arrow="s",\n    ),\n'
    insert(checkout / "bench" / "models" / "forms.py", last, entry)
    block = "        return self.pw2(self.act(self.pw1(self.unit(x)))) + self.act(x)\n"
    insert(checkout / "bench" / "models" / "repnext.py", block, "\n" + method)


def form_example():
    entry, method = examples("form")
    return as_entry(entry), method


def as_entry(expression):
    """An expression as a line of a table in the code."""
    return textwrap.indent(expression.rstrip() + ",\n", "    ")


def test_add_a_form(bench_process, checkout):
    with_a_form(checkout, *form_example())
    listed = json.loads(bench_process("list", "forms", "--json", cwd=checkout).stdout)
    assert "rrep_9x9" in [entry["name"] for entry in listed]
    models = "repnext_u3_t@train,repnext_u3_t@rrep_9x9"
    cases = measured(bench_process, checkout, "--models", models)
    assert [case["form"] for case in cases] == ["train", "rrep_9x9"]
    assert cases[0]["macs"] < cases[1]["macs"]
    at_224 = ("--device", "fake", "--models", models, "--batch", "1", "--out", "fake")
    for command in (("run", *at_224), ("report", "fake")):
        done = bench_process(*command, cwd=checkout)
        assert done.returncode == 0, done.stderr
    for figure in ("figure1", "speedups"):  # an SVG file has each text as a comment
        assert "<!-- rRep-9x9 -->" in (checkout / "fake" / f"{figure}.svg").read_text()


def test_a_form_without_a_marker_is_refused(bench_process, checkout):
    entry, method = form_example()
    lines = [line for line in entry.splitlines(keepends=True) if "marker=" not in line]
    with_a_form(checkout, "".join(lines), method)
    done = bench_process("list", "forms", cwd=checkout)
    assert done.returncode != 0
    assert "Missing required argument 'marker'" in done.stderr


def examples(section):
    """The Python code blocks of a section of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split(f"## Add a {section}\n")[1]
    blocks = text.partition("\n## ")[0].split("```python\n")[1:]
    return [block.split("```")[0] for block in blocks]


def test_add_a_device(bench_process, checkout):
    (checkout / "bench" / "devices" / "abacus.py").write_text(examples("device")[0])
    devices = checkout / "bench" / "devices" / "__init__.py"
    insert(
        devices,
        "from bench.devices.orin import Orin\n",
        "from bench.devices.abacus import Abacus\n",
    )
    insert(devices, "(Cpu(), ", "Abacus(), ")
    on_it = ("--models", "mobilenetv3_s", "--device", "abacus")
    (case,) = measured(bench_process, checkout, *on_it)
    assert case["device"] == "abacus"
    assert (checkout / "out" / "abacus-1").is_dir()
    listed = bench_process("list", "devices", cwd=checkout).stdout
    assert "abacus  Abacus 1" in listed
    refused = bench_process("run", *on_it, "--precision", "tf32", cwd=checkout)
    assert (refused.returncode, "no TF32 beads" in refused.stderr) == (3, True)
    done = bench_process(
        "profile", *on_it, "--resolution", "32", "--seconds", "0.6", "--out", "out", cwd=checkout
    )
    assert done.returncode == 0, done.stderr
    assert "cores busy" in done.stdout
    done = bench_process("report", "out", cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert "an abacus has no counters" in (checkout / "out/abacus-1/results.md").read_text()


def test_add_a_backend(bench_process, checkout):
    (checkout / "bench" / "backends" / "no_onednn.py").write_text(examples("backend")[0])
    backends = checkout / "bench" / "backends" / "__init__.py"
    insert(
        backends,
        "from bench.backends.eager import Eager\n",
        "from bench.backends.no_onednn import WithoutOneDnn\n",
    )
    insert(backends, '    "cudagraph": CudaGraph(),\n', '    "no_onednn": WithoutOneDnn(),\n')
    arguments = ("--models", "mobilenetv3_s", "--backend", "eager,no_onednn")
    cases = measured(bench_process, checkout, *arguments)
    assert [case["backend"] for case in cases] == ["eager", "no_onednn"]
    listed = json.loads(bench_process("list", "backends", "--json", cwd=checkout).stdout)
    assert "no_onednn" in [entry["name"] for entry in listed]
    profiled = ("profile", "--models", "mobilenetv3_s", "--backend", "no_onednn", "--out", "out")
    done = bench_process(
        *profiled, "--resolution", "32", "--seconds", "0.6", "--json", cwd=checkout
    )
    assert done.returncode == 0, done.stderr
    (profile,) = json.loads(done.stdout)
    modules = {row["module"] for row in profile["rows"]}
    assert {"conv_stem", "bn1"} <= modules, modules


def test_add_a_figure(bench_process, checkout):
    module, entry = examples("figure")
    figures = checkout / "bench" / "report" / "figures"
    (figures / "energy.py").write_text(module)
    insert(figures / "catalogue.py", "import distributions, ", "energy, ")
    insert(figures / "catalogue.py", "FIGURES = (\n", as_entry(entry))
    on_fake = ("--models", "resnet50,swin_t", "--device", "fake", "--out", "out")
    assert bench_process("run", *on_fake, "--rounds", "1", cwd=checkout).returncode == 0
    done = bench_process("report", "out", cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert (checkout / "out/fake/energy.png").read_bytes().startswith(b"\x89PNG")
    assert "Swin-T" in (checkout / "out/fake/energy.svg").read_text()
    index = (checkout / "out/report.md").read_text()
    assert "[energy.png](fake/energy.png): energy of an image ([svg](fake/energy.svg))" in index


def test_add_a_suite(bench_process, checkout):
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a suite")[1]
    text = section.split("```toml\n")[1].split("```")[0]
    (checkout / "suites" / "mine.toml").write_text(text)
    done = bench_process("run", "--suite", "mine", "--device", "fake", "--out", "out", cwd=checkout)
    assert done.returncode == 0, done.stderr
    listed = json.loads(bench_process("list", "suites", "--json", cwd=checkout).stdout)
    assert {"mine", "smoke", "table6"} <= {entry["name"] for entry in listed}


def test_measure_a_model_of_your_own(bench_process, checkout):
    text = (ROOT / "CONTRIBUTING.md").read_text().split("```python\n")[1].split("```")[0]
    (checkout / "nets").mkdir()
    (checkout / "nets" / "mine.py").write_text(text)
    (case,) = measured(bench_process, checkout, "--models", "nets/mine.py:net")
    assert case["model"].startswith("nets/mine.py:net#")
