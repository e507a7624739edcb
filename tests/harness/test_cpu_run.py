"""A real network on this machine's CPU, from the command line to the report."""

import pytest
from support.runs import REAL_RUN, recorded

RUN = (*REAL_RUN, "--device", "cpu")


def test_forms_are_checked_and_timed_and_reported(bench_process, bench, tmp_path):
    models = "repnext_u3_t,mobilenetv3_s"
    done = bench_process(*RUN, "--resolution", "64", "--models", models)
    assert done.returncode == 0, done.stderr
    found = recorded(tmp_path, "measurement")
    assert [r["case"]["form"] for r in found] == ["train", "rrep", "rrep_fc", "srep", "plain"]
    for record in found:
        assert len(record["samples_s"]) >= 5
        assert record["case"]["threads"] == 1
        assert record["cost"]["macs"] > 0
        assert record["cost"]["peak_memory_bytes"] > 0
    assert [r["check"]["against"] for r in found] == [None, "train", "train", "train", None]
    (environment,) = recorded(tmp_path, "environment")
    assert environment["versions"]["torch"]
    assert environment["environment_id"] == found[0]["environment_id"]
    assert bench("report", "out").returncode == 0
    (table,) = tmp_path.glob("out/*/results.csv")
    assert table.read_text().count("\n") == 6


@pytest.mark.slow
def test_a_network_that_rejects_its_input_is_recorded_as_a_failure(bench, tmp_path):
    done = bench(*RUN, "--resolution", "65", "--models", "timm/test_vit")
    assert done.returncode == 1
    (failed,) = recorded(tmp_path, "failure")
    assert failed["stage"] in ("build", "check", "first")
