"""`bench` as a user types it: exit codes, messages, rows."""

import json
import os
import subprocess
import sys

import pytest
from support.records import ENVIRONMENT, measurement
from support.results import write

from bench.cli import list as list_command
from bench.errors import CLOSED_PIPE
from bench.models import forms, zoo
from bench.records import Case, Measurement
from bench.storage import lock
from bench.storage.results import Store

QUICK = ("run", "--device", "fake", "--rounds", "1", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--models", "repnext_u3"], 2, "Did you mean repnext_u3_"),
        (["run", "--models", "repnext_u3_t@srp"], 2, "It has: train, rrep, rrep_fc, srep"),
        (["run", "--models", "resnet50", "--device", "gpu"], 2, "unknown device 'gpu'"),
        (["run", "--models", "resnet50", "--device", "orin"], 3, "no Jetson Orin here"),
        (["run", "--models", "resnet50", "--backend", "cudagraph"], 3, "need an NVIDIA GPU"),
        (["run", "--models", "resnet50", "--precision", "tf32"], 3, "no tf32 on"),
        (["run", "--models", "resnet50", "--precision", "int4"], 2, "unknown precision 'int4'"),
        (["run", "--models", "resnet50", "--precision", "int4"], 2, "precision is `int8`"),
        (["run", "--models", "resnet50", "--precision", "int8"], 3, "no int8 with eager here"),
        (["run", "--models", "resnet50", "--precision", "half"], 2, "That is `fp16`"),
        (["run", "--models", "resnet50", "--device", "gpu"], 2, "NVIDIA GPU is --device cuda"),
        (["run", "--models", "resnet50", "--device", "mps"], 2, "There is no driver for it"),
        (["run", "--models", "resnet50", "--backend", "tflite"], 2, "it can with `onnxruntime`"),
        (["run", "--models", "resnet50", "--backend", "onnx"], 2, "That is `onnxruntime`"),
        (["run", "--models", "resnet18"], 2, "timm has it: --models timm/resnet18"),
        (["run", "--suite", "tabel6"], 2, "Did you mean table6"),
        (["run", "--suite", "none.toml"], 2, "cannot read the suite none.toml"),
        (["run", "--suite", "broken.toml"], 2, "broken.toml is not a valid suite"),
        (["run", "--models", "resnet50", "--batch", "0"], 2, "batch 0"),
        (["run", "--models", "resnet50", "--batch", "-1"], 2, "batch -1"),
        (
            ["run", "--models", "resnet50", "--batch", "many"],
            2,
            "batch 'many' is not a whole",
        ),
        (["run", "--models", "resnet50", "--threads", "0"], 2, "threads 0"),
        (["run", "--models", "resnet50", "--rounds", "0"], 2, "rounds 0"),
        (["run", "--models", "resnet50", "--budget", "0"], 2, "budget of 0"),
        (["run", "--models", "resnet50", "--preset", "fast"], 2, "unknown preset 'fast'"),
        (["run", "--models", "a,,b"], 2, "empty name"),
        (["run", "--models", "resnet50", "--batch=--5"], 2, "is not a whole number"),
        (["run", "--models", "resnet50", "--batch", "9" * 5000], 2, "is not a whole number"),
        (["run", "--suite", "deep.toml"], 2, "deep.toml is not a valid suite"),
        (["run", "--suite", "nothing.toml"], 2, "batch is empty"),
        (["run", "--models", "resnet50", "--dry-run", "--out", "x" * 300], 2, "cannot read"),
        (["report", "x" * 300], 2, "cannot be read"),
        (["report", "garbage"], 2, "1 lines left out"),
        (["run", "--models", "timm/does_not_exist"], 2, "timm/does_not_exist"),
        (["run"], 2, "nothing to measure"),
        (["run", "--models", "resnet50", "--out", ""], 2, "the name of a folder is empty"),
        (["run", "--models", "resnet50", "--suite", ""], 2, "suite"),
        (["run", "--models", "resnet50", "--device", "fake", "--out", "file"], 2, "cannot write"),
        (["report", "nowhere"], 2, "nowhere does not exist"),
        (["report", "file"], 2, "file is a file"),
        (["report", "empty"], 2, "no results to report in empty"),
        (["report", "empty", "garbage"], 2, "--to"),
        (["report"], 2, "OUT"),
        (["list", "model"], 2, "Did you mean models?"),
        (["frobnicate"], 2, "frobnicate"),
        (["run", "--frobnicate"], 2, "--frobnicate"),
    ],
)
def test_bad_input_gets_one_message_with_its_remedy(
    bench, tmp_path, monkeypatch, arguments, code, said
):
    # The real function starts a process that imports timm; tests/models/ tests it.
    monkeypatch.setattr(zoo, "_ask_timm", lambda names: (["resnet18"], {}))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.toml").write_text("models = [")
    (tmp_path / "deep.toml").write_text("models = " + "[" * 5000)
    (tmp_path / "nothing.toml").write_text('models = ["resnet50"]\nbatch = []')
    (tmp_path / "garbage" / "chip").mkdir(parents=True)
    (tmp_path / "garbage" / "chip" / "results.jsonl").write_text("not a record\n")
    before = sorted(tmp_path.rglob("*"))
    done = bench(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_orin_on_another_machine_says_what_it_found_and_how_to_run_on_a_board(bench):
    done = bench("run", "--device", "orin", "--models", "repnext_u3_t")
    assert done.returncode == 3
    assert "found no Jetson board" in done.stderr
    assert "bench run --device orin --models repnext_u3_t" in done.stderr


def test_a_run_prints_a_row_per_case_and_the_next_command(bench):
    done = bench(*QUICK, "--models", "resnet50,swin_t", "--batch", "1")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "provisional" in line]
    assert [row.split()[0] for row in rows] == ["resnet50", "swin_t"]
    assert "next:    bench report out" in done.stdout


def test_a_failed_case_gives_exit_code_1_in_this_run_and_the_next(bench):
    arguments = (*QUICK, "--models", "fault/nan,resnet50", "--batch", "1")
    for _ in range(2):
        done = bench(*arguments)
        assert done.returncode == 1
    assert bench("report", "out").returncode == 0


def test_with_json_standard_output_is_json_only(bench):
    done = bench(*QUICK, "--models", "resnet50", "--batch", "1,128", "--json")
    assert done.returncode == 0
    summaries = json.loads(done.stdout)
    assert [summary["case"]["batch"] for summary in summaries] == [1, 128]
    assert all(summary["median_s"] > 0 for summary in summaries)


def test_a_dry_run_lists_cases_and_writes_nothing(bench, tmp_path):
    done = bench("run", "--suite", "table6", "--dry-run", "--device", "fake")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1 + 14 + 1
    assert "14 cases, about" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["models", "forms", "devices", "backends", "precisions", "suites"])
def test_a_list_has_the_same_names_as_text_and_as_json(bench, kind):
    text, parsed = bench("list", kind), bench("list", kind, "--json")
    names = [entry["name"] for entry in json.loads(parsed.stdout)]
    assert [line.split("  ")[0] for line in text.stdout.splitlines()] == names
    assert names


def test_output_to_a_full_disk_gives_one_message(bench, tmp_path):
    for words in ((*QUICK, "--models", "resnet50"), ("list", "models")):
        command = [sys.executable, "-m", "bench", *words]
        with open("/dev/full", "w") as full:
            for errors in (subprocess.PIPE, subprocess.STDOUT):
                done = subprocess.run(
                    command, cwd=tmp_path, stdout=full, stderr=errors, text=True, check=False
                )
                assert done.returncode == 2
                if done.stderr:
                    lines = done.stderr.splitlines()
                    assert lines[0].startswith("error: cannot write to standard output: No space")
                    assert len(lines) == 2
    assert bench(*QUICK, "--models", "resnet50").returncode == 0


def test_a_second_run_does_not_write_into_the_same_folder(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "WAIT_S", 0.2)
    command = [sys.executable, "-m", "bench", *QUICK, "--models", "resnet50", "--rounds", "10000"]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        while "round 1" not in first.stdout.readline():
            assert first.poll() is None
        second = bench(*QUICK, "--models", "resnet50")
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert "another run is writing to out/fake/results.jsonl" in second.stderr
    assert f"process {first.pid}" in second.stderr


def test_list_alone_lists_everything(bench):
    headings = [line for line in bench("list").stdout.splitlines() if line.endswith(":")]
    assert headings == [f"{kind}:" for kind in list_command.KINDS]
    found = json.loads(bench("list", "--json").stdout)
    assert list(found) == list(list_command.KINDS)
    assert "channels_last" in [entry["name"] for entry in found["backends"]]


def test_the_list_of_models_as_json_has_parameters_and_macs(bench):
    found = {entry["name"]: entry for entry in json.loads(bench("list", "models", "--json").stdout)}
    (resnet,) = found["resnet50"]["counts"]
    assert (resnet["form"], round(resnet["params"] / 1e6, 2)) == ("plain", 25.56)
    assert round(resnet["macs"] / 1e9, 2) == 4.09
    assert [count["form"] for count in found["repnext_u3_t"]["counts"]] == list(
        forms.of(forms.REPNEXT)
    )
    assert "counts" not in found["timm/<name>"]


def test_every_command_has_the_same_default_folder(bench):
    for command in ("run", "settle", "profile", "compare", "explain", "selfcheck"):
        assert "default: results]" in " ".join(bench(command, "--help").stdout.split())


@pytest.mark.parametrize(
    "arguments", [["list", "models"], ["list", "--json"], ["--help"], ["explain", "resnet50"]]
)
def test_a_closed_pipe_ends_a_command_quietly(tmp_path, arguments):
    write(tmp_path / "results" / "chip", [ENVIRONMENT, measurement(Case("resnet50", "plain"))])
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_a_closed_pipe_ends_a_run_and_keeps_its_records(tmp_path):
    run = [sys.executable, "-m", "bench", "run", "--device", "fake", "--rounds", "2"]
    run += ["--models", "resnet50,swin_t"]
    with subprocess.Popen(
        run, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if "round 1" in line:
                break
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == CLOSED_PIPE
    kept = Store(tmp_path / "results" / "fake").records
    assert any(isinstance(record, Measurement) for record in kept)
    again = subprocess.run([*run, "--json"], cwd=tmp_path, capture_output=True, check=False)
    assert again.returncode == 0


@pytest.mark.usefixtures("without_timm")
def test_a_dry_run_builds_what_it_plans(bench, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def good(): return nn.Conv2d(3, 4, 3)\n"
        "def bad(): raise RuntimeError('no memory for it')\n"
    )
    run = ("run", "--models", "net.py:good,net.py:bad", "--batch", "1,2", "--dry-run")
    done = bench(*run)
    assert done.returncode == 1
    failing = [line for line in done.stdout.splitlines() if "cannot be built" in line]
    assert len(failing) == 2
    assert all("net.py:bad" in line and "no memory for it" in line for line in failing)
    found = json.loads(bench(*run, "--json").stdout)
    assert [bool(each["failure"]) for each in found].count(True) == 2
    assert bench("run", "--models", "net.py:good", "--batch", "1", "--dry-run").returncode == 0
    assert not (tmp_path / "results").exists()
