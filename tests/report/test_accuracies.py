"""The page of accuracies measured here, and the paper's tables with them."""

import pytest
from support.records import evaluation, failure, rounds
from support.results import device, pages_of

from bench.records import Case
from bench.report import accuracies

NET = "net.py:net#0a1b2c3d+run{}/w.pt#0123456{}"
TRAINED = Case("repnext_u3_t+w.pt#01234567", "train")


def rows(page):
    """The lines of each table of a page, by their headings."""
    tables = [part for part in page.decode().split("\n\n") if part.startswith("| ")]
    found = []
    for table in tables:
        head, _, *lines = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        found.append([dict(zip(head, line, strict=True)) for line in lines])
    return found


def page_of(*records):
    return accuracies.render([device(list(records))])["accuracy.md"]


def test_an_accuracy_stands_beside_the_papers_of_the_same_architecture():
    ((line,),) = rows(page_of(evaluation(TRAINED, 150, same=199, error=2e-3)))
    assert line["Top-1 (%)"] == "75.0 (68.6 to 80.5)"
    assert line["As trained: same (%)"] == "99.50 (97.22 to 99.91)"
    assert line["ImageWoof Top-1 (%), paper"] == "90.8"
    assert line["ImageNet-1K Top-1 (%), paper"] == "82.1"
    assert line["Weights"] == "weights"


def test_the_papers_columns_are_left_out_for_other_networks():
    ((line,),) = rows(page_of(evaluation(Case(NET.format(1, 1), "plain"), 150)))
    assert not [name for name in line if "paper" in name]


def test_a_measured_network_has_its_latency_and_size():
    model = NET.format(1, 1)
    found = device(rounds(model, latencies_ms=[9, 10, 11], last="rounds"))
    every = device(found.rows[0].rounds, [evaluation(found.rows[0].case, 100)])
    ((line,),) = rows(accuracies.render([every])["accuracy.md"])
    assert line[next(name for name in line if "Latency (ms)" in name)].startswith("10.0")


def test_several_trainings_have_a_mean_with_students_interval():
    made = [
        evaluation(Case(NET.format(i, i), "plain"), top1, weights_hash=f"w{i}")
        for i, top1 in enumerate((100, 110, 120))
    ]
    _, (line,) = rows(page_of(*made))
    assert (line["Trainings"], line["from"], line["to"]) == ("3", "50.0", "60.0")
    half = 4.302653 * 5 / 3**0.5
    assert line["Top-1 (%), mean"] == f"55.0 ({55 - half:.1f} to {55 + half:.1f})"


def test_data_sets_and_sizes_never_share_a_table():
    other = Case(TRAINED.model, "train", resolution=64)
    made = [evaluation(TRAINED, 1), evaluation(TRAINED, 2, dataset="others"), evaluation(other, 3)]
    assert len(rows(page_of(*made))) == 3


def test_a_failed_case_is_a_line():
    page = page_of(failure(TRAINED, stage="evaluate", message="another first answer"))
    assert b"## Failures\n\n- repnext_u3_t+w.pt\\#01234567@train: CheckError: another" in page


def test_no_evaluation_no_page():
    assert accuracies.render([device(rounds("resnet50"))]) == {}


@pytest.mark.parametrize(("dataset", "pixels"), [("imagewoof", 224), ("cifar100", 64)])
def test_the_papers_table_of_the_data_set_has_our_top1_beside_the_papers(dataset, pixels):
    number = {"imagewoof": 2, "cifar100": 3}[dataset]
    case = Case(TRAINED.model, "rrep", resolution=pixels)
    pages = pages_of([evaluation(case, 150, dataset=dataset)])
    (lines,) = rows(pages[f"table{number}.md"])
    own = {line["Model"]: line for line in lines}["RepNeXt-u3-T"]
    name = next(name for name in own if name.endswith("Top-1 (%)"))
    assert own[name] == "75.0"
    assert {line[name] for line in lines if line["Model"] != "RepNeXt-u3-T"} == {"–"}
    assert b"200 images, 95 % interval 68.6 to 80.5, weights weights" in pages[f"table{number}.md"]
    assert b",75," in pages[f"table{number}.csv"] or b",75\n" in pages[f"table{number}.csv"]
    assert sorted(name for name in pages if name.startswith("table")) == [
        f"table{number}.{end}" for end in ("csv", "md", "tex")
    ]


def test_results_show_what_was_evaluated_with_its_source():
    case = Case("resnet50", "plain")
    measured = rounds("resnet50", latencies_ms=[9, 10, 11], last="rounds")
    case = measured[0].case
    row = device(measured, [evaluation(case, 150, dataset="imagenet1k")]).rows[0]
    assert row.accuracy().source == "evaluated"
    assert row.accuracy().detail.startswith("measured here: 200 images of imagenet1k at 224 pixels")
