"""`bench tune` on the fake device: the answer, its files, going on after an end, bad input."""

import json
import re
from collections import Counter

import msgspec
import pytest
from support import command

from bench.cli import interrupts
from bench.records import Measurement, Recipe, of_cases
from bench.storage import reader
from bench.tune import offers, search, tuner
from bench.tune.tuning import Tuning

TUNE = ("tune", "repnext_u3_t", "--device", "fake", "--backend", "eager,openvino")
SHORT = (*TUNE, "--for", "10m", "--margin", "20%", "--out", "out")  # ties end it, not the time


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    """Few candidates and few rounds: each of them starts processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offers, "ALLOCATORS", ("default", "arena"))
        patch.setattr(offers, "HUGE_PAGES", ("default",))
        patch.setattr(search, "FIRST_ROUNDS", 1)
        patch.setattr(search, "MOST_ROUNDS", 2)
        patch.setattr(tuner, "FINAL_ROUNDS", 1)
        yield


def files(folder):
    """The tuning, the recipe and the page in a folder of results."""
    (state,) = (each for each in folder.glob("tune-*.json") if ".recipe" not in each.name)
    recipe, page = state.with_suffix(".recipe.json"), state.with_suffix(".md")
    return (
        msgspec.json.decode(state.read_bytes(), type=Tuning),
        msgspec.json.decode(recipe.read_bytes(), type=Recipe),
        page.read_text(),
    )


def copied(folder, to):
    """A copy of the files of a device, in the folder of results that commands take there."""
    copy = to / "out" / "fake"
    copy.mkdir(parents=True)
    for each in folder.iterdir():
        if each.is_file():
            (copy / each.name).write_bytes(each.read_bytes())
    return copy


def measured(folder):
    records, _ = reader.read(folder / reader.FILE_NAME)
    return [each for each in of_cases(records) if isinstance(each, Measurement)]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """What `bench tune --json` said, and the folder of the device."""
    folder = tmp_path_factory.mktemp("tuned")
    return command.call(*SHORT, "--json", cwd=folder), folder / "out" / "fake"


def test_the_answer_is_told_and_written(tuned):
    done, folder = tuned
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    tuning, recipe, page = files(folder)
    assert found["winner"]["form"] == recipe.case.form == "srep"
    assert found["answer"][0] in done.stderr
    assert "| RepNeXt-u3-T | 1 |" in " ".join((folder / "tuned.md").read_text().split())
    assert recipe.baseline == "repnext_u3_t@srep"
    assert (recipe.gain is not None) == (found["finding"] == "FASTER")
    assert page.startswith("# The fastest way to run repnext_u3_t at batch 1\n")
    assert tuning.finalists
    for case in tuning.known:
        assert f"{case.form} {case.backend}" in page


def test_the_final_has_processes_that_the_search_has_not_seen(tuned):
    _, folder = tuned
    tuning, *_ = files(folder)
    rounds = measured(folder)
    of_final = [each for each in rounds if each.run_id in tuning.final_runs]
    of_search = [each for each in rounds if each.run_id in tuning.search_runs]
    assert len(of_final) + len(of_search) == len(rounds)
    assert not set(tuning.final_runs) & set(tuning.search_runs)
    assert {each.case for each in of_final} == {*tuning.baselines, *tuning.finalists}
    assert {each.case for each in of_search} <= tuning.known


def test_the_same_command_again_measures_nothing(tuned):
    done, folder = tuned
    before = len(measured(folder))
    again = command.call(*SHORT, "--json", cwd=folder.parents[1])
    assert again.returncode == 0
    assert json.loads(again.stdout)["answer"] == json.loads(done.stdout)["answer"]
    assert len(measured(folder)) == before


def test_a_decided_final_continues_until_its_cases_have_had_several_rounds(
    tuned, tmp_path, monkeypatch
):
    _, folder = tuned
    copy = copied(folder, tmp_path)
    monkeypatch.setattr(tuner, "FINAL_ROUNDS", 20)
    assert command.call(*SHORT, cwd=tmp_path).returncode == 0
    tuning, *_ = files(copy)
    rounds = Counter(each.case for each in measured(copy) if each.run_id in tuning.final_runs)
    assert min(rounds.values()) == 20


def test_a_recipe_is_measured_by_bench_run(tuned, tmp_path):
    _, folder = tuned
    (path,) = folder.glob("*.recipe.json")
    _, recipe, _ = files(folder)
    run = ("run", "--device", "fake", "--models", f"repnext_u3_t@tuned:{path}", "--out", "out")
    done = command.call(*run, "--rounds", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {each.case for each in measured(tmp_path / "out" / "fake")} == {recipe.case}


def _interrupted(*_):
    raise KeyboardInterrupt


@pytest.fixture
def stop_after(monkeypatch):
    """Press Ctrl-C at the n-th block."""

    def at(count):
        left = [count]

        def check():
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        monkeypatch.setattr(interrupts, "check", check)

    return at


@pytest.mark.parametrize("blocks", [1, 60, None])
def test_a_stopped_tuning_continues(stop_after, monkeypatch, tmp_path, blocks):
    if blocks:
        stop_after(blocks)
    else:  # after the first round of the final
        monkeypatch.setattr("bench.harness.settling.settle", _interrupted)
    stopped = command.call(*SHORT, cwd=tmp_path)
    assert stopped.returncode == 130
    monkeypatch.undo()
    folder = tmp_path / "out" / "fake"
    before = measured(folder) if (folder / reader.FILE_NAME).exists() else []
    done = command.call(*SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tuning, *_ = files(folder)
    assert measured(folder)[: len(before)] == before
    assert len(tuning.search_runs) + len(tuning.final_runs) == 3
    known = {each.case for each in measured(folder)}
    assert known <= tuning.known


def test_stages_are_tried_in_other_forms_and_the_answer_says_so(tmp_path):
    done = command.call(*SHORT, "--stages", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one stage in another form: 8 tried" in done.stdout
    assert "Stages: no gain from another form in one stage." in done.stdout
    tuning, *_ = files(tmp_path / "out" / "fake")
    assert "repnext_u3_t@srep-srep-srep-rrep" in {case.name for case in tuning.known}


def test_a_reason_why_more_time_does_not_decide_is_told(monkeypatch, tmp_path):
    def settle(look, *_):
        board = look()
        told = [
            msgspec.structs.replace(each, why="no memory", ratio=None) for each in board.answers
        ]
        return board._replace(answers=told)

    monkeypatch.setattr("bench.harness.settling.settle", settle)
    done = command.call(*SHORT, cwd=tmp_path)
    assert "(no memory)" in done.stdout


def test_again_starts_anew(tuned, tmp_path):
    _, folder = tuned
    copy = copied(folder, tmp_path)
    before, *_ = files(copy)
    assert command.call(*SHORT, "--again", cwd=tmp_path).returncode == 0
    after, *_ = files(copy)
    assert not set(after.search_runs) & set(before.search_runs)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tune", "nosuch", "--device", "fake"), 2, "nosuch"),
        (("tune", "resnet50,swin_t", "--device", "fake"), 2, "names 2 networks"),
        ((*TUNE, "--for", "1ms"), 2, "is not a time"),
        (("tune", "repnext_u3_t", "--for", "2s"), 2, "4 rounds of each form take about"),
        ((*TUNE, "--preset", "nosuch"), 2, "unknown preset 'nosuch'"),
        ((*TUNE, "--patience", "7"), 2, "invalid patience 7"),
        (("tune", "resnet50@tuned:r.json", "--device", "fake"), 2, "names a recipe"),
        (("export", "resnet50@tuned:r.json", "--to", "onnx"), 2, "names a recipe"),
        ((*TUNE, "--tolerance", "much"), 2, "--tolerance 'much' is not a number"),
        ((*TUNE, "--tolerance", "0"), 2, "--tolerance '0' is not a number"),
        ((*TUNE, "--margin", "0"), 2, "--margin '0' is not a percentage"),
        ((*TUNE, "--backend", "openvin"), 2, "unknown backend 'openvin'"),
        ((*TUNE, "--precision", "fp33"), 2, "unknown precision 'fp33'"),
        ((*TUNE, "--batch", "0"), 2, "batch"),
        ((*TUNE, "--export", "none/net"), 2, "no file can be written there"),
        (("tune", "repnext_u3_t", "--backend", "tensorrt"), 3, "TensorRT needs an NVIDIA GPU"),
        (("tune", "resnet50", "--stages", "--device", "fake"), 2, "no stage of resnet50 may"),
        (("tune", "repnext_u3_t@rrep", "--stages", "--device", "fake"), 2, "no stage of repnext"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, tuple) else str(value)[:20],
)
def test_bad_input_has_one_message_and_writes_nothing(arguments, code, said, tmp_path):
    done = command.call(*arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_of_a_tuning_says_how_to_start_anew(tuned, tmp_path):
    _, folder = tuned
    (state,) = (each for each in folder.glob("tune-*.json") if ".recipe" not in each.name)
    copy = tmp_path / "out" / "fake" / state.name
    copy.parent.mkdir(parents=True)
    copy.write_text("{")
    done = command.call(*SHORT, cwd=tmp_path)
    assert done.returncode == 2
    assert "Add --again" in done.stderr


def test_a_network_of_which_every_form_fails_has_no_answer(tmp_path):
    done = command.call(
        "tune", "fault/nan", "--device", "fake", "--for", "1m", "--out", "out", cwd=tmp_path
    )
    assert done.returncode == 1
    assert "refused: fault/nan" in done.stdout
    assert "no answer" in done.stdout


def test_no_file_is_written_where_torch_executes_the_winner(tuned):
    _, folder = tuned
    done = command.call(*SHORT, "--export", "net", "--json", cwd=folder.parents[1])
    assert json.loads(done.stdout)["finding"] != "FASTER"
    assert "no file: no runtime was proven faster than eager mode" in done.stderr
    assert not list(folder.parents[1].glob("net*"))


def test_a_file_that_exists_is_found_before_anything_is_measured(tmp_path):
    (tmp_path / "net.onnx").write_text("mine")
    done = command.call(*SHORT, "--export", "net", cwd=tmp_path)
    assert done.returncode == 2
    assert "net.onnx exists already" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_recipe_of_another_device_is_told_with_the_device(tuned):
    done, folder = tuned
    (path,) = (folder.parents[1] / "out" / "fake").glob("*.recipe.json")
    assert f"bench run --models repnext_u3_t@tuned:out/fake/{path.name} --device fake" in (
        done.stderr
    )


def test_candidates_without_a_turn_are_counted(tmp_path):
    everything = ("tune", "repnext_u3_t", "--device", "fake", "--out", "out")
    done = command.call(*everything, "--for", "3s", cwd=tmp_path)
    assert done.returncode == 0
    assert re.search(
        r"Not tried: \d+ candidates, since the time for the search was over", done.stdout
    )
