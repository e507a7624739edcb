"""`bench run --batch 1..16` on the fake device: which sizes it takes, and what it refuses."""

import json

import pytest

from bench.records import Failure, Measurement
from bench.storage import reader

RUN = ("run", "--device", "fake", "--preset", "quick", "--out", "out", "--models")


def records(tmp_path):
    found, skipped = reader.read(tmp_path / "out" / "fake" / reader.FILE_NAME)
    assert skipped == []
    return found


def sizes(tmp_path, kind=Measurement):
    return sorted({r.case.batch for r in records(tmp_path) if isinstance(r, kind)})


def test_sizes_double_and_the_curves_are_told_and_drawn(bench, tmp_path, without_figures):
    done = bench(*RUN, "resnet50,swin_t", "--batch", "1..16")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(sizes(tmp_path)) >= {1, 2, 4, 8, 16}
    assert "ResNet50: " in done.stdout
    assert "highest throughput" in done.stdout
    assert bench("report", "out").returncode == 0
    page = (tmp_path / "out" / "fake" / "curves.md").read_text()
    assert "| Swin-T" in page
    assert "1, 2, 4, 8, 16" in page


def test_the_same_command_again_measures_nothing(bench, tmp_path):
    bench(*RUN, "resnet50,swin_t", "--batch", "1..8")
    before = records(tmp_path)
    done = bench(*RUN, "resnet50,swin_t", "--batch", "1..8")
    assert done.returncode == 0
    assert records(tmp_path) == before


def test_a_run_that_ended_early_goes_on_with_the_same_sizes(bench, tmp_path):
    bench(*RUN, "resnet50,swin_t", "--batch", "1..8")
    whole = sizes(tmp_path)
    path = tmp_path / "out" / "fake" / reader.FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    done = bench(*RUN, "resnet50,swin_t", "--batch", "1..8")
    assert done.returncode == 0
    assert sizes(tmp_path) == whole
    rounds = [(r.case, r.round) for r in records(tmp_path) if isinstance(r, Measurement)]
    assert len(rounds) == len(set(rounds))


def test_a_network_that_fails_is_not_measured_at_larger_sizes(bench, tmp_path):
    done = bench(*RUN, "resnet50,fault/exhaust", "--batch", "1..4")
    assert done.returncode == 1
    assert sizes(tmp_path, Failure) == [1]
    assert sizes(tmp_path) == [1, 2, 4]


def test_training_steps_have_a_curve_too(bench, tmp_path):
    done = bench(*RUN, "resnet50", "--workload", "train", "--batch", "2..8")
    assert done.returncode == 0, done.stderr
    assert set(sizes(tmp_path)) >= {2, 4, 8}
    assert "ResNet50 training: " in done.stdout


def test_the_label_names_the_curve(bench):
    done = bench(*RUN, "resnet50", "--label", "resnet50=MyNet", "--batch", "1..4")
    assert "MyNet: " in done.stdout


def test_a_dry_run_lists_the_doubled_sizes(bench, tmp_path):
    done = bench(*RUN, "resnet50", "--batch", "1..12", "--dry-run", "--json")
    assert [each["case"].get("batch", 1) for each in json.loads(done.stdout)] == [1, 2, 4, 8, 12]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8..1", "--batch 8..1 has no size to grow to"),
        ("4..4", "--batch 4..4 has no size to grow to"),
        ("0..4", "invalid batch 0"),
        ("1...4", "batch '1...4' is not a whole number"),
        ("1..x", "batch '1..x' is not a whole number"),
        ("1..4,8", "batch '1..4' is not a whole number"),
    ],
)
def test_any_other_range_is_refused(bench, text, message):
    done = bench(*RUN, "resnet50", "--batch", text)
    assert done.returncode == 2
    assert message in done.stderr


def test_other_commands_take_no_range(bench):
    done = bench("profile", "--device", "fake", "--models", "resnet50", "--batch", "1..4")
    assert done.returncode == 2
    assert "is not a whole number" in done.stderr
