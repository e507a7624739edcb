"""`bench replay` on the fake device."""

import json

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


def test_a_failed_case_has_nothing_to_reproduce(bench):
    bench("run", "--device", "fake", "--models", "fault/raise", "--batch", "1", "--rounds", "1")
    done = bench("replay", "fault/raise")
    assert done.returncode == 2
    assert "has no result to reproduce" in done.stderr
