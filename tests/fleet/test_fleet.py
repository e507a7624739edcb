"""A fleet on loopback: processes of each role, losses, and what is refused."""

import asyncio
import collections
import json
import re
import shutil
import signal
import sys

import pytest
from support import fleet_kills
from support.fleets import Fleet, by_round, measured
from support.paths import ROOT

from bench.errors import UnavailableError
from bench.fleet import certificates, dask, extra, reach
from bench.harness import suite
from bench.records import Environment
from bench.storage import reader


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A fleet with two workers, for tests that end none of them and measure into `out`."""
    with Fleet(tmp_path_factory.mktemp("calm")) as found:
        found.scheduler()
        found.workers("first", "second")
        yield found


@pytest.fixture
def two(fleet):
    """A fleet with two workers that are connected."""
    fleet.scheduler()
    fleet.workers("first", "second")
    return fleet


def paced(name):
    """A shipped suite whose blocks take some time on the fake device."""
    text = (suite.SUITES / f"{name}.toml").read_text()
    return f"pace_s = 0.02\n{text}".replace("profile = true", "profile = false")


def test_a_run_measures_once_into_one_folder(calm):
    words = calm.client_words("--models", "resnet50,swin_t", "--batch", "1,2", "--out", "once")
    done = calm.run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(by_round(measured(calm.folder / "once"))) == 2 * 2 * 3
    assert "fake: resnet50" in done.stdout
    assert "next:    bench report once" in done.stdout
    again = calm.run(*words)
    assert again.returncode == 0
    assert "fake: resnet50" not in again.stdout
    assert len(measured(calm.folder / "once")) == 2 * 2 * 3
    anew = calm.run(*words, "--again", "--json")
    (outcome,) = json.loads(anew.stdout).values()
    assert [case["stopped_by"] for case in outcome] == ["rounds"] * 4
    newest = [each for each in measured(calm.folder / "once") if each.generation == 1]
    assert len(by_round(newest)) == 2 * 2 * 3


def test_a_dry_run_lists_the_cases_of_each_kind_and_writes_nothing(calm):
    words = calm.client_words("--models", "resnet50", "--batch", "1,2", "--out", "dry")
    done = calm.run(*words, "--pace", "15Hz", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"resnet50 pace-15hz +2 +\d+ +\d+ s", done.stdout)
    assert re.search(r"2 cases, about .+ on one such machine; nothing was measured", done.stdout)
    assert not (calm.folder / "dry").exists()
    assert calm.run(*words).returncode == 0
    before = measured(calm.folder / "dry")
    listed = calm.run(*words, "--dry-run", "--json")
    assert [[c["about_s"] for c in cases] for cases in json.loads(listed.stdout).values()] == [
        [0.0, 0.0]
    ]
    assert measured(calm.folder / "dry") == before


def test_a_range_of_batch_sizes_is_refused_with_a_remedy(calm):
    done = calm.run(*calm.client_words("--models", "resnet50", "--batch", "1..8", "--out", "range"))
    assert done.returncode == 2
    assert "Name them: --batch 1,2,4,8" in done.stderr
    assert not (calm.folder / "range").exists()


def test_records_name_no_host_and_no_folder(calm):
    words = ("--models", "resnet50", "--batch", "1", "--out", "names")
    calm.run(*calm.client_words(*words)).check_returncode()
    path = calm.folder / "names" / "fake" / reader.FILE_NAME
    assert "127.0.0.1" not in path.read_text()
    assert str(calm.folder) not in path.read_text()
    (run,) = [each for each in reader.read(path)[0] if isinstance(each, Environment)]
    flags = "--devices fake --preset quick --rounds 3 --models resnet50 --batch 1"
    assert run.command == f"bench fleet run {flags}"


def test_a_network_that_fails_is_told_and_the_exit_code_is_1(calm):
    words = ("--models", "resnet50,fault/nan", "--batch", "1", "--out", "fails")
    done = calm.run(*calm.client_words(*words))
    assert done.returncode == 1
    assert "fault/nan at batch 1 failed at check" in done.stdout
    assert calm.run(*calm.client_words(*words)).returncode == 1
    assert len(fleet_kills.failed(calm.folder / "fails")) == 1
    assert calm.run(*calm.client_words(*words, "--retry-failed")).returncode == 1
    assert len(fleet_kills.failed(calm.folder / "fails")) == 2


def test_what_a_worker_refuses_and_devices_that_nobody_has(calm):
    done = calm.run(*calm.client_words("--models", "nobody", "--batch", "1"))
    assert done.returncode == 2
    assert "error: worker with fake: unknown model 'nobody'" in done.stderr
    done = calm.run(*calm.client_words("--models", "resnet50", devices="fakes"))
    assert done.returncode == 2
    assert "unknown device 'fakes'" in done.stderr
    done = calm.run(*calm.client_words("--models", "resnet50", devices="fake,orin"))
    assert done.returncode == 3
    assert "no worker of the fleet has orin; it has: fake" in done.stderr


def test_a_stranger_is_refused_in_both_directions(calm):
    certificates.make(calm.folder / "others")
    words = calm.client_words("--models", "resnet50", "--batch", "1", "--out", "strangers")
    done = calm.run(*[each if each != "certs" else "others" for each in words])
    assert done.returncode == 3
    assert "do not accept each other's certificates" in done.stderr
    calm.worker("stranger", certs="others")
    code, said = calm.wait("stranger")
    assert code == 3
    assert "do not accept each other's certificates" in said
    assert "connected" not in said
    done = calm.run(*words)
    assert done.returncode == 0, done.stderr


def test_a_port_that_is_taken(calm):
    where = ("--certs", "certs", "--host", "127.0.0.1", "--port", str(calm.port))
    done = calm.run("scheduler", *where)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1, port {calm.port}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_scheduler_with_another_version_of_dask_is_refused(calm, monkeypatch):
    monkeypatch.setattr(reach, "VERSION", "2020.1.0")
    security = dask.security(calm.folder / "certs", "client")
    with pytest.raises(UnavailableError, match=r"this machine has 2020\.1\.0"):
        asyncio.run(reach.reach(calm.address, security, "client"))


def test_other_versions_of_bench_measure_on_their_own_and_later_records_are_left_out(tmp_path):
    roots = {"later": later(tmp_path / "a", "9.9.8"), "future": later(tmp_path / "b", "9.9.9")}
    fields = roots["future"] / "bench" / "records" / "fields.py"
    fields.write_text(fields.read_text().replace("SCHEMA = 1\n", "SCHEMA = 2\n"))
    with Fleet(tmp_path, roots=roots) as fleet:
        fleet.scheduler()
        fleet.workers("first", *roots)
        done = fleet.run(*fleet.client_words("--models", "resnet50", "--batch", "1"))
    assert done.returncode == 2
    assert "a record of a worker with bench 9.9.9 was left out: schema 2, not 1" in done.stderr
    assert "Install the newest bench here" in done.stderr
    records = measured(tmp_path / "out")
    assert len({record.environment_id for record in records}) == 2
    assert len(records) == 2 * 3


def later(root, version):
    """A folder with a copy of bench that says it has this version."""
    shutil.copytree(ROOT / "bench", root / "bench")
    file = root / "bench" / "__init__.py"
    file.write_text(re.sub('__version__ = ".*"', f'__version__ = "{version}"', file.read_text()))
    return root


def test_three_workers_finish_table_6_with_two_of_them_killed(two, tmp_path, bench):
    two.workers("third")
    (tmp_path / "table6.toml").write_text(paced("table6"))
    two.client("--suite", "table6.toml")
    left = ["first", "second", "third"]
    for said in ("round 1", "round 2"):
        two.await_text("client", said)
        left.remove(busy := two.busiest(*left))
        two.kill(busy)
    code, said = two.wait("client")
    assert code == 0, said
    rounds = by_round(measured(tmp_path / "out"))
    cases = {key[0] for key in rounds}
    assert (len(rounds), len(cases)) == (3 * 14, 14)
    assert bench("report", "out").returncode == 0
    assert (tmp_path / "out" / "fake" / "table6.md").exists()


def test_the_client_may_be_interrupted_and_resumes(two, tmp_path):
    (tmp_path / "suite.toml").write_text(fleet_kills.SUITE)
    two.client("--suite", "suite.toml")
    two.await_text("client", "round 1")
    assert two.kill("client", signal.SIGINT) == 130
    assert "Finished rounds are saved" in two.said("client")
    done = two.run(*two.client_words("--suite", "suite.toml"))
    assert done.returncode == 1, done.stderr
    assert len(by_round(measured(tmp_path / "out"))) == 16 * 3


def test_without_another_worker_or_scheduler_the_client_waits_so_long_as_it_is_told(two):
    (two.folder / "suite.toml").write_text(fleet_kills.SUITE)
    two.client("--suite", "suite.toml", "--away", "2s")
    two.await_text("client", "round 1")
    two.kill("first")
    two.kill("second")
    code, said = two.wait("client")
    assert code == 2
    assert "no worker is left" in said
    two.workers("first")
    two.client("--suite", "suite.toml", "--away", "2s")
    two.await_text("first", "connected")
    two.kill("scheduler")
    code, said = two.wait("client")
    assert code in (2, 3)
    assert "Traceback" not in said


def test_ten_kills_lose_and_double_nothing(tmp_path):
    assert sum(kills(tmp_path, 10, seed=3).values()) == 10


@pytest.mark.fleet_faults
def test_200_kills_lose_and_double_nothing(tmp_path):
    found = kills(tmp_path, 200, seed=1000)
    assert sum(found.values()) == 200
    assert min(found.values()) > 0
    print(dict(found))


def kills(folder, most, seed):
    """Kill fleets, one after another, until `most` processes were killed; return whom."""
    found = collections.Counter()
    while (left := most - sum(found.values())) > 0:
        place = folder / str(left)
        place.mkdir()
        found.update(fleet_kills.kill_at_random(place, min(20, left), seed + left))
        print(f"{sum(found.values())} kills", flush=True)
    return found


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


@pytest.mark.parametrize(
    "address", ["tls://", "tls://h", "tls://h:abc", "tls://h:99999", "tls://[::1:1", "tls://a..b:1"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(dask.UsageError, match="is no address of a scheduler"):
        dask.check_address(address)


def test_a_worker_names_a_device_that_is_not_here(fleet):
    where = ("--scheduler", fleet.address, "--certs", "certs")
    done = fleet.run("worker", *where, "--devices", "orin")
    assert done.returncode == 3
    assert "no Jetson Orin here" in done.stderr


def test_another_version_of_dask_is_refused(monkeypatch):
    monkeypatch.setattr(dask.metadata, "version", lambda name: "2020.1.0")
    with pytest.raises(UnavailableError, match=r"2020\.1\.0 is installed") as refused:
        dask.prepare()
    assert f"distributed=={extra.VERSION}" in refused.value.remedy


def test_the_extra_names_the_version_that_is_checked():
    assert f'"distributed=={extra.VERSION}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("missing", ["distributed", "cryptography"])
def test_without_the_extra_a_command_says_what_to_install(bench, tmp_path, monkeypatch, missing):
    certificates.make(tmp_path / "certs")
    for name in (missing, f"{missing}.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(dask.logging, "disable", lambda: None)
    if missing == "distributed":
        monkeypatch.setattr(dask.metadata, "version", not_found)
    where = ("--scheduler", "tls://127.0.0.1:9", "--certs", "certs")
    done = bench("fleet", "run", *where, "--devices", "fake", "--models", "resnet50")
    assert done.returncode == 3
    assert f"cryptography distributed=={extra.VERSION}" in done.stderr


def not_found(name):
    raise dask.metadata.PackageNotFoundError(name)
