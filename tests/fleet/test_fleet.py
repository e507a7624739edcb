"""A fleet on loopback: processes of each role, losses, and what is refused."""

import contextlib
import itertools
import signal

import msgspec
import pytest
from support import fleet_kills
from support.fleets import Fleet, by_round, measured
from support.paths import ROOT

from bench.fleet import dask
from bench.storage import reader


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path) as found:
        yield found


@pytest.fixture
def two(fleet):
    """A fleet with two workers that are connected."""
    fleet.scheduler()
    fleet.await_text("scheduler", "tls://")
    for name in ("first", "second"):
        fleet.worker(name)
    for name in ("first", "second"):
        fleet.await_text(name, "connected")
    return fleet


def test_a_run_measures_once_into_one_folder_and_writes_the_report(two, tmp_path):
    words = two.client_words("--models", "resnet50,swin_t", "--batch", "1,2")
    done = two.run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(by_round(measured(tmp_path / "out"))) == 2 * 2 * 3
    assert "fake: resnet50" in done.stdout
    assert (tmp_path / "out" / "report.md").exists()
    again = two.run(*words)
    assert again.returncode == 0
    assert "resnet50" not in again.stdout
    assert len(measured(tmp_path / "out")) == 2 * 2 * 3


def test_a_network_that_fails_is_told_and_the_exit_code_is_1(two):
    done = two.run(*two.client_words("--models", "resnet50,fault/nan", "--batch", "1"))
    assert done.returncode == 1
    assert "fault/nan at batch 1 failed at check" in done.stderr


def test_what_a_worker_refuses_and_devices_that_nobody_has(two):
    done = two.run(*two.client_words("--models", "nobody", "--batch", "1"))
    assert done.returncode == 2
    assert "worker with fake (bench " in done.stderr
    assert "unknown model 'nobody'" in done.stderr
    done = two.run(*two.client_words("--models", "resnet50", devices="fake,orin"))
    assert done.returncode == 3
    assert "no worker of the fleet has orin; it has: fake" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stranger_is_refused_in_both_directions(two, tmp_path):
    two.run("certs", "others").check_returncode()
    words = [each if each != "certs" else "others" for each in two.client_words("--suite", "smoke")]
    done = two.run(*words)
    assert done.returncode == 3
    assert "do not accept each other's certificates" in done.stderr
    where = ("--scheduler", two.address, "--certs", "others", "--devices", "fake")
    two._start("stranger", "worker", *where)
    two.await_text("stranger", "no scheduler")
    assert "connected" not in two.said("stranger")


def test_three_workers_finish_table_6_with_two_of_them_killed(two, tmp_path):
    two.worker("third")
    two.await_text("third", "connected")
    (tmp_path / "table6.toml").write_text(paced("table6"))
    two.client("--suite", "table6.toml")
    two.await_text("client", "round 1")
    two.kill("first")
    two.await_text("client", "round 2")
    two.kill("second")
    code, said = two.wait("client")
    assert code == 0, said
    rounds = by_round(measured(tmp_path / "out"))
    cases = {key[0] for key in rounds}
    assert len(rounds) == 3 * len(cases)
    assert len(cases) == 14
    assert (tmp_path / "out" / "fake" / "table6.md").exists()


def paced(name):
    """A shipped suite whose blocks take some time on the fake device."""
    from bench.harness import suite

    text = (suite.SUITES / f"{name}.toml").read_text()
    return f"pace_s = 0.02\n{text}".replace("profile = true", "profile = false")


def test_the_client_may_be_interrupted_and_resumes(two, tmp_path):
    (tmp_path / "suite.toml").write_text(fleet_kills.SUITE)
    two.client("--suite", "suite.toml")
    two.await_text("client", "round 1")
    two.kill("client", signal.SIGINT)
    assert "interrupted" in two.said("client")
    done = two.run(*two.client_words("--suite", "suite.toml"))
    assert done.returncode == 0, done.stderr
    assert len(by_round(measured(tmp_path / "out"))) == 16 * 3


@pytest.mark.slow
def test_ten_kills_lose_and_double_nothing(tmp_path):
    folders, killed = (tmp_path / str(number) for number in itertools.count()), 0
    while killed < 10:
        folder = next(folders)
        folder.mkdir()
        killed += fleet_kills.kill_at_random(folder, 10 - killed, seed=killed)


@pytest.mark.fleet_faults
def test_200_kills_lose_and_double_nothing(tmp_path):
    folders, killed = (tmp_path / str(number) for number in itertools.count()), 0
    while killed < 200:
        folder = next(folders)
        folder.mkdir()
        killed += fleet_kills.kill_at_random(folder, min(20, 200 - killed), seed=1000 + killed)
        print(f"{killed} kills", flush=True)


# --- without a scheduler ---


def test_a_scheduler_that_is_not_there_or_not_encrypted(fleet):
    done = fleet.run(*fleet.client_words("--suite", "smoke"))
    assert done.returncode == 3
    assert f"no scheduler answers at {fleet.address}" in done.stderr
    words = [each.replace("tls://", "tcp://") for each in fleet.client_words("--suite", "smoke")]
    done = fleet.run(*words)
    assert done.returncode == 2
    assert "is not an encrypted address" in done.stderr
    done = fleet.run("scheduler", "--certs", "nowhere")
    assert done.returncode == 2
    assert "bench fleet certs nowhere" in done.stderr


def test_a_worker_names_a_device_that_is_not_here(fleet):
    where = ("--scheduler", fleet.address, "--certs", "certs")
    done = fleet.run("worker", *where, "--devices", "orin")
    assert done.returncode == 3
    assert "no Jetson Orin here" in done.stderr


def test_another_version_of_dask_is_refused(monkeypatch):
    monkeypatch.setattr(dask.metadata, "version", lambda name: "2020.1.0")
    with pytest.raises(dask.UnavailableError, match=r"2020\.1\.0 is installed") as refused:
        dask.prepare()
    assert f"distributed=={dask.VERSION}" in refused.value.remedy


def test_the_extra_names_the_version_that_is_checked():
    assert f'"distributed=={dask.VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_a_record_of_a_future_schema_is_named_and_nothing_else_is_lost(tmp_path):
    from support.records import CASE, ENVIRONMENT, measurement

    from bench.fleet.campaign import Results
    from bench.fleet.errand import Offered

    came = []
    with Results(tmp_path, lambda *each: came.append(each), print) as results:
        results.open("cpu", Offered(ENVIRONMENT.chip, "env", [[CASE]], "9.9"))
        future = msgspec.structs.replace(measurement(CASE), schema=99)
        for record in (ENVIRONMENT, future, measurement(CASE, 2)):
            results.take("cpu", msgspec.json.encode(record).decode(), "9.9")
        assert results.unread == [
            "a record of the worker with cpu (bench 9.9) is left out: schema, 99, not 1"
        ]
    (store,) = results.stores.values()
    with contextlib.closing(store):
        found, skipped = reader.read(store.path)
    assert (len(found), skipped) == (2, [])
    assert len(came) == 1
