"""`bench choose` on the fake device: the answer, its advice, and what it refuses."""

import json
import re
import shlex

import pytest

MODELS = ("--models", "resnet50,convnext_t,repnext_u3_t@srep,repnext_u1_t@train", "--batch", "1")
MEASURE = ("run", "--device", "fake", *MODELS, "--preset", "quick")


@pytest.fixture
def measured(bench):
    done = bench(*MEASURE, "--rounds", "3")
    assert done.returncode == 0, done.stderr
    return bench


def answer(bench, *words):
    done = bench("choose", *words, "--json")
    assert done.returncode in (0, 4), done.stderr
    return json.loads(done.stdout)


def titles(entries):
    return [each["title"] for each in entries]


def test_what_fits_comes_in_order_with_what_does_not(measured):
    done = measured("choose", "--max-latency", "18ms", "--min-top1", "78")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.split("\n\n")[:2]
    assert first == (
        "fake, batch 1, latency at most 18 ms, top-1 at least 78 % on ImageNet-1K; by latency"
    )
    assert second == "RepNeXt-u3-T-sRep is the only network known to fit."
    found = answer(measured, "--max-latency", "18ms", "--min-top1", "78")
    assert titles(found["fits"]) == ["RepNeXt-u3-T-sRep"]
    assert set(titles(found["does_not_fit"])) == {"ResNet50", "ConvNeXt-T"}
    assert titles(found["not_measured"]) == ["RepNeXt-u1-T"]
    assert "--models repnext_u1_t+WEIGHTS@train" in found["not_measured"][0]["command"]
    assert "swin_t" in found["never_measured"]
    assert "mobilenetv3_s" not in found["never_measured"]  # 67.5 % is published


def test_the_rounds_that_it_names_tell(measured):
    limit = answer(measured)["fits"][-1]["values"]["latency"][0] * 0.98
    words = ("--max-latency", f"{limit:.6f}s")
    (undecided,) = answer(measured, *words)["cannot_be_told"]
    assert undecided["more_rounds"] > 1
    program, *command = shlex.split(undecided["command"])
    assert program == "bench"
    done = measured(*command)
    assert done.returncode == 0, done.stderr
    after = answer(measured, *words)
    now = after["does_not_fit"] + after["cannot_be_told"]
    (decided,) = (each for each in now if each["case_id"] == undecided["case_id"])
    widths = [
        (high - low) / point
        for point, low, high in (undecided["values"]["latency"], decided["values"]["latency"])
    ]
    assert widths[1] < widths[0]


def test_where_none_is_known_to_fit_the_exit_code_says_whether_more_could_tell(measured):
    assert measured("choose", "--max-latency", "1us").returncode == 0
    done = measured("choose", "--min-top1", "79", "--max-latency", "6ms")
    found = answer(measured, "--min-top1", "83", "--max-latency", "60ms")
    assert done.returncode == 0
    assert found["fits"] == []
    assert measured("choose", "--min-top1", "83", "--max-latency", "60ms").returncode == 4


def test_it_writes_markdown_and_json(measured, tmp_path):
    done = measured("choose", "--max-latency", "20ms", "--to", "decision")
    assert done.returncode == 0
    page = (tmp_path / "decision" / "choose.md").read_text()
    assert page.startswith("# fake, batch 1, latency at most 20 ms; by latency\n")
    assert re.search(r"^\| 1 +\| RepNeXt-u3-T-sRep +\|", page, re.M)
    told = json.loads((tmp_path / "decision" / "choose.json").read_text())
    assert told == answer(measured, "--max-latency", "20ms")


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (("--max-latency", "20"), "--max-latency 20 has no unit", "For example"),
        (("--max-latency", "20ms", "--max-latency", "5ms:p99"), "makes another useless", "Leave"),
        (("--objective", "speed"), "unknown objective 'speed'", "latency, top1, energy"),
        (("--dataset", "mnist", "--min-top1", "9"), "top-1 is known of none of 4", "bench eval"),
        (("--batch", "128"), "nothing in results was measured at batch 128", "--batch 1 --resol"),
        (("--device", "orin"), "no records of orin in results", "fake (fake)"),
        (("--in", "nowhere"), "nowhere does not exist", "bench run --out"),
    ],
)
def test_a_wrong_question_is_one_message_with_its_remedy(measured, words, message, remedy):
    done = measured("choose", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert remedy in done.stderr
    assert done.stdout == ""


def test_of_several_devices_one_must_be_named(measured, tmp_path):
    folder = tmp_path / "results"
    (folder / "other").mkdir()
    text = (folder / "fake" / "results.jsonl").read_text()
    (folder / "other" / "results.jsonl").write_text(text.replace('"name":"fake"', '"name":"Other"'))
    done = measured("choose")
    assert done.returncode == 2
    assert "has records of several devices: fake (fake), other (fake)" in done.stderr
    assert measured("choose", "--device", "other").returncode == 0


def test_records_of_a_future_schema_are_named_and_not_read(measured, tmp_path):
    path = tmp_path / "results" / "fake" / "results.jsonl"
    path.write_text(path.read_text().replace('"schema":1', '"schema":9'))
    done = measured("choose")
    assert done.returncode == 2
    assert "has schema 9" in done.stderr
    assert "Read this file with the version of bench that wrote it." in done.stderr
