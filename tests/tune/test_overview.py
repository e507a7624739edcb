"""The table of all tunings of a folder."""

import msgspec
import pytest
from support.records import ENVIRONMENT
from support.settled import took_turns
from support.tunings import SPACE

from bench.records import Cost, Peaks
from bench.tune import overview
from bench.tune.tuning import Tuning, all_in, save

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


@pytest.mark.parametrize(("ms", "word"), [(15, "no gain"), (20, "slower")])
def test_what_is_no_gain_says_so(ms, word):
    of = tuning(finalists=(FAST,))
    assert f") {word}, rrep" in row(table([of], records(of, train=20, rrep=15, fast=ms)))[4]


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


def test_all_tunings_of_the_environment_are_found_in_a_folder(tmp_path):
    mine = tuning()
    save(mine, tmp_path)
    save(msgspec.structs.replace(tuning(16), environment_id="other"), tmp_path)
    (tmp_path / "tune-damaged.json").write_text("{")
    (tmp_path / f"{mine.name}.recipe.json").write_text("{}")
    assert all_in(tmp_path, "env") == [mine]
