"""The sweep of the paper's networks, and the table that it printed."""

import importlib.util
import random

import pytest
import torch
from support.paper_sweep import SETTINGS, Checked, EmulatedTf32, FaultRow, FormRow, rounded
from support.paths import ROOT, TESTS
from support.sabotage import faults, layers_by_name, real_faults
from torch import nn

from bench.models.zoo import ZOO

SPEC = importlib.util.spec_from_file_location("program", TESTS / "zoo" / "paper_networks.py")
paper_networks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(paper_networks)

LINES = (ROOT / "docs" / "checked-networks.md").read_text().splitlines()
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in LINES
    if "@" in line and " / " in line
]
CHECKS = 2 + len(SETTINGS)  # the form, the settings of each form, and `compile` of some
CELLS = [[cell.split(" / ") for cell in row[1 : 1 + CHECKS]] for row in ROWS]
FAULT, UNREAD = 1 + CHECKS, 2 + CHECKS  # columns


def parsed(row):
    """Return the rows of the sweep that the program prints as this row of the page."""
    network, form = row[0].split("@")
    named = zip(paper_networks.CHECKS, row[1:FAULT], strict=True)
    pairs = [(name, cell.split(" / ")) for name, cell in named if cell != "-"]
    checks = [Checked(name, float(error), float(tolerance)) for name, (error, tolerance) in pairs]
    effect, kind = row[FAULT].split(", ")
    fault = FaultRow(network, float(effect), kind, "", float(row[UNREAD]), 1, 0, 1.0)
    return FormRow(network, form, checks, 1.0), fault


def test_the_program_prints_the_table_of_the_page_in_whichever_order_rows_were_made():
    forms, faults = zip(*map(parsed, ROWS), strict=True)
    shuffled = random.Random(0).sample(forms, len(forms))
    printed = paper_networks.table(shuffled, {each.network: each for each in faults})
    start = next(number for number, line in enumerate(LINES) if line == printed[0])
    assert LINES[start : start + len(printed)] == printed


def test_the_table_has_all_forms_of_all_networks():
    forms = {f"{name}@{form}" for name, model in ZOO.items() for form in model.forms}
    assert {row[0] for row in ROWS} == forms


def test_each_check_of_the_table_passes():
    pairs = [pair for cells in CELLS for pair in cells if pair != ["-"]]
    assert len(pairs) >= len(SETTINGS) * len(ROWS)
    assert all(float(error) <= float(tolerance) for error, tolerance in pairs)


def test_no_tolerance_of_fp32_exceeds_half_of_the_smallest_fault():
    for row, cells in zip(ROWS, CELLS, strict=True):
        in_fp32 = (cells[0], cells[1], cells[-1])
        tolerances = [float(pair[1]) for pair in in_fp32 if pair != ["-"]]
        smallest = float(row[FAULT].partition(",")[0])
        assert max(tolerances) <= smallest / 2


def test_an_input_that_is_not_read_exceeds_every_tolerance():
    for row, cells in zip(ROWS, CELLS, strict=True):
        tolerances = [float(pair[1]) for pair in cells if pair != ["-"]]
        assert float(row[UNREAD]) > max(tolerances)


def test_tf32_has_ten_bits_of_mantissa():
    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-12, -1 - 2**-10 - 2**-12])
    assert rounded(values).tolist() == [1.0, 1 + 2**-10, 1.0, -1 - 2**-10]
    assert rounded(values.double()).equal(values.double())


def test_products_are_rounded_under_emulation():
    layer, images = nn.Linear(64, 8), torch.randn(2, 64)
    with torch.no_grad(), EmulatedTf32():
        emulated = layer(images)
    with torch.no_grad():
        exact = layer(images)
    assert 1e-6 < (emulated - exact).abs().max() < 1e-2


@pytest.mark.parametrize("kind", ["missing", "zero", "bias dropped"])
def test_a_fault_is_planted_in_a_layer_and_removed_again(kind):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4)).eval()
    images = torch.randn(2, 8)
    with torch.inference_mode():
        before = net(images)
        found = faults(net, images, layers_by_name)
        real = real_faults(net.double(), images, found, layers_by_name)
        assert torch.allclose(net.float()(images), before)
    assert kind in {fault.kind for fault in real}
