"""The page that shows the same networks in several backends."""

import msgspec
from support.records import BUSY, ENVIRONMENT, TAKEN, failure, rounds
from support.results import device, pages_of
from support.table_rows import thrice

from bench.records import Case
from bench.report import runtimes

EAGER = {"resnet50": 20, "convnext_t": 25, "repnext_u3_t__train": 30, "repnext_u3_t__rrep": 24}
FASTER = {"resnet50": 10, "convnext_t": 8, "repnext_u3_t__train": 12, "repnext_u3_t__rrep": 12}


def in_backend(backend, changes=(), **ms):
    """Records of networks, `model__form`, with these latencies in ms."""
    names = {name: (*name.split("__"), "plain")[:2] for name in ms}
    return [
        thrice(*names[name], ms=each, backend=backend, **dict(changes)) for name, each in ms.items()
    ]


def page(*groups):
    return runtimes.render(device(*groups))["runtimes.md"].decode()


def both(**changes):
    return [*in_backend("eager", **EAGER), *in_backend("onnxruntime", changes, **FASTER)]


def lines_of(text, heading):
    """The cells of the table below a heading, by the first one."""
    part = text.partition(heading)[2].partition("\n#")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("|")
    ]
    return {first: rest for first, *rest in cells[2:]}


def matrix(*groups):
    return lines_of(page(*groups), "# Networks in several backends")


def test_the_matrix_has_the_ratio_to_eager_and_marks_the_fastest():
    found = matrix(*both())
    assert found["ResNet50"] == ["20.0", "**10.0, 2.00× (2.00 to 2.00)**"]
    assert found["ConvNeXt-T"][1] == "**8.02, 3.13× (3.13 to 3.13)**"
    assert len(found) == 4


def test_the_fastest_way_of_each_network_names_what_is_not_told_apart():
    best = lines_of(page(*both()), "## The fastest way")
    assert best["RepNeXt-u3-T"] == [
        "RepNeXt-u3-T onnxruntime",
        "12.0",
        "2.50× (2.50 to 2.50)",
        "RepNeXt-u3-T-rRep onnxruntime",
    ]
    assert best["ResNet50"][-1] == "–"


def test_a_form_that_only_one_backend_has_is_also_a_way_to_run_the_network():
    alone = in_backend("eager", repnext_u3_t__srep=5)
    best = lines_of(page(*both(), *alone), "## The fastest way")
    assert best["RepNeXt-u3-T"][0] == "RepNeXt-u3-T-sRep eager"


def test_one_found_faster_in_the_same_rounds_leads_though_its_mean_is_larger():
    eager = rounds("resnet50", latencies_ms=[10, 20, 10, 20], last="rounds")
    ort = rounds("resnet50", latencies_ms=[9, 18, 9, 18, 50], last="rounds", backend="onnxruntime")
    best = lines_of(page(eager, ort), "## The fastest way")
    assert best["ResNet50"][0].startswith("ResNet50 onnxruntime")


def test_the_order_of_the_networks_is_compared_within_one_size_of_images():
    found = lines_of(page(*both()), "## The order")
    size, count, tau, opposite = found["onnxruntime"]
    assert (size, count, tau) == ("224×224 pixels", "4", "0.33 (0.00 to 0.33)")
    assert opposite == "ResNet50 and ConvNeXt-T, ConvNeXt-T and RepNeXt-u3-T-rRep"
    small = [("resolution", 64)]
    more = [
        each
        for backend in ("eager", "onnxruntime")
        for each in in_backend(backend, small, resnet50=2, swin_t=3)
    ]
    text = page(*both(), *more)
    assert "| onnxruntime | 64×64 pixels" in text
    assert lines_of(text, "# Networks in several backends")["ResNet50 64²"][0] == "**2.00**"


def test_claims_of_this_kind_of_device_whose_verdict_depends_on_the_backend():
    text = page(*both()).partition("## Claims whose verdict depends")[2]
    flips = [line for line in text.splitlines() if "| onnxruntime" in line]
    assert flips
    assert all("reproduced" in line or "same direction" in line for line in flips)
    assert all(("not reproduced" in line) for line in flips)
    same = page(*in_backend("eager", **EAGER), *in_backend("openvino", **EAGER))
    assert same.rstrip().endswith("None.")


def test_failures_doubts_and_invalid_rows():
    failed = failure(Case("swin_t", "plain", "onnxruntime", threads=2), stage="load")
    eager = in_backend("eager", swin_t=20, resnet50=20)
    found = matrix(*eager, *in_backend("onnxruntime", resnet50=10), [failed])
    assert found["Swin-T"] == ["**20.0**", "failed (load)"]
    found = matrix(*eager, *in_backend("onnxruntime", [("conditions", BUSY)], resnet50=10))
    assert found["ResNet50"][1].startswith("**10.0 †, 2.00×")
    found = matrix(*eager, *in_backend("onnxruntime", [("conditions", TAKEN)], resnet50=10))
    assert found["ResNet50"] == ["**20.0**", "10.0 INVALID"]


def test_rows_of_one_process_are_shown_and_not_compared():
    single = [rounds("resnet50", backend=name) for name in ("eager", "onnxruntime")]
    text = page(*single)
    assert lines_of(text, "# Networks in several backends")["ResNet50"] == ["10.0 †", "10.0 †"]
    assert text.count(runtimes.EMPTY) == 2


def test_a_device_without_several_backends_has_no_page():
    assert runtimes.render(device(*in_backend("eager", **EAGER))) == {}
    apart = in_backend("eager", resnet50=20) + in_backend("onnxruntime", swin_t=20)
    assert runtimes.render(device(*apart)) == {}
    records = [ENVIRONMENT, *(each for group in both() for each in group)]
    assert "runtimes.md" in pages_of(records)


def test_any_number_of_threads_and_the_default_allocator_count():
    one = [("threads", 1)]
    groups = [
        *in_backend("onnxruntime", one, resnet50=10),
        *in_backend("openvino", one, resnet50=20),
    ]
    text = page(*groups)
    assert "Test Chip 9000, 1 thread\n" in text
    assert "Eager mode was not measured." in text
    assert lines_of(text, "# Networks")["ResNet50"] == ["**10.0**", "20.0, 0.50× (0.50 to 0.50)"]
    arena = [("allocator", "arena")]
    assert matrix(*both(), *in_backend("eager", arena, resnet50=5))["ResNet50"][0] == "20.0"


def test_a_hostile_name_of_a_backend_is_text():
    (group,) = in_backend("a|b", resnet50=10)
    case = msgspec.structs.replace(group[0].case, backend="a|<b>")
    hostile = [msgspec.structs.replace(each, case=case, case_id=case.case_id) for each in group]
    text = page(*in_backend("eager", resnet50=20), hostile)
    assert "a\\|" in text
    assert "<b>" not in text
