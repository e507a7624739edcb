"""The page of latencies in use, and where their rows are not shown."""

import itertools

import msgspec
from support.records import ENVIRONMENT, OBSERVED, TAKEN, failure, rounds
from support.results import device, pages_of

from bench.records import Case, Level
from bench.report import in_use


def cases(model, ms, scenario="tight", **changes):
    """Three rounds of nearly these milliseconds."""
    given = [ms * factor for factor in (0.999, 1.0, 1.001)]
    fields = {**OBSERVED, "scenario": scenario, **changes}
    return rounds(model, latencies_ms=given, last="rounds", **fields)


def with_fields(records, **changes):
    return [msgspec.structs.replace(each, **changes) for each in records]


ALL = (
    cases("resnet50", 10),
    cases("swin_t", 12),
    cases("resnet50", 20, "rest-1s"),
    cases("swin_t", 15, "rest-1s"),
)


def page(*groups):
    return in_use.render(device(*groups))["in-use.md"].decode()


def tables(text):
    """The lines of each table, as dictionaries."""
    found = []
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    for block in blocks:
        cells = [[c.strip() for c in line.strip("|").split("|")] for line in block.splitlines()]
        found.append([dict(zip(cells[0], line, strict=True)) for line in cells[2:]])
    return found


def test_each_network_has_a_line_and_each_scenario_a_column():
    ((resnet, swin),) = tables(page(*ALL))
    assert resnet["Model"] == "ResNet50"
    assert resnet["Tight (ms)"] == "10.0"
    assert resnet["rest-1s (ms, × tight)"].startswith("20.0, 2.00 (")
    assert swin["rest-1s (ms, × tight)"].startswith("15.0, 1.25 (")


def test_columns_come_by_kind_and_amount_and_one_network_makes_no_pair():
    scenarios = ("pipeline", "rest-10s", "pace-15hz", "rest-1s", "cold")
    text = page(cases("resnet50", 10), *(cases("resnet50", 20, each) for each in scenarios))
    columns = [name.partition(" ")[0] for name in tables(text)[0][0]]
    assert columns == ["Model", "Tight", "cold", "rest-1s", "rest-10s", "pace-15hz", "pipeline"]
    assert "0 pairs" not in text
    assert "## Order" not in text


def test_the_page_names_pairs_whose_order_differs():
    assert "in the tight loop: Swin-T, not ResNet50." in page(*ALL)


def test_the_page_says_where_no_order_differs():
    text = page(*ALL[:3], cases("swin_t", 25, "rest-1s"))
    assert "rest-1s: no pair has another order than in the tight loop (1 pair, 1 decided" in text


def test_a_start_shows_its_parts():
    parts = {"import": [0.004] * 3, "first call": [0.006] * 3}
    _, lines = tables(page(with_fields(cases("resnet50", 10, "cold"), parts_s=parts)))
    assert lines[0]["import (ms)"] == "4.00"
    assert lines[0]["first call (ms)"] == "6.00"
    assert lines[0]["Total (ms)"].startswith("10.0 (")


def test_a_fixed_rate_shows_late_and_dropped_images():
    made = with_fields(cases("resnet50", 10, "pace-15hz"), late=1, dropped=1)
    _, (line,) = tables(page(made))
    answered = sum(len(each.samples_s) for each in made)
    assert line["Images"] == str(answered + 3)
    low, high = map(float, line["Late (%)"].split(" to "))
    assert low < 100 * 3 / answered < high
    assert line["p99 (ms)"] == "–"


def test_no_late_image_is_0():
    _, (line,) = tables(page(with_fields(cases("resnet50", 10, "pace-15hz"), late=0, dropped=0)))
    assert (line["Late (%)"], line["Dropped (%)"]) == ("0", "0")


def test_a_sustained_run_shows_its_ends():
    levels = [Level(clock_hz=1e9, temperature_c=40.0), Level(clock_hz=8e8, temperature_c=80.0)]
    made = with_fields(
        cases("resnet50", 10, "sustained-600s"),
        samples_s=[0.01, 0.01, 0.012],
        block_sizes=[2, 1],
        block_starts_s=[0.0, 1.0],
        block_compute_s=[1e-3] * 2,
        block_memory_s=[1e-3] * 2,
        block_levels=levels,
    )
    _, (line,) = tables(page(made))
    assert line["Last / first"].startswith("1.20")
    assert line["Clock (MHz)"] == "1000 → 800"
    assert line["Temperature (°C)"] == "40.0 → 80.0"
    assert line["Power (W)"] == "–"


def test_a_failure_and_a_busy_machine_say_so():
    text = page(
        cases("resnet50", 20, "rest-1s", conditions=TAKEN),
        [failure(Case("swin_t", "plain", scenario="rest-1s"), stage="load")],
    )
    ((resnet, swin),) = tables(text)
    assert resnet["rest-1s (ms, × tight)"] == "20.0‡"
    assert swin["rest-1s (ms, × tight)"] == "failed (load)"


def test_other_tables_and_figures_do_not_have_them():
    pages = pages_of([ENVIRONMENT, *itertools.chain(*ALL)])
    assert "in-use.md" in pages
    text = pages["results.md"].decode()
    assert "## Batch 1 at 224²\n" in text
    assert "## Batch 1 at 224², rest-1s\n" in text
    assert "rest" not in pages["table6.md"].decode()
