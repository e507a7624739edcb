"""`bench run --scenario`: names, refusals, and the names that other commands take."""

import pytest
from support.runs import recorded

RUN = ("run", "--device", "fake", "--preset", "quick", "--rounds", "3", "--out", "out", "--models")


def test_scenarios_are_measured_beside_the_tight_loop_and_reported(
    bench, tmp_path, without_figures
):
    done = bench(*RUN, "resnet50,swin_t", "--batch", "1", "--scenario", "tight,cold,pipeline")
    assert (done.returncode, done.stderr) == (0, "")
    found = {record["case"].get("scenario") for record in recorded(tmp_path, "measurement")}
    assert found == {"tight", "cold", "pipeline"}
    assert bench("report", "out").returncode == 0
    page = (tmp_path / "out" / "fake" / "in-use.md").read_text()
    assert "## Start of a process" in page
    assert "## With preprocessing and copies" in page


def test_pace_is_short_for_a_scenario_and_the_batch_is_1_without_a_tight_loop(bench, tmp_path):
    assert bench(*RUN, "resnet50", "--pace", "15Hz").returncode == 0
    cases = [record["case"] for record in recorded(tmp_path, "measurement")]
    assert {(case["scenario"], case["batch"]) for case in cases} == {("pace-15hz", 1)}


def test_a_case_of_a_scenario_has_a_name_for_other_commands(bench, tmp_path):
    bench(*RUN, "resnet50,swin_t", "--scenario", "rest-1s,pipeline")
    done = bench("compare", "resnet50 rest-1s", "swin_t rest-1s", "--in", "out")
    assert done.returncode in (0, 4)
    assert "rest-1s" in done.stdout
    done = bench("explain", "resnet50 pipeline", "--in", "out")
    assert done.returncode == 0
    assert "--scenario pipeline" in done.stdout
    assert "preprocessing 2.00, copy in 0.200, network " in done.stdout


def test_choose_takes_the_tight_loop_alone(bench, tmp_path):
    bench(*RUN, "resnet50,swin_t", "--scenario", "rest-1s")
    done = bench("choose", "--max-latency", "1s", "--device", "fake", "--in", "out")
    assert done.returncode == 2
    assert "no inferences in a tight loop" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message", "remedy"),
    [
        (("--scenario", "rest"), "unknown scenario 'rest'", "rest-1s"),
        (("--scenario", "pace-0hz"), "invalid scenario 'pace-0hz'", "--scenario pace-15hz"),
        (("--pace", "fast"), "--pace 'fast' is not a rate", "--pace 15Hz"),
        (
            ("--batch", "1..8", "--scenario", "rest-1s"),
            "a curve of the throughput needs calls that follow one another",
            "Leave out --scenario",
        ),
        (
            ("--scenario", "cold", "--workload", "train", "--batch", "4"),
            "training steps are measured one after another",
            "--scenario",
        ),
    ],
)
def test_wrong_scenarios_are_refused(bench, flags, message, remedy):
    done = bench(*RUN, "resnet50", *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_a_profile_has_no_scenario(bench):
    done = bench("profile", "--models", "resnet50", "--scenario", "cold", "--out", "out")
    assert done.returncode == 2
    assert "a profile is one of a tight loop" in done.stderr


def test_a_dry_run_counts_the_rests(bench):
    done = bench(*RUN, "resnet50", "--scenario", "rest-10s", "--device", "cpu", "--dry-run")
    assert done.returncode == 0
    assert "3 min" in done.stdout


def test_a_run_resumes_and_measures_nothing_twice(bench, tmp_path):
    words = (*RUN, "resnet50", "--scenario", "cold,sustained-5s")
    bench(*words)
    before = recorded(tmp_path, "measurement")
    assert bench(*words).returncode == 0
    assert recorded(tmp_path, "measurement") == before
