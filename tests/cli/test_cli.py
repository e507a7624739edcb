"""`bench` as a user types it: exit codes, messages, rows."""

import json
import subprocess
import sys

import pytest

from bench.models import zoo

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
        (["run", "--models", "resnet50", "--precision", "int8"], 2, "unknown precision 'int8'"),
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
    monkeypatch.setattr(zoo, "_ask_timm", lambda names: (["resnet18"], []))
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


def test_a_second_run_does_not_write_into_the_same_folder(bench, tmp_path):
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
