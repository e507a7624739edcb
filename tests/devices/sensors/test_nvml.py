"""An NVIDIA GPU through NVML: facts, state and gauges, with and without failing functions."""

import sys
import types

import pytest
from support import fake_pynvml
from support.fake_pynvml import (
    MEM,
    MIB,
    PROCESSES,
    SM,
    a100,
    h200,
    instance,
    mig_a100,
    names_asked,
    orin,
    process,
)

from bench.devices.sensors.nvml import open_gpu
from bench.devices.sensors.nvml_answer import FUNCTION_NOT_FOUND
from bench.devices.sensors.throttles import throttles_of
from bench.records import Gauges

FACTS = {
    "driver": "570.86.15",
    "memory_gib": 140,
    "sm_count": 132,
    "compute_capability": "9.0",
    "max_clock_mhz": 1980,
    "power_limit_w": 700,
    "ecc": "on",
    "mig": "off",
}
STATE = {
    "persistence": "on",
    "compute_mode": "default",
    "temperature_c": 34,
    "idle_power_w": 76.5,
    "clock_mhz": 345,
    "memory_used_gib": 1.8,
    "foreign_processes": 4,
}
LEVELS = {
    "utilisation": 0.37,
    "clock_hz": 345e6,
    "memory_clock_hz": 3201e6,
    "temperature_c": 34,
    "power_w": 76.543,
    "throttles": ["sw_power_cap", "sw_thermal_slowdown"],
}
# The values that change if only this function fails.
LOST = {
    "nvmlSystemGetDriverVersion": {"facts driver": None},
    "nvmlDeviceGetName": {"name": "unnamed NVIDIA GPU"},
    "nvmlDeviceGetMemoryInfo": {
        "facts memory_gib": None,
        "state memory_used_gib": None,
        "free_bytes": None,
    },
    "nvmlDeviceGetCudaComputeCapability": {
        "facts compute_capability": None,
        "facts sm_count": None,
    },
    "nvmlDeviceGetNumGpuCores": {"facts sm_count": None},
    "nvmlDeviceGetMaxClockInfo": {"facts max_clock_mhz": None},
    "nvmlDeviceGetPowerManagementLimit": {"facts power_limit_w": None},
    "nvmlDeviceGetEccMode": {"facts ecc": None},
    "nvmlDeviceGetMigMode": {"facts mig": None},
    "nvmlDeviceGetPersistenceMode": {"state persistence": None},
    "nvmlDeviceGetComputeMode": {"state compute_mode": None},
    "nvmlDeviceGetClockInfo": {
        "state clock_mhz": None,
        "gauges clock_hz": None,
        "gauges memory_clock_hz": None,
    },
    "nvmlDeviceGetTemperature": {"state temperature_c": None, "gauges temperature_c": None},
    "nvmlDeviceGetPowerUsage": {"state idle_power_w": None, "gauges power_w": None},
    "nvmlDeviceGetUtilizationRates": {"gauges utilisation": None},
    "nvmlDeviceGetCurrentClocksEventReasons": {"gauges throttles": None},
    "nvmlDeviceGetCurrentClocksThrottleReasons": {},
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_j": None},
    "nvmlDeviceGetComputeRunningProcesses": {
        "state foreign_processes": 3,
        "foreign_processes": 3,
        "process_bytes": None,
    },
    "nvmlDeviceGetGraphicsRunningProcesses": {
        "state foreign_processes": 3,
        "foreign_processes": 3,
    },
    "nvmlDeviceGetMPSComputeRunningProcesses": {
        "state foreign_processes": 3,
        "foreign_processes": 3,
    },
    "nvmlShutdown": {},
    # The GPU can be found without these functions.
    "nvmlDeviceGetCount": {},
    "nvmlDeviceGetUUID": {},
    "nvmlDeviceGetHandleByUUID": {},
    "nvmlDeviceGetAttributes": {},
    "nvmlDeviceGetMaxMigDeviceCount": {},
    "nvmlDeviceGetMigDeviceHandleByIndex": {},
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": {},
}
INDISPENSABLE = {"nvmlInit", "nvmlDeviceGetHandleByIndex"}
FAILURES = {
    "NotSupported": "NVML: Not Supported",
    "NoPermission": "NVML: Insufficient Permissions",
    "GpuIsLost": "NVML: GPU is lost",
    "Unknown": "NVML: Unknown Error",
    "FunctionNotFound": "NVML: Function Not Found",
    "absent": "NVML: Function Not Found",
}


def levels_of(gauges):
    return {name: getattr(gauges, name) for name in LEVELS}


def all_of(gpu):
    """Return all values of a GPU in one flat dict."""
    return {
        "name": gpu.name,
        **{f"facts {name}": value for name, value in gpu.facts().items()},
        **{f"state {name}": value for name, value in gpu.state().items()},
        **{f"gauges {name}": value for name, value in levels_of(gpu.gauges()).items()},
        "energy_j": gpu.energy_j(),
        "free_bytes": gpu.free_bytes(),
        "foreign_processes": gpu.foreign_processes(),
        "process_bytes": gpu.process_bytes(11),
    }


def test_facts_of_an_h200(opened):
    gpu = opened(h200())
    assert gpu.name == "NVIDIA H200"
    assert gpu.facts() == FACTS


def test_state_of_an_h200(opened):
    assert opened(h200()).state() == STATE


def test_gauges_of_an_h200_have_every_level(opened):
    gauges = opened(h200()).gauges()
    assert levels_of(gauges) == LEVELS
    assert gauges.missing == {}


def test_units_of_energy_memory_and_processes(opened):
    gpu = opened(h200())
    assert gpu.energy_j() == 123_456.789
    assert gpu.free_bytes() == (143771 - 1843) * MIB
    assert gpu.foreign_processes() == 4
    assert opened(a100()).foreign_processes() == 0


def test_an_a100_has_64_cores_in_a_multiprocessor(opened):
    assert opened(a100()).facts()["sm_count"] == 108


@pytest.mark.parametrize(
    "answers",
    [
        {"nvmlDeviceGetCudaComputeCapability": (99, 0)},
        {"nvmlDeviceGetNumGpuCores": 16897},
        {"nvmlDeviceGetNumGpuCores": 0},
    ],
)
def test_multiprocessors_are_unknown_where_the_cores_do_not_fit(opened, answers):
    assert opened(h200(**answers)).facts()["sm_count"] is None


def test_ecc_and_mig_are_the_current_ones_not_the_pending_ones(opened):
    gpu = opened(h200(nvmlDeviceGetEccMode=[0, 1], nvmlDeviceGetMigMode=[0, 1]))
    assert (gpu.facts()["ecc"], gpu.facts()["mig"]) == ("off", "off")


def test_bytes_of_an_old_pynvml_are_decoded(opened):
    gpu = opened(h200(nvmlDeviceGetName=b"NVIDIA \xffH200"), driver=b"470.1")
    assert (gpu.name, gpu.facts()["driver"]) == ("NVIDIA \ufffdH200", "470.1")


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("function", LOST)
def test_a_function_that_fails_leaves_all_others_intact(opened, function, failure):
    before = all_of(opened(h200()))
    if failure == "absent":
        gpu = opened(h200(), lacking=[function])
    else:
        gpu = opened(h200(), errors={function: failure})
    after, gauges = all_of(gpu), gpu.gauges()
    lost = LOST[function]
    if function.endswith("EventReasons") and FAILURES[failure] == FUNCTION_NOT_FOUND:
        lost = {}  # the older function has the same values
    assert {name: after[name] for name in after if after[name] != before[name]} == lost
    levels = [name.removeprefix("gauges ") for name in lost if name.startswith("gauges ")]
    assert gauges.missing == dict.fromkeys(levels, FAILURES[failure])
    gpu.close()


def test_the_table_of_failures_has_every_called_function():
    functions = {name for name in names_asked() if name.startswith("nvml")}
    assert functions == set(LOST) | INDISPENSABLE
    assert functions == set(fake_pynvml.ARGUMENTS)


@pytest.mark.parametrize("failure", FAILURES)
def test_all_levels_are_missing_with_the_reason_if_every_function_fails(opened, failure):
    functions = set(LOST) - {"nvmlShutdown"}
    if failure == "absent":
        gpu = opened(h200(), lacking=functions)
    else:
        gpu = opened(h200(), errors=dict.fromkeys(functions, failure))
    told = all_of(gpu)
    assert told.pop("name") == "unnamed NVIDIA GPU"
    assert set(told.values()) == {None}
    assert gpu.gauges() == Gauges(missing=dict.fromkeys(LEVELS, FAILURES[failure]))


def test_a_gpu_lost_while_open_raises_nothing(opened):
    gpu = opened(h200())
    assert gpu.gauges().missing == {}
    sys.modules["pynvml"].errors.update(dict.fromkeys(fake_pynvml.ARGUMENTS, "GpuIsLost"))
    assert gpu.gauges() == Gauges(missing=dict.fromkeys(LEVELS, "NVML: GPU is lost"))
    assert set(gpu.state().values()) == set(gpu.facts().values()) == {None}
    assert (gpu.energy_j(), gpu.free_bytes(), gpu.process_bytes(11)) == (None, None, None)
    gpu.close()


def test_an_error_of_pynvml_itself_is_a_reason_too(opened):
    gpu = opened(h200())

    def undecodable(board):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    sys.modules["pynvml"].nvmlDeviceGetPowerUsage = undecodable
    assert gpu.gauges().missing == {"power_w": "NVML: UnicodeDecodeError"}


@pytest.mark.parametrize(
    ("function", "answer", "missing"),
    [
        (
            "nvmlDeviceGetClockInfo",
            {SM: 0, MEM: 3201},
            {"clock_hz": "NVML: 0 cannot be"},
        ),
        (
            "nvmlDeviceGetClockInfo",
            {SM: 345, MEM: 2**32 - 1},
            {"memory_clock_hz": "NVML: 4294967295 cannot be"},
        ),
        (
            "nvmlDeviceGetUtilizationRates",
            types.SimpleNamespace(gpu=101),
            {"utilisation": "NVML: 101 cannot be"},
        ),
        ("nvmlDeviceGetTemperature", {0: 0}, {"temperature_c": "NVML: 0 cannot be"}),
        ("nvmlDeviceGetTemperature", {0: 151}, {"temperature_c": "NVML: 151 cannot be"}),
        ("nvmlDeviceGetPowerUsage", 0, {"power_w": "NVML: 0 cannot be"}),
        ("nvmlDeviceGetPowerUsage", 2**32 - 1, {"power_w": "NVML: 4294967295 cannot be"}),
        (
            "nvmlDeviceGetCurrentClocksEventReasons",
            2**64 - 1,
            {"throttles": "NVML: 18446744073709551615 cannot be"},
        ),
    ],
)
def test_an_impossible_level_is_missing_with_a_reason(opened, function, answer, missing):
    gauges = opened(h200(**{function: answer})).gauges()
    assert gauges.missing == missing
    (name,) = missing
    assert {**levels_of(gauges), name: LEVELS[name]} == LEVELS
    assert getattr(gauges, name) is None


@pytest.mark.parametrize(
    ("function", "answer", "where"),
    [
        ("nvmlDeviceGetMemoryInfo", fake_pynvml.sizes(0, 0), "facts memory_gib"),
        ("nvmlDeviceGetMemoryInfo", fake_pynvml.sizes(2**64 - 1, 0), "free_bytes"),
        ("nvmlDeviceGetMaxClockInfo", {SM: 0}, "facts max_clock_mhz"),
        ("nvmlDeviceGetPowerManagementLimit", 2**32 - 1, "facts power_limit_w"),
        ("nvmlDeviceGetCudaComputeCapability", (0, 0), "facts compute_capability"),
        ("nvmlDeviceGetEccMode", [7, 0], "facts ecc"),
        ("nvmlDeviceGetMigMode", [7, 0], "facts mig"),
        ("nvmlDeviceGetComputeMode", 9, "state compute_mode"),
        ("nvmlDeviceGetPersistenceMode", 7, "state persistence"),
        ("nvmlDeviceGetClockInfo", {SM: 0}, "state clock_mhz"),
        ("nvmlDeviceGetTemperature", {0: 255}, "state temperature_c"),
        ("nvmlDeviceGetPowerUsage", 0, "state idle_power_w"),
        ("nvmlDeviceGetTotalEnergyConsumption", 0, "energy_j"),
        ("nvmlDeviceGetTotalEnergyConsumption", 2**64 - 1, "energy_j"),
    ],
)
def test_an_impossible_fact_is_unknown(opened, function, answer, where):
    assert all_of(opened(h200()))[where] is not None
    assert all_of(opened(h200(**{function: answer})))[where] is None


def test_zero_utilisation_and_no_throttle_are_values_not_missing(opened):
    idle = h200(
        nvmlDeviceGetUtilizationRates=types.SimpleNamespace(gpu=0),
        nvmlDeviceGetCurrentClocksEventReasons=0x1,
    )
    gauges = opened(idle).gauges()
    assert (gauges.utilisation, gauges.throttles, gauges.missing) == (0.0, [], {})


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, []),
        (0x1, []),
        (0x2, ["applications_clocks_setting"]),
        (0x5, ["sw_power_cap"]),
        (0x68, ["hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown"]),
        (0x90, ["sync_boost", "hw_power_brake_slowdown"]),
        (0x100, ["display_clock_setting"]),
        (0x20000 | 0x4, ["sw_power_cap", "bit_0x20000"]),
    ],
)
def test_throttles_are_named_by_their_bits(opened, mask, names):
    assert throttles_of(mask) == names
    assert opened(h200(nvmlDeviceGetCurrentClocksEventReasons=mask)).gauges().throttles == names


def test_throttles_of_an_older_driver_are_read_by_the_older_name(opened):
    old = h200(nvmlDeviceGetCurrentClocksThrottleReasons=0x40)
    assert opened(old).gauges().throttles == LEVELS["throttles"]
    lacking = {"nvmlDeviceGetCurrentClocksEventReasons": "FunctionNotFound"}
    assert opened(old, errors=lacking).gauges().throttles == ["hw_thermal_slowdown"]


@pytest.mark.parametrize(
    ("lists", "held"),
    [
        ([[process(9, 5 * MIB)], [], []], 5 * MIB),
        ([[], [], [process(9, 5 * MIB)]], 5 * MIB),
        ([[process(9, 5 * MIB)], [process(9, 5 * MIB)], []], 5 * MIB),
        ([[process(9, None)], [process(9, 5 * MIB)], []], 5 * MIB),
        ([[process(9, None)], [], []], None),
        ([[process(9, 2**64 - 1)], [], []], None),
        ([[process(9, 0)], [], []], None),
        ([[process(8, 5 * MIB)], [], []], None),
        ([[], [], []], None),
    ],
)
def test_memory_of_a_process_is_known_where_nvml_lists_it_with_a_size(opened, lists, held):
    board = h200(**dict(zip(PROCESSES, lists, strict=True)))
    assert opened(board).process_bytes(9) == held


def test_a_process_in_several_lists_counts_once(opened):
    board = h200(**{name: [process(9, MIB), process(10, None)] for name in PROCESSES})
    assert opened(board).foreign_processes() == 2


def test_processes_are_unknown_where_no_list_can_be_read(opened):
    gpu = opened(h200(), errors=dict.fromkeys(PROCESSES, "NoPermission"))
    assert gpu.foreign_processes() is None
    assert gpu.state()["foreign_processes"] is None


def test_an_empty_text_is_none(opened):
    gpu = opened(h200(nvmlDeviceGetName=""), driver="")
    assert (gpu.name, gpu.facts()["driver"]) == ("unnamed NVIDIA GPU", None)


def test_nvml_on_an_orin_supports_nothing(opened):
    gpu = opened(orin(), errors={"nvmlSystemGetDriverVersion": "NotSupported"})
    assert gpu.name == "unnamed NVIDIA GPU"
    assert gpu.facts() == dict.fromkeys(FACTS)
    assert gpu.state() == dict.fromkeys(STATE)
    assert gpu.gauges() == Gauges(missing=dict.fromkeys(LEVELS, "NVML: Not Supported"))
    assert (gpu.energy_j(), gpu.free_bytes(), gpu.process_bytes(1)) == (None, None, None)
    assert gpu.foreign_processes() is None


def test_nvml_on_an_orin_may_give_its_name(opened):
    gpu = opened(orin(nvmlDeviceGetName="Orin (nvgpu)"), driver="540.4.0")
    assert gpu.name == "Orin (nvgpu)"
    assert gpu.facts() == {**dict.fromkeys(FACTS), "driver": "540.4.0"}


def test_a_closed_gpu_has_no_level(opened):
    with opened(h200()) as gpu:
        assert sys.modules["pynvml"].users == 1
    gpu.close()
    assert sys.modules["pynvml"].users == 0
    assert gpu.gauges() == Gauges(missing=dict.fromkeys(LEVELS, "NVML: Uninitialized"))


def test_a_second_close_does_not_close_another_open_gpu(opened):
    gpu = opened(h200())
    with open_gpu() as other:
        gpu.close()
        gpu.close()
        assert levels_of(other.gauges()) == LEVELS
    assert sys.modules["pynvml"].users == 0


MIG = {
    "driver": "570.86.15",
    "memory_gib": 10,
    "sm_count": 14,
    "compute_capability": "8.0",
    "max_clock_mhz": 1410,
    "power_limit_w": 400,
    "ecc": "on",
    "mig": "on",
}


@pytest.mark.parametrize(
    ("visible", "process_id"),
    [
        (None, 21),
        ("0", 21),
        ("GPU-1f2e9999", 21),
        (instance(1).answers["nvmlDeviceGetUUID"], 21),
        (instance(2).answers["nvmlDeviceGetUUID"], 22),
    ],
)
def test_a_mig_instance_has_its_own_and_shared_values(opened, visible, process_id):
    gpu = opened(mig_a100(), visible=visible)
    assert gpu.name == "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
    assert gpu.facts() == MIG
    assert gpu.free_bytes() == (9728 - 12) * MIB
    assert gpu.process_bytes(process_id) == 300 * MIB
    assert gpu.state() == {
        "persistence": "on",
        "compute_mode": "default",
        "temperature_c": 34,
        "idle_power_w": None,
        "clock_mhz": 1410,
        "memory_used_gib": 0.0,
        "foreign_processes": 1,
    }


def test_a_mig_instance_has_no_value_that_is_a_sum_over_the_chip(opened):
    chip = mig_a100()
    chip.answers["nvmlDeviceGetUtilizationRates"] = types.SimpleNamespace(gpu=50)
    gpu = opened(chip)
    gauges = gpu.gauges()
    assert gauges == Gauges(
        clock_hz=1410e6,
        memory_clock_hz=1593e6,
        temperature_c=34,
        throttles=["sw_power_cap", "sw_thermal_slowdown"],
        missing=dict.fromkeys(["utilisation", "power_w"], "of a MIG instance it cannot be told"),
    )
    assert gpu.energy_j() is None


def test_a_mig_instance_without_a_name_gets_the_name_of_the_chip_and_mig(opened):
    part = instance(1)
    del part.answers["nvmlDeviceGetName"]
    assert opened(mig_a100(part)).name == "NVIDIA A100-SXM4-80GB MIG"


def test_a_mig_instance_with_an_unknown_chip_is_still_an_instance(opened):
    gpu = opened(
        mig_a100(),
        visible=instance(2).answers["nvmlDeviceGetUUID"],
        errors={"nvmlDeviceGetDeviceHandleFromMigDeviceHandle": "NoPermission"},
    )
    assert gpu.facts()["sm_count"] == 14
    assert gpu.gauges().missing == {
        **dict.fromkeys(LEVELS, "NVML: Not Supported"),
        **dict.fromkeys(["utilisation", "power_w"], "of a MIG instance it cannot be told"),
    }


def test_the_first_instance_is_found_where_the_number_of_instances_is_unknown(opened):
    gpu = opened(mig_a100(), errors={"nvmlDeviceGetMaxMigDeviceCount": "NotSupported"})
    assert gpu.facts() == MIG


MIG_LOST = {
    **{name: lost for name, lost in LOST.items() if name not in PROCESSES},
    "nvmlDeviceGetName": {"name": "unnamed NVIDIA GPU"},
    "nvmlDeviceGetCudaComputeCapability": {"facts compute_capability": None},
    "nvmlDeviceGetNumGpuCores": {},
    "nvmlDeviceGetAttributes": {"facts sm_count": None},
    "nvmlDeviceGetPowerUsage": {},
    "nvmlDeviceGetUtilizationRates": {},
    "nvmlDeviceGetTotalEnergyConsumption": {},
    "nvmlDeviceGetComputeRunningProcesses": {
        "state foreign_processes": None,
        "foreign_processes": None,
    },
    "nvmlDeviceGetGraphicsRunningProcesses": {},
    "nvmlDeviceGetMPSComputeRunningProcesses": {},
    "nvmlDeviceGetHandleByIndex": {},
}
# Without these functions the UUID is not found, or all values of the chip are unknown.
MIG_NEEDS = {"nvmlDeviceGetHandleByUUID", "nvmlDeviceGetDeviceHandleFromMigDeviceHandle"}


@pytest.mark.parametrize("function", sorted(set(MIG_LOST) - MIG_NEEDS))
def test_a_function_that_fails_leaves_all_others_of_a_mig_instance_intact(opened, function):
    visible = instance(2).answers["nvmlDeviceGetUUID"]
    before = all_of(opened(mig_a100(), visible=visible))
    after = all_of(opened(mig_a100(), visible=visible, errors={function: "NoPermission"}))
    assert {name: after[name] for name in after if after[name] != before[name]} == MIG_LOST[
        function
    ]
