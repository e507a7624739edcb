"""Names of Arm's CPUs on files of real boards and servers."""

import pytest
from support.jetson_trees import MODEL
from support.paths import write_tree

from bench.devices.arm import chip_name
from bench.devices.cpu import Cpu

AGX = "NVIDIA Jetson AGX Orin Developer Kit"


def cpuinfo(*parts, name=None):
    """Return /proc/cpuinfo of a machine with one CPU for each (implementer, part)."""
    named = f"model name\t: {name}\n" if name else ""
    return "\n".join(
        f"processor\t: {number}\n{named}BogoMIPS\t: 62.50\n"
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimddp\n"
        f"CPU implementer\t: {implementer}\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part}\nCPU revision\t: 1\n"
        for number, (implementer, part) in enumerate(parts)
    )


def test_a_jetson_has_one_name_under_each_kernel(tmp_path):
    vendors = cpuinfo(("0x41", "0xd42"), ("0x41", "0xd42"), name="ARMv8 Processor rev 1 (v8l)")
    mainline = cpuinfo(("0x41", "0xd42"), ("0x41", "0xd42"))
    for text in (vendors, mainline):
        root = write_tree(tmp_path, {"proc/cpuinfo": text, MODEL: f"{AGX}\0"})
        assert chip_name(root) == Cpu(root).identify().name == f"{AGX}, Cortex-A78AE"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([("0x41", "0xd0c")] * 4, "Neoverse-N1"),
        ([("0x41", "0xd05"), ("0x41", "0xd0b")], "Cortex-A55 + Cortex-A76"),
        ([("0x41", "0xfff")], "CPU 0x41/0xfff"),
        ([("0x61", "0x022")], "CPU 0x61/0x022"),
    ],
)
def test_a_server_is_named_by_its_kinds_of_cpu(tmp_path, parts, name):
    assert chip_name(write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(*parts)})) == name


@pytest.mark.parametrize("text", [None, "", "processor : 0\nmodel name : AMD EPYC 7B13\n"])
def test_another_architecture_has_no_name_here(tmp_path, text):
    assert chip_name(write_tree(tmp_path, {} if text is None else {"proc/cpuinfo": text})) is None


def test_instructions_that_speed_up_networks_are_facts_of_an_arm_chip(monkeypatch):
    flags = ["fp", "asimd", "asimddp", "bf16", "fphp", "i8mm", "sve", "crc32"]
    monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: {"flags": flags})
    assert Cpu().identify().facts["instructions"] == "asimd asimddp bf16 fphp i8mm sve"
