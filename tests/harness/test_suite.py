import msgspec
import pytest
from support.records import CHIP

from bench.backends import BACKENDS
from bench.devices import allocators, huge_pages
from bench.errors import UnavailableError, UsageError
from bench.harness import suite as suites
from bench.harness.suite import Overrides, Suite, expand, plan_for

NOTHING = Overrides()


def expanded(*models, chip=CHIP, threads=None, **overrides):
    return expand(Suite(), Overrides(models=models, **overrides), chip, threads)


def test_a_bare_name_selects_every_form_and_name_at_form_selects_one():
    names = [case.name for case in expanded("repnext_u3_t", "resnet50", batch=(1,))]
    forms = ["train", "rrep", "rrep_fc", "srep"]
    assert names == [f"repnext_u3_t@{form}" for form in forms] + ["resnet50"]
    assert [case.form for case in expanded("repnext_u3_t@srep", batch=(1,))] == ["srep"]


def test_the_default_batches_are_1_and_128_and_the_smallest_is_first():
    assert [case.batch for case in expanded("resnet50")] == [1, 128]
    assert [case.batch for case in expanded("resnet50", batch=(64, 2))] == [2, 64]


def test_duplicate_cases_are_removed():
    assert len(expanded("resnet50", "resnet50", batch=(1, 1))) == 1


def test_the_default_threads_are_those_of_the_chip():
    assert expanded("resnet50")[0].threads == CHIP.threads
    assert expanded("resnet50", threads=7)[0].threads == 7


def test_flags_override_the_suite():
    suite = Suite(models=("resnet50",), batch=(4,))
    assert [case.batch for case in expand(suite, NOTHING, CHIP, None)] == [4]
    cases = expand(suite, Overrides(batch=(2,), models=("swin_t",)), CHIP, None)
    assert [(case.model, case.batch) for case in cases] == [("swin_t", 2)]


def test_a_suite_gives_the_shape_of_an_image_and_flags_replace_it(tmp_path):
    path = tmp_path / "wide.toml"
    path.write_text('models = ["resnet50"]\nbatch = [1]\ninput = "3x96x64"\n')
    suite = suites.load(str(path))

    def size(**flags):
        (case,) = expand(suite, Overrides(**flags), CHIP, None)
        return case.input, case.resolution

    assert size() == ("3x96x64", 96)
    assert size(input="3x32x48") == ("3x32x48", 48)
    assert size(resolution=(64,)) == ("", 64)


@pytest.mark.parametrize(
    ("models", "overrides", "said"),
    [
        (("resnet_50",), {}, "Did you mean resnet50"),
        (("repnext_u3_t@plain",), {}, "It has: train, rrep, rrep_fc, srep"),
        (("resnet50@",), {}, "has no form ''"),
        (("fault/nan",), {}, "unknown model"),
        (("resnet50",), {"backend": ("eagre",)}, "Did you mean eager"),
        (("resnet50",), {"precision": ("fp33",)}, "Did you mean fp32"),
        (("resnet50",), {"allocator": ("jemaloc",)}, "Did you mean jemalloc"),
        (("resnet50",), {"allocator": ("ptmalloc",)}, "That is `default`"),
        (("resnet50",), {"huge_pages": ("on",)}, "That is `madvise`"),
        (("resnet50",), {"workload": ("training",)}, "That is `train`"),
        (("resnet50",), {"workload": ("trian",)}, "Did you mean train"),
        (("resnet50",), {"workload": ("train",), "batch": (1,)}, "needs at least 2 images"),
        (
            ("resnet50",),
            {"workload": ("train",), "precision": ("bf16",)},
            "is measured in fp32, not in bf16",
        ),
        (("resnet50",), {"allocator": ()}, "allocator is empty"),
        (("resnet50",), {"batch": (0,)}, "batch 0"),
        (("resnet50",), {"batch": (-1,)}, "batch -1"),
        (("resnet50",), {"resolution": (0,)}, "resolution 0"),
        ((), {}, "nothing to measure"),
    ],
)
def test_unknown_names_and_invalid_numbers_are_refused_with_a_remedy(models, overrides, said):
    with pytest.raises(UsageError) as refused:
        expanded(*models, **overrides)
    assert said in str(refused.value)


def test_a_backend_that_does_not_train_is_refused(monkeypatch):
    monkeypatch.setattr(BACKENDS["openvino"], "missing", lambda _: None)
    with pytest.raises(UsageError, match="openvino does not train networks") as refused:
        expanded("resnet50", workload=("train",), backend=("openvino",))
    assert "Use --backend eager, channels_last, compile." in str(refused.value)


def test_a_training_step_has_a_batch_of_its_own_and_comes_after_inferences():
    (case,) = expanded("resnet50", workload=("train",))
    assert (case.workload, case.batch) == ("train", 32)
    (case,) = expanded("resnet50", workload=("train",), batch=(8,))
    assert case.batch == 8
    both = expanded("resnet50", workload=("train", "infer"), batch=(8, 64))
    assert [(case.workload, case.batch) for case in both] == [
        ("infer", 8),
        ("infer", 64),
        ("train", 8),
        ("train", 64),
    ]


def test_every_shipped_suite_expands():
    chip = msgspec.structs.replace(CHIP, device="fake")  # which has every backend and precision
    for name in suites.names():
        assert expand(suites.load(name), NOTHING, chip, None)


def test_the_suite_of_backends_is_a_full_grid():
    chip = msgspec.structs.replace(CHIP, device="fake")
    cases = expand(suites.load("backends"), NOTHING, chip, None)
    assert len(cases) == len(set(cases)) == 4 * 4 * 3


@pytest.mark.parametrize(
    ("facts", "flags", "said"),
    [
        ({}, {"backend": ("cudagraph",)}, "no backend cudagraph here"),
        ({"compute_capability": "7.5"}, {"precision": ("tf32",)}, "this chip has 7.5"),
        (
            {},
            {"backend": ("eager", "onnxruntime"), "precision": ("fp32", "bf16")},
            "no bf16 with onnxruntime here",
        ),
    ],
)
def test_a_missing_backend_or_precision_is_refused_before_anything_runs(
    facts, flags, said, monkeypatch
):
    monkeypatch.setattr(BACKENDS["onnxruntime"], "missing", lambda _: None)
    device = "cuda" if facts else "cpu"
    chip = msgspec.structs.replace(CHIP, device=device, facts=facts)
    with pytest.raises(UnavailableError, match=said):
        expanded("resnet50", chip=chip, **flags)


def test_table6_is_the_seven_rows_of_the_paper():
    cases = expand(suites.load("table6"), Overrides(batch=(1,)), CHIP, None)
    assert [case.name for case in cases] == [
        "mobilenetv3_l",
        "resnet50",
        "swin_t",
        "convnext_t",
        "repnext_u3_t@train",
        "repnext_u3_t@rrep",
        "repnext_u3_t@srep",
    ]


def test_smoke_has_at_least_forty_case_rounds_whatever_the_preset():
    suite = suites.load("smoke")
    cases = expand(suite, NOTHING, CHIP, None)
    for preset in ("quick", "default", "paper"):
        plan = plan_for(preset, suite, None, None)
        assert len(cases) * plan.rounds >= 40
        assert plan.budget_s is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models = [", "not a valid suite"),
        ('modles = ["resnet50"]', "modles"),
        ('batch = "many"', "batch"),
        ("models = [1]", "models"),
        ("pace_s = nan", "pace_s"),
        ("batch = [1]\nbatch = [1]", "batch"),
        ('input = "3x64x96"\nresolution = [64]', "both give the size"),
    ],
)
def test_the_error_of_a_malformed_suite_names_the_fault(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        suites.load(str(path))
    assert said in str(refused.value)


def test_the_error_of_a_missing_suite_suggests_the_closest_name(tmp_path):
    with pytest.raises(UsageError, match="table6"):
        suites.load("tabel6")
    with pytest.raises(UsageError, match="cannot read"):
        suites.load(str(tmp_path / "none.toml"))


def test_fixed_rounds_remove_the_budget_unless_one_is_given():
    plan = plan_for("quick", Suite(), 7, None)
    assert (plan.rounds, plan.budget_s) == (7, None)
    assert plan_for("quick", Suite(), 7, 60.0).budget_s == 60


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_budget_is_refused(budget):
    with pytest.raises(UsageError, match="budget"):
        plan_for("quick", Suite(), None, budget)


def test_an_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="quick"):
        plan_for("quik", Suite(), None, None)


def test_allocators_of_one_network_are_neighbours_and_share_a_group(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'models = ["resnet50", "swin_t"]\nallocator = ["default", "arena"]\nbatch = [1]'
    )
    chip = msgspec.structs.replace(CHIP, device="fake")
    cases = expand(suites.load(str(path)), NOTHING, chip, None)
    assert [(case.model, case.allocator) for case in cases] == [
        ("resnet50", "default"),
        ("resnet50", "arena"),
        ("swin_t", "default"),
        ("swin_t", "arena"),
    ]
    assert len({case.group for case in cases}) == 1
    pages = Overrides(allocator=("arena",), huge_pages=("never",))
    assert {case.allocation for case in expand(suites.load(str(path)), pages, chip, None)} == {
        ("arena", "never")
    }


@pytest.mark.parametrize("flags", [{"allocator": ("arena",)}, {"huge_pages": ("never",)}])
def test_an_allocator_is_refused_where_networks_do_not_use_malloc(flags):
    chip = msgspec.structs.replace(CHIP, device="cuda")
    with pytest.raises(UsageError, match="has no effect on cuda"):
        expand(Suite(models=("resnet50",)), Overrides(**flags), chip, None)


@pytest.mark.parametrize(
    ("module", "flags", "said"),
    [
        (allocators, {"allocator": ("tcmalloc",)}, "sudo apt install libtcmalloc-minimal4"),
        (huge_pages, {"huge_pages": ("madvise",)}, "echo madvise"),
    ],
)
def test_what_is_not_installed_is_refused_with_the_way_to_get_it(monkeypatch, module, flags, said):
    name = next(iter(flags.values()))[0]
    lack = ("why", "sudo apt install libtcmalloc-minimal4" if "allocator" in flags else said)
    monkeypatch.setattr(module, "missing", lambda asked: lack if asked == name else None)
    with pytest.raises(UnavailableError, match="why") as raised:
        expand(Suite(models=("resnet50",)), Overrides(**flags), CHIP, None)
    assert said in raised.value.remedy


def test_an_allocator_that_the_shell_brings_is_refused_and_never_on_record_as_default(monkeypatch):
    brought = ("libtcmalloc.so.4 replaces malloc", "Unset LD_PRELOAD.")
    monkeypatch.setattr(allocators, "brought", lambda name: brought)
    with pytest.raises(UsageError, match="no case would have the allocator default: libtc"):
        expand(Suite(models=("resnet50",)), NOTHING, CHIP, None)
    chip = msgspec.structs.replace(CHIP, device="fake")  # a simulated network has no malloc
    assert expand(Suite(models=("resnet50",)), NOTHING, chip, None)
