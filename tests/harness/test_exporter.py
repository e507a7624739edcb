"""A network is exported once, by a process of its own; versions decide whether a round counts."""

import json

import msgspec
import pytest
from support.records import failure, measurement
from support.runs import PLAN, REAL_RUN, recorded
from support.runtimes import needs_onnxruntime

from bench.backends import BACKENDS, artifacts
from bench.backends.artifacts import hash_of as file_hash
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.scheduler import exporter
from bench.harness.scheduler.environment import runtime_of
from bench.records import Artifact, Case, Check, Cost
from bench.storage.history import current_generation, is_outdated

pytestmark = [needs_onnxruntime, pytest.mark.usefixtures("cache")]
ON_RUNTIME = Case("resnet50", "plain", "onnxruntime")
RUN = (*REAL_RUN, "--device", "cpu", "--models", "timm/test_resnet", "--resolution", "64")
RUN = (*RUN, "--backend", "eager,onnxruntime")


def rounds_of(tmp_path):
    found = recorded(tmp_path, "measurement")
    return [each for each in found if each["case"]["backend"] == "onnxruntime"]


@pytest.mark.slow
def test_a_run_exports_once_and_again_where_the_file_is_gone_or_damaged(bench_process, tmp_path):
    done = bench_process(*RUN)
    assert done.returncode == 0, done.stderr
    (first,) = rounds_of(tmp_path)
    assert first["check"]["against"] == "eager"
    assert first["runtime"].keys() == {"onnxruntime", "onnx", "onnxscript"}
    assert first["settings"]["runtime_threads"] == first["case"]["threads"] == 1
    assert first["artifact"]["providers"].keys() == {"CPUExecutionProvider"}
    assert first["cost"]["macs"] > 0
    assert first["cost"]["peak_memory_bytes"] is None  # the process also holds torch's network
    assert len(first["unseen_s"]) > 0
    (file,) = artifacts.files()
    content = file.read_bytes()
    file.unlink()
    assert bench_process(*RUN, "--rounds", "2").returncode == 0
    assert file.read_bytes() == content  # the exporter writes the same bytes
    second = rounds_of(tmp_path)[1]
    assert (second["round"], second["artifact"]["file_hash"]) == (2, file_hash(content))
    file.write_bytes(content[:-1] + b"?")
    done = bench_process(*RUN, "--rounds", "3")
    assert done.returncode == 1
    (failed,) = recorded(tmp_path, "failure")
    assert (failed["stage"], failed["error"]) == ("load", "ArtifactError")
    assert "was changed after it was checked" in failed["message"]
    assert not file.exists()
    done = bench_process(*RUN, "--rounds", "3", "--retry-failed")
    assert done.returncode == 0, done.stderr
    assert len(rounds_of(tmp_path)) == 3
    assert bench_process("report", "out").returncode == 0


def test_a_file_that_is_there_is_not_exported_again():
    class NoTemplate:
        def fork(self, job):
            raise AssertionError("a process was started")

    stored = artifacts.store("a", lambda path: path.write_bytes(b"net"))
    artifact = Artifact(stored.name, file_hash(b"net"), 3, "dynamo")
    known = Job(ON_RUNTIME, 2, PLAN, CaseFacts(Check(), Cost(), "", artifact=artifact))
    assert exporter.checked(known, NoTemplate()) is known
    eager = Job(Case("resnet50", "plain"), 1, PLAN, None)
    assert exporter.checked(eager, NoTemplate()) is eager
    (artifacts.folder() / stored.name).unlink()
    with pytest.raises(AssertionError, match="was started"):
        exporter.checked(known, NoTemplate())


def made(number, **versions):
    return measurement(ON_RUNTIME, number, runtime=versions)


def test_a_round_counts_only_for_the_versions_of_the_runtime_that_made_it():
    rounds = [made(1, onnxruntime="1.31"), made(2, onnxruntime="1.31")]
    assert current_generation(rounds, {"onnxruntime": "1.31"}, anew=False) == 0
    assert current_generation(rounds, {"onnxruntime": "1.32"}, anew=False) == 1
    newer = msgspec.structs.replace(made(1, onnxruntime="1.32"), generation=1)
    assert current_generation([*rounds, newer], {"onnxruntime": "1.32"}, anew=False) == 1
    assert current_generation([*rounds, newer], {"onnxruntime": "1.32"}, anew=True) == 2
    mixed = msgspec.structs.replace(made(2, onnxruntime="1.31"), generation=1)
    assert current_generation([newer, mixed, newer], {"onnxruntime": "1.32"}, anew=False) == 2
    failed = failure(ON_RUNTIME, runtime={"onnxruntime": "1.31"})
    assert is_outdated([failed], {"onnxruntime": "1.32"})
    assert not is_outdated([], {"onnxruntime": "1.32"})


def test_only_cases_of_a_runtime_have_its_versions():
    assert runtime_of(ON_RUNTIME) == dict(BACKENDS["onnxruntime"].versions())
    assert runtime_of(Case("resnet50", "plain")) == {}
    assert runtime_of(Case("resnet50", "plain", "onnxruntime", device="fake")) == {}


def test_records_of_torch_keep_their_ids_and_have_no_artifact():
    record = measurement(Case("resnet50", "plain"))
    assert (record.artifact, record.runtime) == (None, {})
    known = json.loads(msgspec.json.encode(record))
    del known["artifact"], known["runtime"]
    assert msgspec.convert(known, type(record)) == record
