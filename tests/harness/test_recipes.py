"""Recipes of `bench tune` as the models of a run."""

import msgspec
import pytest

from bench import devices
from bench.errors import UnavailableError, UsageError
from bench.harness import recipes, suite
from bench.harness.suite import Overrides, Suite
from bench.records import SCHEMA, Case, Recipe

CASE = Case("resnet50", "plain", backend="compile", batch=16, device="fake", allocator="arena")
RECIPE = Recipe(CASE, "env", {"timm": "1.0"}, {}, "resnet50", (1.2, 1.1, 1.3))
FAKE = devices.select("fake")[1]


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe; returns its path."""

    def write(content=RECIPE):
        path = tmp_path / "recipe.json"
        path.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
        return path

    return write


def cases(*models, chip=FAKE):
    return suite.expand(Suite(), Overrides(models=models, batch=(1,)), chip, None)


def test_a_recipe_gives_one_case_with_all_its_settings(recipe):
    assert cases(f"resnet50@tuned:{recipe()}") == [CASE]


def test_other_models_of_the_run_keep_the_settings_of_the_flags(recipe):
    found = cases(f"resnet50@tuned:{recipe()}", "resnet50")
    usual = msgspec.structs.replace(CASE, backend="eager", batch=1, allocator="default")
    assert found == [usual, CASE]


def test_a_recipe_of_another_network_is_refused(recipe):
    with pytest.raises(UsageError, match="the recipe is of resnet50, not of swin_t"):
        cases(f"swin_t@tuned:{recipe()}")


def test_a_recipe_for_another_device_is_refused(recipe):
    cpu = msgspec.structs.replace(RECIPE, case=msgspec.structs.replace(CASE, device="cpu"))
    with pytest.raises(UsageError, match="the recipe is for cpu, and this run is on fake"):
        cases(f"resnet50@tuned:{recipe(cpu)}")


def test_more_threads_than_usable_are_refused(recipe):
    many = msgspec.structs.replace(RECIPE, case=msgspec.structs.replace(CASE, threads=9))
    with pytest.raises(UsageError, match="wants 9 threads, and this process may use 1"):
        cases(f"resnet50@tuned:{recipe(many)}")


def test_a_missing_file_and_one_that_is_no_recipe_are_refused(recipe, tmp_path):
    with pytest.raises(UsageError, match="cannot read the recipe"):
        cases(f"resnet50@tuned:{tmp_path / 'none.json'}")
    for content in (b"", b"[]", b'{"case": {}}', b"\xff"):
        with pytest.raises(UsageError, match="is not a recipe of `bench tune`"):
            cases(f"resnet50@tuned:{recipe(content)}")


def test_a_recipe_of_a_future_schema_is_refused(recipe):
    future = msgspec.structs.replace(RECIPE, schema=SCHEMA + 1)
    with pytest.raises(UsageError, match=f"has schema {SCHEMA + 1}"):
        recipes.read(recipe(future))


def test_a_recipe_of_other_versions_is_refused(recipe):
    old = msgspec.structs.replace(RECIPE, versions={"torch": "2.4.0"})
    with pytest.raises(UsageError, match=r"was made with torch 2.4.0, and here is"):
        recipes.read(recipe(old))


def test_a_recipe_whose_backend_is_missing_here_is_refused(recipe, monkeypatch):
    chip = devices.select("cpu")[1]
    case = msgspec.structs.replace(CASE, device="cpu", backend="openvino", allocator="default")
    monkeypatch.setattr(recipes.grid.BACKENDS["openvino"], "missing", lambda _: "not installed")
    with pytest.raises(UnavailableError, match="no backend openvino here"):
        cases(f"resnet50@tuned:{recipe(msgspec.structs.replace(RECIPE, case=case))}", chip=chip)


@pytest.mark.parametrize(("field", "said"), [("backend", "backend"), ("device", "run is on fake")])
def test_an_unknown_backend_or_device_is_refused(recipe, field, said):
    other = msgspec.structs.replace(
        RECIPE, case=msgspec.structs.replace(CASE, **{field: "quantum"})
    )
    with pytest.raises(UsageError, match=said):
        cases(f"resnet50@tuned:{recipe(other)}")


def test_the_case_of_a_recipe_stands_with_others_of_its_batch(recipe):
    found = cases("resnet50", f"resnet50@tuned:{recipe()}", "swin_t")
    assert [case.batch for case in found] == [1, 1, 16]


def test_a_form_that_the_network_lacks_is_refused(recipe):
    other = msgspec.structs.replace(RECIPE, case=msgspec.structs.replace(CASE, form="srep"))
    with pytest.raises(UsageError, match="srep"):
        cases(f"resnet50@tuned:{recipe(other)}")
