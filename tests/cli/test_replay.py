"""`bench replay` on the fake device."""

import json
import re

import pytest

RUN = ("run", "--device", "fake", "--models", "resnet50,swin_t", "--batch", "1")
RUN += ("--preset", "quick", "--rounds", "4")


@pytest.fixture
def measured(bench):
    assert bench(*RUN).returncode == 0
    return bench


def test_a_case_of_this_machine_is_reproduced(measured, tmp_path):
    done = measured("replay", "resnet50")
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("REPRODUCED: ")
    assert (tmp_path / "replays" / "fake" / "results.jsonl").exists()
    stored = (tmp_path / "results" / "fake" / "results.jsonl").read_text()
    assert "replay" not in stored  # the stored results are as they were


def test_a_result_that_was_changed_is_different(measured, tmp_path):
    path = tmp_path / "results" / "fake" / "results.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if "samples_s" in record:
            record["samples_s"] = [seconds / 3 for seconds in record["samples_s"]]
        if record["type"] == "environment":
            record["versions"]["torch"] = "1.0"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = measured("replay", "resnet50", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["finding"] == "DIFFERENT"
    assert found["ratio"][0] == pytest.approx(3.0, rel=0.1)
    assert found["differences"][0]["kind"] == "versions"


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (("deit_s",), "no case named 'deit_s'", "resnet50"),
        (("resnet50", "--in", "nowhere"), "nowhere does not exist", "bench run --out"),
        (("resnet50", "--margin", "5"), "is not a percentage", "--margin 3%"),
    ],
)
def test_a_wrong_question_is_one_message_with_its_remedy(measured, words, message, remedy):
    done = measured("replay", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert remedy in done.stderr


def test_a_name_of_several_cases_lists_their_ids(bench):
    bench("run", "--device", "fake", "--models", "repnext_u3_t", "--batch", "1", "--rounds", "1")
    done = bench("replay", "repnext_u3_t")
    assert done.returncode == 2
    assert "repnext_u3_t names 4 cases" in done.stderr
    assert "repnext_u3_t@srep" in done.stderr


def test_a_name_without_a_scenario_is_that_of_the_tight_loop(bench, tmp_path):
    bench(*RUN, "--scenario", "tight,rest-1s")
    assert bench("replay", "resnet50").returncode == 0
    assert bench("replay", "resnet50 rest-1s", "--out", "rested").returncode == 0
    stores = (tmp_path / folder / "fake" / "results.jsonl" for folder in ("replays", "rested"))
    tight, rested = (store.read_text() for store in stores)
    found = [set(re.findall(r'"scenario":"([^"]+)"', text)) for text in (tight, rested)]
    assert found == [{"tight"}, {"rest-1s"}]


def test_a_failed_case_has_nothing_to_reproduce(bench):
    bench("run", "--device", "fake", "--models", "fault/raise", "--batch", "1", "--rounds", "1")
    done = bench("replay", "fault/raise")
    assert done.returncode == 2
    assert "has no result to reproduce" in done.stderr


def test_the_folder_of_the_stored_result_is_refused(measured, tmp_path):
    before = (tmp_path / "results" / "fake" / "results.jsonl").read_bytes()
    done = measured("replay", "resnet50", "--out", "results")
    assert done.returncode == 2
    assert "holds the stored result" in done.stderr
    assert (tmp_path / "results" / "fake" / "results.jsonl").read_bytes() == before


def test_too_few_processes_are_refused_before_anything_is_measured(bench, tmp_path):
    bench("run", "--device", "fake", "--models", "resnet50", "--batch", "1", "--rounds", "2")
    done = bench("replay", "resnet50")
    assert done.returncode == 2
    assert "fewer than 3 processes" in done.stderr
    assert not (tmp_path / "replays").exists()


def test_an_interrupted_replay_goes_on_and_a_finished_one_starts_anew(measured, tmp_path):
    def rounds():
        lines = (tmp_path / "replays" / "fake" / "results.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["type"] == "measurement"]

    assert measured("replay", "resnet50").returncode == 0
    path = tmp_path / "replays" / "fake" / "results.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert measured("replay", "resnet50").returncode == 0
    assert [each.get("generation", 0) for each in rounds()] == [0] * 4
    assert measured("replay", "resnet50").returncode == 0
    assert [each.get("generation", 0) for each in rounds()] == [0] * 4 + [1] * 4


def test_a_case_of_two_chips_is_named_by_its_folder(measured, tmp_path):
    folder = tmp_path / "results"
    (folder / "other").mkdir()
    text = (folder / "fake" / "results.jsonl").read_text()
    (folder / "other" / "results.jsonl").write_text(text.replace('"name":"fake"', '"name":"Other"'))
    done = measured("replay", "resnet50")
    assert done.returncode == 2
    assert "on record of several chips: fake, other" in done.stderr
    assert "--in results/fake" in done.stderr
