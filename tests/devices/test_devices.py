import os

import pytest
from support.paths import write_tree

from bench import devices
from bench.analysis.conditions import conditions_over
from bench.devices import host
from bench.devices.cpu import Cpu
from bench.devices.fake import Fake, FakeSession
from bench.devices.host import Host, cgroup_quota, tidy_brand, usable_cpus
from bench.devices.kernels import calibrate
from bench.devices.threads import JIFFY_S
from bench.errors import UsageError
from bench.records import Case, Chip

V2 = {"proc/self/cgroup": "0::/box/inner\n"}
V1 = {"proc/self/cgroup": "3:cpu,cpuacct:/box\n1:name=systemd:/\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({**V2, "sys/fs/cgroup/box/cpu.max": "200000 100000"}, 2.0),
        (
            {
                **V2,
                "sys/fs/cgroup/box/cpu.max": "300000 100000",
                "sys/fs/cgroup/box/inner/cpu.max": "50000 100000",
            },
            0.5,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}, None),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4.0,
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
    ],
)
def test_the_smallest_quota_of_both_cgroup_versions_counts(tmp_path, files, quota):
    assert cgroup_quota(write_tree(tmp_path, files)) == quota


def test_usable_cpus_follow_affinity_and_quota(tmp_path):
    allowed = len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path) == allowed
    half = write_tree(tmp_path, {"sys/fs/cgroup/cpu.max": "50000 100000"})
    assert usable_cpus(half) == 1


@pytest.mark.parametrize(
    ("brand", "tidy", "slug"),
    [
        (
            "Intel(R) Xeon(R) Platinum 8260 CPU @ 2.40GHz",
            "Intel Xeon Platinum 8260",
            "intel-xeon-platinum-8260",
        ),
        ("AMD EPYC 7B13 64-Core Processor", "AMD EPYC 7B13", "amd-epyc-7b13"),
        ("../../etc", "../../etc", "etc"),
    ],
)
def test_the_name_of_a_chip_is_shortened_and_gives_a_folder_name(brand, tidy, slug):
    assert tidy_brand(brand) == tidy
    assert Chip("cpu", "cpu", tidy, 1, {}).slug == slug


def test_the_cpu_of_this_machine_has_a_description_and_a_state():
    chip = Cpu().identify()
    assert chip.name
    assert chip.threads >= 1
    assert chip.facts["memory_gib"] > 0
    assert set(Cpu().state()) == {"load_1min", "governor", "quota_cpus", "affinity_cpus"}


def test_a_cpu_session_sets_threads_and_measures_memory():
    import torch

    cpu, before = Cpu(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with cpu.session(Case("resnet50", "plain", threads=1)) as session:
            assert torch.get_num_threads() == 1
            assert torch.is_inference_mode_enabled()
            session.reset_peak_memory()
            block = torch.ones(256 * 2**20 // 4)  # large enough that malloc maps new pages
            assert session.memory().peak >= block.nbytes // 2
    finally:
        torch.set_num_threads(before)


def test_an_unknown_device_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="Did you mean cuda"):
        devices.select("cudda")


def scripted(case, round_number, calls=50):
    fake = FakeSession()
    call = fake.network(case, round_number)
    times = []
    for _ in range(calls):
        started = fake.now()
        call()
        times.append(fake.now() - started)
    return times


def test_times_of_the_fake_device_repeat_exactly():
    case = Case("repnext_u3_t", "train", device="fake")
    assert scripted(case, 1) == scripted(case, 1)
    assert scripted(case, 1) != scripted(case, 2)


def test_the_fake_device_has_a_different_mean_in_each_round():
    case = Case("repnext_u3_t", "train", device="fake")
    means = [sum(scripted(case, number)) / 50 for number in range(1, 9)]
    assert max(means) / min(means) > 1.02


def test_fused_forms_are_faster_on_the_fake_device():
    medians = [
        sorted(scripted(Case("repnext_u3_t", form, device="fake"), 1))[25]
        for form in ("train", "rrep", "srep")
    ]
    assert medians == sorted(medians, reverse=True)


def test_cpu_time_is_of_the_allowed_cpus_only(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "allowed_cpus", lambda: {1})
    stat = "cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 9 9 9 9 9 9 9 9 0 0\ncpu1 100 20 30 999 7 4 6 50 0 0\n"
    reading = Host(write_tree(tmp_path, {"proc/stat": stat})).sense()
    assert reading.busy_cpu_s == pytest.approx(160 * JIFFY_S)
    assert reading.stolen_cpu_s == pytest.approx(50 * JIFFY_S)


@pytest.mark.parametrize(
    ("folder", "groups", "text"),
    [
        ("sys/fs/cgroup/a", "0::/a", "usage_usec 5\nnr_throttled 3\nthrottled_usec 250000\n"),
        (
            "sys/fs/cgroup/cpu/a",
            "4:cpu:/a",
            "nr_periods 9\nnr_throttled 3\nthrottled_time 250000000\n",
        ),
    ],
)
def test_throttling_is_read_from_both_cgroup_versions(tmp_path, folder, groups, text):
    files = {f"{folder}/cpu.stat": text, "proc/self/cgroup": groups}
    reading = Host(write_tree(tmp_path, files)).sense()
    assert (reading.throttled_s, reading.throttled_periods) == (0.25, 3)


def test_unreadable_values_of_the_host_are_none_with_a_reason(tmp_path):
    reading = Host(tmp_path).sense()
    assert (reading.busy_cpu_s, reading.stolen_cpu_s, reading.clock_hz) == (None, None, None)
    assert (reading.throttled_s, reading.overheated, reading.power_mode) == (None, None, None)
    assert reading.missing["busy_cpu_s"] == "no /proc/stat"
    assert "cpufreq" in reading.missing["clock_hz"]
    assert reading.own_cpu_s > 0


def test_clock_governor_and_thermal_events_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "allowed_cpus", lambda: {0, 1})
    base = "sys/devices/system/cpu/cpu{}/"
    files = {base.format(0) + "cpufreq/scaling_governor": "powersave\n"}
    for index, khz in ((0, 3_000_000), (1, 2_400_000)):
        files[base.format(index) + "cpufreq/scaling_cur_freq"] = str(khz)
        files[base.format(index) + "thermal_throttle/core_throttle_count"] = "2"
    reading = Host(write_tree(tmp_path, files)).sense()
    assert (reading.clock_hz, reading.power_mode, reading.overheated) == (3e9, "powersave", 4)


@pytest.mark.parametrize("text", ["0", "<unknown>", ""])
def test_an_unknown_clock_is_none(tmp_path, monkeypatch, text):
    monkeypatch.setattr(host, "allowed_cpus", lambda: {0})
    files = {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": text}
    assert Host(write_tree(tmp_path, files)).sense().clock_hz is None


@pytest.mark.parametrize("fault", ["hog", "steal", "quota", "clock", "blind"])
def test_the_fake_device_simulates_a_disturbed_machine(fault):
    with Fake().session(Case(f"fault/{fault}", "plain", device="fake")) as session:
        before = session.sense()
        session._advance(10.0)
        after = session.sense()
    found = conditions_over([(before, after)])
    others = None if found.busy_cpu_s is None else found.busy_cpu_s - found.own_cpu_s
    assert (others == 5.0) == (fault == "hog")
    assert (found.stolen_cpu_s == 3.0) == (fault == "steal")
    assert (found.throttled_s == 2.0) == (fault == "quota")
    assert (found.lowest_clock_hz != found.highest_clock_hz) == (fault == "clock")
    assert bool(found.missing) == (fault == "blind")


def test_calibration_kernels_take_time():
    with Cpu().session(Case("resnet50", "plain", threads=1)) as session:
        found = calibrate(session.kernels(), session.now)
    assert 0 < found.compute_s < 1
    assert 0 < found.memory_s < 1
