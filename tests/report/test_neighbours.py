"""Neighbours in a table that are not told apart are named, with the reason."""

import msgspec
from support.records import rounds
from support.results import device
from support.table_rows import thrice

from bench.records import Conditions
from bench.report.tables import neighbours
from bench.report.tables.layouts import LAYOUTS, shown_of

TABLE_6 = next(layout for layout in LAYOUTS if layout.number == 6)


def said(*groups):
    """The lines below Table 6 for these groups of records."""
    return list(neighbours.line(shown_of(device(*groups), TABLE_6)))


def test_ties_and_open_neighbours_are_named_with_their_ratio():
    (line,) = said(
        thrice("mobilenetv3_l", ms=5),
        thrice("resnet50", ms=10),
        thrice("convnext_t", ms=10.01),
        rounds("swin_t", latencies_ms=[10.2, 11.2, 10.4], last="rounds"),
    )
    assert "Chip 9000, 2 threads: ResNet50 and ConvNeXt-T (1.00, 1.00 to 1.00; tied with" in line
    open_pair = line[line.index("ConvNeXt-T and Swin-T (1.0") :]
    assert "more rounds)" in open_pair
    assert "MobileNetV3-L" not in line


def test_neighbours_in_order_and_a_single_row_need_no_line():
    assert said(thrice("mobilenetv3_l", ms=5), thrice("resnet50", ms=10)) == []
    assert said(thrice("resnet50", ms=10)) == []
    assert said(thrice("resnet50", ms=10), rounds("swin_t", latencies_ms=[10])) == []  # no rank


def test_neighbours_that_never_took_turns_say_so():
    apart = [rounds("swin_t", latencies_ms=[10.1] * 3, last="rounds", run_id="other")]
    (line,) = said(thrice("resnet50", ms=10), *apart)
    assert "ResNet50 and Swin-T (measured at different times" in line


def test_processes_of_several_kinds_are_the_reason():
    kinds = [Conditions(page_faults=90_000 * (number % 2)) for number in range(8)]
    mixed = [
        msgspec.structs.replace(each, conditions=found)
        for each, found in zip(
            rounds("swin_t", latencies_ms=[9, 12] * 4, last="rounds"), kinds, strict=True
        )
    ]
    steady = rounds("resnet50", latencies_ms=[10.4] * 8, last="rounds")
    (line,) = said(steady, mixed)
    assert line.count("have different orders)") == 1
