"""The page of training steps, and where they are not shown."""

import itertools

import pytest
from support.records import ENVIRONMENT, OBSERVED, TAKEN, failure, rounds
from support.results import device, pages_of

from bench.models import naming
from bench.records import Case
from bench.report import training

TRAIN = {"workload": "train", "batch": 32}


def steps(model, ms, form="plain", **changes):
    """Three rounds of a training step with nearly these milliseconds."""
    given = [ms * factor for factor in (0.999, 1.0, 1.001)]
    fields = {**OBSERVED, **TRAIN, **changes}
    return rounds(model, form, latencies_ms=given, last="rounds", **fields)


ALL = (
    steps("convnext_t", 1000),
    steps("repnext_u3_t", 1500, "train"),
    steps("repnext_u3_t", 1200, "rrep"),
)


def rows(*groups):
    text = training.render(device(*groups))["training.md"].decode()
    table = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {cells_of[0]: dict(zip(cells[0], cells_of, strict=True)) for cells_of in cells[1:]}


def test_a_step_is_compared_with_convnext_and_with_one_branch():
    found = rows(*ALL)
    assert list(found) == ["ConvNeXt-T", "RepNeXt-u3-T-rRep", "RepNeXt-u3-T"]
    own = found["RepNeXt-u3-T"]
    assert own["Latency (ms)"] == "1500"
    assert own["img/s"] == "21.3"
    assert own["of ConvNeXt-T"].startswith("1.50× (")
    assert own["of one branch"].startswith("1.25× (")
    assert found["ConvNeXt-T"]["of ConvNeXt-T"] == "–"


def test_the_hours_of_the_recipe_follow_from_the_rate():
    own = rows(*ALL)["ConvNeXt-T"]
    hours = 1_281_167 * 450 / 32 / 3600
    assert float(own["Extrapolated: ImageNet-1K, 450 epochs (h)"]) == pytest.approx(hours, rel=0.01)


def test_another_setting_is_not_compared():
    found = rows(*ALL, steps("resnet50", 700, backend="compile"))
    assert found["ResNet50 compile"]["of ConvNeXt-T"] == "–"


def test_another_setting_is_told_and_has_no_hours_of_the_recipe():
    found = rows(*ALL, steps("resnet50", 700, backend="compile", resolution=64))
    own = found["ResNet50 compile 64²"]
    assert own["Extrapolated: ImageNet-1K, 450 epochs (h)"] == "–"


def test_a_failed_step_and_a_busy_machine_say_so():
    found = rows(
        steps("convnext_t", 1000),
        steps("resnet50", 500, conditions=TAKEN),
        [failure(Case("swin_t", "plain", **TRAIN), stage="load")],
    )
    assert found["Swin-T"]["Latency (ms)"] == "failed (load)"
    assert found["ResNet50"]["Verdict"] == "INVALID"
    assert found["ResNet50"]["of ConvNeXt-T"] == "–"


def test_the_page_has_a_picture_and_an_index_entry():
    pages = pages_of([ENVIRONMENT, *itertools.chain(*ALL)])
    assert {"training.md", "training.png", "training.svg", "results.md"} <= set(pages)
    assert "Batch 32 at 224², training steps" in pages["results.md"].decode()


def test_without_training_steps_there_is_no_page():
    assert training.render(device(rounds("resnet50", latencies_ms=[10, 11, 12]))) == {}


def test_training_steps_are_in_no_table_or_figure_of_inferences():
    alone = device(*ALL)
    assert alone.rows == []
    pages = pages_of([ENVIRONMENT, *itertools.chain(*ALL)])
    assert not any(name.startswith(("table", "figure1", "latency", "runtimes")) for name in pages)


def test_the_name_of_a_training_step_says_so():
    case = Case("repnext_u3_t", "train", **TRAIN)
    assert naming.title(case) == "RepNeXt-u3-T training"
    assert naming.selector(case, batch=True) == "repnext_u3_t@train training batch 32"
    assert naming.is_called(case, "RepNeXt-u3-T training")
    assert naming.is_called(case, "repnext_u3_t@train")
    assert not naming.is_called(Case("repnext_u3_t", "train"), "repnext_u3_t@train training")
