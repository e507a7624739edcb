"""`bench compare` and `bench explain`, from records on disk to exit codes."""

import json

import msgspec
import pytest
from support.records import CHIP, ENVIRONMENT, FULLY_USED, failure, measurement, timed
from support.results import write

from bench.analysis.compare import Comparisons
from bench.analysis.ratio import Comparison
from bench.analysis.stats import Estimate
from bench.records import Case, Telemetry
from bench.report import comparison


def four_rounds(model, seconds, **changes):
    """Four rounds of two blocks each; the latencies of the rounds differ by one percent."""
    fields = {
        "spread": (1.0,) * 4,
        "block_sizes": [2, 2],
        "block_compute_s": [0.001, 0.001],
        "block_memory_s": [0.002, 0.002],
        "conditions": FULLY_USED,
        "steady": True,
        **changes,
    }
    return [
        timed(
            model,
            ms=1e3 * seconds * factor,
            round_number=number,
            block_starts_s=[10.0 * number, 10.0 * number + 2],
            **fields,
        )
        for number, factor in enumerate((0.99, 1.0, 1.01, 1.0), 1)
    ]


def record(folder, *records, environment=ENVIRONMENT):
    write(folder / environment.chip.slug, [environment, *records])


@pytest.fixture
def results(tmp_path):
    record(
        tmp_path / "out",
        *four_rounds("resnet50", 0.10),
        *four_rounds("swin_t", 0.15),
        *four_rounds("resnet50", 1.0, batch=128),
        *four_rounds("swin_t", 0.8, batch=128),
        *four_rounds("repnext_u3_t", 0.1, form="train"),
        *four_rounds("repnext_u3_t", 0.1, form="srep"),
        failure(Case("convnext_t", "plain", threads=2)),
    )
    return tmp_path


def test_two_cases_are_compared_in_every_common_setting(bench, results):
    done = bench("compare", "resnet50", "swin_t", "--in", "out", "--json")
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)
    assert [(c["base"]["batch"], c["finding"]) for c in group["compared"]] == [
        (1, "SLOWER"),
        (128, "FASTER"),
    ]
    assert group["compared"][0]["ratio"][0] == pytest.approx(1.5)


def test_compare_pages_contain_ratio_and_finding(bench, results):
    done = bench("compare", "resnet50", "swin_t", "--in", "out", "--to", "page")
    (row,) = [line for line in done.stdout.splitlines() if "| SLOWER" in line]
    assert "1.50" in row
    assert (results / "page" / "compare.md").read_text().strip() == done.stdout.strip()
    assert (results / "page" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((results / "page" / "compare.json").read_text())


def test_a_picture_of_many_cases_with_long_names_is_not_too_large_to_open():
    case = Case("net.py:" + "x" * 200, "plain")
    same = Comparison(case, case, 1.0, 1.0, Estimate(1.0, 0.9, 1.1), None, "SAME", 0.02, 3, None)
    long = "x" * 200
    found = Comparisons("chip", long, long, [], compared=[same] * comparison.MOST_BARS)
    (picture,) = comparison.pictures([found])
    sides = [int.from_bytes(picture[start : start + 4], "big") for start in (16, 20)]
    assert max(sides) < 2**15, sides


def test_many_cases_take_several_pictures_and_old_ones_are_removed(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(comparison, "forest", lambda bars, *_: drawn.append(len(bars)) or b"PNG")
    case = Case("resnet50", "plain")
    same = Comparison(case, case, 1.0, 1.0, Estimate(1.0, 0.9, 1.1), None, "SAME", 0.02, 3, None)
    found = Comparisons("chip", "a", "b", [], compared=[same] * 1400)
    comparison.write([found], tmp_path)
    assert (max(drawn), sum(drawn), len(list(tmp_path.glob("compare*.png")))) == (100, 1400, 14)
    (tmp_path / "compare-mine.png").touch()
    comparison.write([msgspec.structs.replace(found, compared=[same] * 150)], tmp_path)
    names = {path.name for path in tmp_path.glob("compare*.png")}
    assert names == {"compare.png", "compare-2.png", "compare-mine.png"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["resnet50", "swin_t", "--fail-on", "slower"], 1),
        (["resnet50", "swin_t"], 0),
        (["resnet50", "swin_t", "--threshold", "60%", "--fail-on", "slower"], 0),
        (["repnext_u3_t@train", "repnext_u3_t@srep", "--fail-on", "slower,undecided"], 0),
        (["repnext_u3_t@train", "repnext_u3_t@srep", "--threshold", "0.01%"], 0),
        (["resnet50", "convnext_t", "--fail-on", "slower"], 1),
    ],
)
def test_exit_code_depends_on_fail_on_and_threshold(bench, results, arguments, code):
    done = bench("compare", *arguments, "--in", "out")
    assert done.returncode == code, done.stderr + done.stdout


def test_undecided_fails_only_with_fail_on_undecided(bench, tmp_path):
    base, candidate = four_rounds("resnet50", 0.1), four_rounds("swin_t", 0.103)
    uneven = [msgspec.structs.replace(r, samples_s=[0.06 + 0.02 * r.round] * 4) for r in candidate]
    record(tmp_path / "out", *base, *uneven)
    command = ["compare", "resnet50", "swin_t", "--in", "out"]
    assert "UNDECIDED" in bench(*command).stdout
    assert bench(*command, "--fail-on", "slower").returncode == 0
    assert bench(*command, "--fail-on", "undecided").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet50", "nope"], "no case named 'nope'"),
        (["resnet50", "resnet50"], "the same case"),
        (["resnet50", "repnext_u3_t"], "several forms"),
        (["resnet50", "swin_t", "--threshold", "3"], "not a percentage"),
        (["resnet50", "swin_t", "--threshold", "nan%"], "not a percentage"),
        (["resnet50", "swin_t", "--threshold", "0%"], "not a percentage"),
        (["resnet50", "swin_t", "--fail-on", "faster"], "unknown --fail-on"),
        (["resnet50", "out"], "out is a folder, resnet50 is not"),
        (["resnet50", "swin_t", "--in", "nowhere"], "does not exist"),
    ],
)
def test_bad_input_prints_one_message_and_one_remedy(bench, results, arguments, message):
    done = bench("compare", "--in", "out", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_selector_without_hash_finds_the_newest_version_of_a_file(bench, tmp_path):
    old, new = "base/net.py:net#00000000", "base/net.py:net#11111111"
    record(
        tmp_path / "out",
        *four_rounds(old, 0.3),
        *four_rounds(new, 0.1),
        *four_rounds("head/net.py:net#22222222", 0.2, form="rrep"),
    )
    command = ["compare", "base/net.py:net", "head/net.py:net@rrep", "--in", "out", "--json"]
    (group,) = json.loads(bench(*command).stdout)
    assert [c["ratio"][0] for c in group["compared"]] == [pytest.approx(2.0)]


@pytest.mark.parametrize(
    ("structure", "files", "said"),
    [
        ("abc", {"net.py": "1"}, "base/net.py:net and head/net.py:net ran the same code"),
        ("abc", {"net.py": "2"}, "networks of the same structure; only their code differs"),
        ("abd", {"net.py": "1"}, ""),
        ("abc", {}, ""),
    ],
)
def test_two_networks_of_the_user_that_are_alike_get_a_warning_or_a_note(
    bench, tmp_path, structure, files, said
):
    record(
        tmp_path / "out",
        *four_rounds("base/net.py:net#00000000", 0.1, structure="abc", files={"net.py": "1"}),
        *four_rounds("head/net.py:net#11111111", 0.1, structure=structure, files=files),
    )
    command = ["compare", "base/net.py:net", "head/net.py:net", "--in", "out", "--to", "page"]
    done = bench(*command, "--fail-on", "slower")
    assert done.returncode == 0
    if not said:
        assert "structure" not in done.stdout + done.stderr
        return
    is_warning = "same code" in said
    assert done.stderr.count("warning: ") == is_warning
    for text in (done.stdout, (tmp_path / "page" / "compare.md").read_text()):
        assert text.count(said) == 1
        assert ("Warning: " in text, "Note: " in text) == (is_warning, not is_warning)
    (group,) = json.loads((tmp_path / "page" / "compare.json").read_text())
    assert said in group["warnings" if is_warning else "notes"][0]


def test_two_files_of_weights_in_one_network_are_no_mistake(bench, tmp_path):
    alike = {"structure": "abc", "files": {"net.py": "1"}}
    record(
        tmp_path / "out",
        *four_rounds("net.py:net#00000000+a.pt#22222222", 0.1, **alike),
        *four_rounds("net.py:net#00000000+b.pt#33333333", 0.1, **alike),
    )
    done = bench("compare", "net.py:net+a.pt", "net.py:net+b.pt", "--in", "out")
    assert (done.returncode, done.stderr) == (0, "")


def test_labels_of_two_folders_do_not_hide_a_common_case(bench, tmp_path):
    own = "nets/a.py:net#00000000"
    for name, label, seconds in (("then", "Old", 0.1), ("now", "New", 0.15)):
        run = msgspec.structs.replace(ENVIRONMENT, labels={own: label})
        record(tmp_path / name, *four_rounds(own, seconds), environment=run)
    done = bench("compare", "then", "now", "--fail-on", "slower")
    assert done.returncode == 1, done.stderr
    assert "| New " in done.stdout


def test_a_selector_may_name_settings(bench, tmp_path):
    record(
        tmp_path / "out",
        *four_rounds("resnet50", 0.1),
        *four_rounds("resnet50", 0.05, backend="compile"),
        *four_rounds("swin_t", 0.1, backend="compile"),
    )
    for selector in ("resnet50 compile", "ResNet50 compile", "resnet50"):
        done = bench("explain", selector, "--in", "out", "--json")
        assert len(json.loads(done.stdout)) == 1 + (selector == "resnet50")
    text = bench("compare", "ResNet50 compile", "Swin-T compile", "--in", "out").stdout
    assert "| Swin-T compile / ResNet50 compile |" in text


def test_two_allocators_of_one_network_are_compared_by_their_names(bench, tmp_path):
    record(
        tmp_path / "out",
        *four_rounds("resnet50", 0.1),
        *four_rounds("resnet50", 0.05, allocator="arena"),
        *four_rounds("resnet50", 0.04, allocator="arena", huge_pages="madvise"),
        *four_rounds("swin_t", 0.1),
        *four_rounds("swin_t", 0.2, allocator="arena"),
    )
    text = bench("compare", "resnet50 default", "resnet50 arena", "--in", "out").stdout
    assert text.count("| ResNet50 arena / ResNet50 |") == 1
    assert "huge pages" not in text  # it differs in two settings
    text = bench("compare", "resnet50", "swin_t", "--in", "out").stdout
    assert "| Swin-T / ResNet50  " in text
    assert "| Swin-T arena / ResNet50 arena |" in text
    done = bench("compare", "resnet50 default", "swin_t arena", "--in", "out")
    assert done.returncode == 2


def test_two_backends_of_one_network_are_compared_by_their_names(bench, tmp_path):
    record(
        tmp_path / "out",
        *four_rounds("resnet50", 0.1),
        *four_rounds("resnet50", 0.05, backend="onnxruntime"),
        *four_rounds("resnet50", 0.04, backend="onnxruntime", precision="fp16"),
        *four_rounds("swin_t", 0.1, backend="onnxruntime"),
    )
    for base in ("resnet50", "resnet50 eager"):
        text = bench("compare", base, "resnet50 onnxruntime fp32", "--in", "out").stdout
        assert text.count("| ResNet50 onnxruntime / ResNet50  ") == (base == "resnet50")
        assert text.count("| ResNet50 onnxruntime / ResNet50 |") == (base != "resnet50")
    assert "fp16" not in text  # it differs in two settings
    text = bench("compare", "resnet50 onnxruntime", "resnet50 eager", "--in", "out").stdout
    assert "| ResNet50 / ResNet50 onnxruntime |" in text
    done = bench("compare", "resnet50 eager", "swin_t onnxruntime", "--in", "out")
    assert done.returncode == 2


def test_images_of_different_shapes_are_not_compared(bench, tmp_path):
    wide = {"input": "3x160x224"}
    record(tmp_path / "out", *four_rounds("resnet50", 0.1), *four_rounds("swin_t", 0.2, **wide))
    assert bench("compare", "resnet50", "swin_t", "--in", "out").returncode == 2


def test_an_invalid_measurement_is_a_finding_and_asks_for_no_more_rounds(bench, tmp_path):
    hog = msgspec.structs.replace(FULLY_USED, own_cpu_s=1.0)
    slower = four_rounds("swin_t", 0.11, conditions=hog)
    uneven = [msgspec.structs.replace(r, samples_s=[0.1 + 0.01 * r.round] * 4) for r in slower]
    record(tmp_path / "out", *four_rounds("resnet50", 0.1), *uneven)
    command = ["compare", "resnet50", "swin_t", "--in", "out"]
    text = bench(*command, "--to", "page").stdout
    assert "other processes used 50 % of the CPUs" in text
    ((compared,),) = [each["compared"] for each in json.loads(bench(*command, "--json").stdout)]
    assert (compared["finding"], compared["more_rounds"]) == ("INVALID", None)
    (row,) = [line for line in text.splitlines() if "| INVALID" in line]
    assert row.split("|")[-2].strip() == "–"


@pytest.mark.parametrize(
    ("seconds", "fail_on", "code"),
    [
        (0.11, "slower", 0),
        (0.11, "slower,undecided", 0),
        (0.11, "slower,invalid", 4),
        (0.11, "invalid", 4),
        (None, "invalid", 1),
    ],
)
def test_exit_code_4_says_that_a_case_could_not_be_judged(bench, tmp_path, seconds, fail_on, code):
    """A regression, here a case that the candidate did not measure, prevails with 1."""
    hog = msgspec.structs.replace(FULLY_USED, own_cpu_s=1.0)
    small = four_rounds("swin_t", 0.11, conditions=hog)
    lost = [] if seconds else four_rounds("resnet50", 1.0, batch=128)
    record(tmp_path / "out", *four_rounds("resnet50", 0.1), *small, *lost)
    done = bench("compare", "resnet50", "swin_t", "--in", "out", "--fail-on", fail_on)
    assert done.returncode == code, done.stdout + done.stderr


def test_a_regression_prevails_over_an_invalid_case(bench, tmp_path):
    hog = msgspec.structs.replace(FULLY_USED, own_cpu_s=1.0)
    record(
        tmp_path / "out",
        *four_rounds("resnet50", 0.1),
        *four_rounds("resnet50", 1.0, batch=128),
        *four_rounds("swin_t", 0.2, conditions=hog),
        *four_rounds("swin_t", 2.0, batch=128),
    )
    done = bench("compare", "resnet50", "swin_t", "--in", "out", "--fail-on", "slower,invalid")
    assert done.returncode == 1, done.stdout + done.stderr


def test_the_change_is_said_in_words():
    for ratio, words in (
        ((0.954, 0.92, 0.99), "4.6 % faster, 95 % interval 1.0 to 8.0 %"),
        ((1.5, 1.25, 1.8), "50 % slower, 95 % interval 25 to 80 %"),
        ((0.954, 0.88, 1.03), "4.6 % faster, 95 % interval 12 % faster to 3.0 % slower"),
        ((1.0, 0.99, 1.01), "0 % slower, 95 % interval 1.0 % faster to 1.0 % slower"),
    ):
        assert comparison.in_words(Estimate(*ratio)) == words
    assert comparison.in_words(None) == "–"


def test_setting_missing_on_one_side_is_reported_and_fails(bench, tmp_path):
    record(
        tmp_path / "out",
        *four_rounds("resnet50", 0.1),
        *four_rounds("resnet50", 0.1, batch=128),
        *four_rounds("swin_t", 0.1),
    )
    done = bench("compare", "resnet50", "swin_t", "--in", "out", "--fail-on", "slower")
    assert "was not measured in this setting" in done.stdout
    assert done.returncode == 1


def test_damaged_line_gives_a_warning_and_missing_environment_is_tolerated(bench, tmp_path):
    record(tmp_path / "out", *four_rounds("resnet50", 0.1), *four_rounds("swin_t", 0.2))
    path = tmp_path / "out" / "test-chip-9000" / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b"no record\n", *lines[1:]]))
    done = bench("compare", "resnet50", "swin_t", "--in", "out")
    assert done.returncode == 0, done.stderr
    assert "is not a record" in done.stderr
    assert "SLOWER" in done.stdout


def test_runs_without_common_case_and_identical_folders_are_refused(bench, tmp_path):
    record(tmp_path / "a", *four_rounds("resnet50", 0.1))
    record(tmp_path / "b", *four_rounds("swin_t", 0.1))
    for other, message in (("b", "no case in common"), ("a", "the same folder")):
        done = bench("compare", "a", other)
        assert (done.returncode, message in done.stderr) == (2, True)


def test_two_runs_show_environment_differences_then_cases(bench, tmp_path):
    now = msgspec.structs.replace(
        ENVIRONMENT, run_id="now", versions={"torch": "2.1", "bench": "0"}
    )
    record(tmp_path / "then", *four_rounds("resnet50", 0.1), *four_rounds("swin_t", 0.1))
    slower = four_rounds("resnet50", 0.15, run_id="now")
    record(tmp_path / "now", *slower, failure(Case("swin_t", "plain", threads=2)), environment=now)
    done = bench("compare", "then", "now")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert text.index("torch 2.0 → torch 2.1") < text.index("SLOWER")
    assert "failed at check" in text
    assert bench("compare", "then", "now", "--fail-on", "slower").returncode == 1


def test_different_devices_power_modes_and_schemas_are_refused(bench, tmp_path):
    chip = msgspec.structs.replace(CHIP, name="Other")
    other = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    record(tmp_path / "a", *four_rounds("resnet50", 0.1))
    record(tmp_path / "b", *four_rounds("resnet50", 0.1), environment=other)
    assert "different devices" in bench("compare", "a", "b").stderr
    for name, mode in (("c", "15W"), ("d", "30W")):
        mine = msgspec.structs.replace(FULLY_USED, power_modes=[mode])
        record(tmp_path / name, *four_rounds("resnet50", 0.1, conditions=mine))
    assert "different power modes: 15W in c, 30W in d" in bench("compare", "c", "d").stderr
    record(tmp_path / "e", *four_rounds("resnet50", 0.1, schema=2))
    done = bench("compare", "a", "e")
    assert (done.returncode, "has schema 2" in done.stderr) == (2, True)
    (tmp_path / "empty").mkdir()
    done = bench("compare", "a", "empty")
    assert (done.returncode, "no results in empty" in done.stderr) == (2, True)


def test_explain_describes_samples_machine_and_verdict(bench, results):
    done = bench("explain", "swin_t", "--in", "out")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    for words in (
        "ms: mean of the processes' medians",
        "150 ± 1 ms: mean ± standard deviation of all iterations",
        "95 % confidence interval of the mean of the processes' medians",
        "16 iterations in 8 blocks of 4 processes",
        "not finished: the run planned more rounds",
        "this process used 2 CPUs",
        "verdict VALID",
        "--models swin_t --batch 128",
    ):
        assert words in text, words


def test_explain_finds_a_case_by_a_prefix_of_its_id(bench, results):
    case = Case("resnet50", "plain", batch=128, threads=2)
    done = bench("explain", case.case_id[:8], "--in", "out", "--json")
    (found,) = json.loads(done.stdout)
    assert found["case"].startswith(case.case_id)


def test_explain_describes_a_failure(bench, results):
    done = bench("explain", "convnext_t", "--in", "out")
    assert "at check, round 1: CheckError: output is not finite" in done.stdout


def test_explain_of_unknown_case_lists_known_cases(bench, results):
    done = bench("explain", "nope", "--in", "out")
    assert done.returncode == 2
    assert "resnet50" in done.stderr


def test_explain_describes_gpu_metrics(bench, tmp_path):
    conditions = msgspec.structs.replace(
        FULLY_USED,
        highest_temperature_c=71.0,
        highest_power_w=300.0,
        throttled_by=["hw_slowdown"],
    )
    seen = Telemetry(seconds=10.0, iterations=500, utilisation=[0.5], missing={"power_w": "no"})
    measured = measurement(
        Case("resnet50", "plain", device="cuda"),
        conditions=conditions,
        device_samples_s=[0.009, 0.010, 0.011],
        settings={"matmul_tf32": False},
        telemetry=seen,
    )
    record(tmp_path / "out", measured)
    text = bench("explain", "resnet50", "--in", "out").stdout
    for said in (
        "median 10.0 ms per iteration by the device's own clock",
        "a kernel ran 50 % of the time; no power_w: no",
        "at most 71 °C; at most 300 W; the clock was throttled by hw_slowdown",
        "matmul_tf32 False",
        "SUSPECT",
    ):
        assert said in " ".join(text.split()), said
