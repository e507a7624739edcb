"""`bench history` on the fake device: the table, the files, and what it refuses."""

import json

import pytest

RUN = ("run", "--device", "fake", "--batch", "1", "--preset", "quick", "--rounds", "3")


@pytest.fixture
def measured(bench):
    """Two runs of one network in two folders."""
    for folder in ("monday", "tuesday"):
        done = bench(*RUN, "--models", "resnet50", "--out", folder)
        assert done.returncode == 0, done.stderr
    return bench


FOLDERS = ("--in", "monday", "--in", "tuesday")


def test_two_runs_are_two_points(measured, tmp_path):
    done = measured("history", "resnet50", *FOLDERS, "--to", "page", "--bencher", "bmf.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# resnet50 on fake\n")
    assert done.stdout.count("\n| 20") == 2
    assert {path.name for path in (tmp_path / "page").iterdir()} == {
        "history.md",
        "history.json",
        "history.png",
    }
    ((name, values),) = json.loads((tmp_path / "bmf.json").read_text()).items()
    assert name == "resnet50 on fake"
    assert set(values) == {"latency", "throughput"}
    (told,) = json.loads(measured("history", "resnet50", *FOLDERS, "--json").stdout)
    assert told["points"][0]["finding"] is None
    assert told["points"][1]["reference"] == told["points"][0]["label"]
    assert told["points"][1]["latency_s"] * 1e9 == pytest.approx(values["latency"]["value"])


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (("swin_t", *FOLDERS), "no measured case named 'swin_t' in monday, tuesday", "resnet50"),
        (("resnet50", "--in", "nowhere"), "nowhere does not exist", "bench run --out"),
        (("resnet50", *FOLDERS, "--threshold", "2"), "is not a percentage", "--threshold 3%"),
        (("resnet50", *FOLDERS, "--bencher", "monday"), "monday is a folder", "Name a file"),
    ],
)
def test_a_wrong_question_is_one_message_with_its_remedy(measured, words, message, remedy):
    done = measured("history", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert remedy in done.stderr
