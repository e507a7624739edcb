"""The table of all tunings of a folder."""

import msgspec
import pytest
from support.records import ENVIRONMENT
from support.settled import took_turns
from support.tunings import SPACE

from bench.records import Cost, Peaks
from bench.tune import overview
from bench.tune.tuning import Tuning, all_like, save

TRAIN, RREP = SPACE.forms[:2]
FAST = msgspec.structs.replace(RREP, backend="onnxruntime")
REDUCED = msgspec.structs.replace(RREP, backend="openvino", precision="bf16")
COST = Cost(macs=4_000_000_000)
PEAKS = Peaks("run", "env", "fp32", 2, 800e9, 10e9)


def tuning(batch=1, finalists=(REDUCED, FAST)):
    def at(cases):
        return tuple(msgspec.structs.replace(case, batch=batch) for case in cases)

    space = msgspec.structs.replace(SPACE, forms=at(SPACE.forms))
    runs = {"search_runs": (f"search {batch}",), "final_runs": (f"final {batch}",)}
    return Tuning(
        space, "env", baselines=at([RREP]), finalists=at(finalists), spent_s=600.0, **runs
    )


def records(of, **ms):
    """Rounds of the search and the final, at these milliseconds."""
    known = {"train": TRAIN, "rrep": RREP, "fast": FAST, "reduced": REDUCED}
    found = []
    for run in (*of.search_runs, *of.final_runs):
        for name, each in ms.items():
            case = msgspec.structs.replace(known[name], batch=of.space.forms[0].batch)
            if name != "train" or run in of.search_runs:
                found += took_turns(case, each, 12, run_id=run, cost=COST)
    return found


def row(text, start="| RepNeXt-u3-T"):
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(tunings, known):
    return overview.to_markdown(tunings, known, ENVIRONMENT, 0.02)


def test_a_row_has_eager_mode_the_best_form_and_the_fastest_in_each_precision():
    of = tuning()
    text = table([of], [*records(of, train=20, rrep=15, fast=10, reduced=5), PEAKS])
    assert row(text) == [
        "RepNeXt-u3-T",
        "1",
        "20.0",
        "15.0 (rrep)",
        "10.0, 1.50× (1.50 to 1.50), rrep onnxruntime, fp32, 2 threads",
        "5.00, 3.00× (3.00 to 3.00), rrep openvino, bf16, 2 threads",
        "50%",
        "10 min",
    ]


def test_an_answer_in_fp32_leaves_the_other_precisions_empty():
    of = tuning(finalists=(FAST,))
    cells = row(table([of], records(of, train=20, rrep=15, fast=10)))
    assert cells[4].startswith("10.0, 1.50×")
    assert cells[5:7] == ["–", "–"]


@pytest.mark.parametrize("ms", [15, 20])
def test_what_is_no_gain_says_so(ms):
    of = tuning(finalists=(FAST,))
    assert row(table([of], records(of, train=20, rrep=15, fast=ms)))[4] == "no gain"


def test_without_a_candidate_in_fp32_the_share_is_that_of_the_baseline():
    of = tuning(finalists=(REDUCED, RREP))
    cells = row(table([of], [*records(of, train=20, rrep=10, reduced=5), PEAKS]))
    assert cells[4:7] == ["–", "5.00, 2.00× (2.00 to 2.00), rrep openvino, bf16, 2 threads", "50%"]


def test_of_two_tunings_of_a_network_the_later_one_has_the_row():
    first, second = (
        tuning(),
        msgspec.structs.replace(tuning(), search_runs=("s",), final_runs=("f",)),
    )
    known = [*records(first, train=20, rrep=15, fast=10, reduced=5)]
    known += records(second, train=20, rrep=15, fast=12, reduced=5)
    runs = ("search 1", "final 1", "s", "f")
    known += [msgspec.structs.replace(ENVIRONMENT, run_id=run) for run in runs]
    for order in ([first, second], [second, first]):
        assert row(table(order, known))[4].startswith("12.0, 1.25×")


def test_rows_are_in_order_and_a_tuning_without_a_final_has_none():
    large, small, open_ = tuning(16), tuning(1), tuning(4)
    known = [
        each for of in (large, small) for each in records(of, train=9, rrep=8, fast=7, reduced=5)
    ]
    text = table([large, small, open_], known)
    assert [row(text, line)[1] for line in text.splitlines() if line.startswith("| Rep")] == [
        "1",
        "16",
    ]


def test_a_folder_without_answers_says_so():
    assert "No tuning has an answer yet." in table([tuning()], [])


def test_all_tunings_of_the_same_environment_and_runtimes_are_found_in_a_folder(tmp_path):
    mine = msgspec.structs.replace(tuning(), runtimes={"openvino": {"openvino": "2026.1"}})
    save(mine, tmp_path)
    save(msgspec.structs.replace(tuning(16), environment_id="other"), tmp_path)
    save(
        msgspec.structs.replace(tuning(4), runtimes={"openvino": {"openvino": "2025.4"}}), tmp_path
    )
    contents = [b"{", b"\xff", b"[" * 100_000, b"{}"]
    for number, content in enumerate(contents):
        (tmp_path / f"tune-damaged-{number}.json").write_bytes(content)
    assert all_like(mine, tmp_path) == [mine]
