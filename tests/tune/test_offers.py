"""What a machine offers a tuning."""

import msgspec
import pytest
from support.tunings import SPACE

from bench import devices
from bench.backends import BACKENDS
from bench.devices import allocators, huge_pages
from bench.errors import UnavailableError, UsageError
from bench.records import Case
from bench.tune import offers

FAKE = devices.select("fake")[1]
FORM = Case("resnet50", "plain", device="fake", threads=1)


def space(*forms, backends=None, precisions=("fp32",), chip=FAKE):
    return offers.space(forms or (FORM,), backends, precisions, chip, None)


def test_the_fake_device_offers_every_backend_in_every_precision_named():
    found, lacking = space(precisions=("fp32", "bf16"))
    assert set(found.runtimes) == {
        (backend, precision) for backend in BACKENDS for precision in ("fp32", "bf16")
    }
    assert found.runtimes[0] == ("eager", "fp32")
    assert lacking == []


def test_eager_mode_in_fp32_is_there_whatever_is_named():
    found, _ = space(backends=("openvino",), precisions=("bf16",))
    assert found.runtimes == (("eager", "fp32"), ("openvino", "bf16"))


def test_the_usual_settings_of_a_process_come_first():
    found, _ = space()
    assert found.allocator[0] == found.huge_pages[0] == "default"
    assert set(found.allocator) == set(allocators.ALLOCATORS)
    assert set(found.huge_pages) == set(huge_pages.HUGE_PAGES)


def test_only_a_network_with_several_merged_forms_has_stages():
    forms = [msgspec.structs.replace(each, device="fake") for each in SPACE.forms]
    assert offers.space(forms, None, ["fp32"], FAKE, None, stages=True)[0].stages
    with pytest.raises(UsageError, match="no stage of resnet50 may have another form"):
        offers.space([FORM], None, ["fp32"], FAKE, None, stages=True)


def test_threads_are_all_usable_ones_and_powers_of_two_below():
    six = msgspec.structs.replace(FORM, threads=6)
    assert space(six)[0].threads == (6, 1, 2, 4)
    assert space(FORM)[0].threads == (1,)


def test_what_does_not_work_here_is_told_and_left_out(monkeypatch):
    monkeypatch.setattr(BACKENDS["openvino"], "missing", lambda _: "it is not installed")
    chip = devices.select("cpu")[1]
    found, lacking = space(SPACE.forms[1], chip=chip)
    assert ("openvino", "fp32") not in found.runtimes
    assert "no backend openvino here: it is not installed" in lacking


def test_a_backend_that_was_named_and_is_missing_is_an_error(monkeypatch):
    monkeypatch.setattr(BACKENDS["openvino"], "missing", lambda _: "it is not installed")
    with pytest.raises(UnavailableError, match="it is not installed"):
        space(SPACE.forms[1], backends=("openvino",), chip=devices.select("cpu")[1])
    with pytest.raises(UsageError, match="unknown backend"):
        space(backends=("openvin",))
    with pytest.raises(UsageError, match="unknown precision"):
        space(precisions=("fp23",))


def test_a_precision_that_one_backend_lacks_is_told():
    chip = devices.select("cpu")[1]
    found, lacking = space(
        SPACE.forms[1], backends=("eager", "onnxruntime"), precisions=("int8",), chip=chip
    )
    assert ("eager", "int8") not in found.runtimes
    assert any(each.startswith("eager in int8: ") for each in lacking)


def test_a_precision_in_which_no_named_backend_computes_is_an_error():
    chip = devices.select("cpu")[1]
    with pytest.raises(UnavailableError, match="no backend here computes in int8"):
        space(SPACE.forms[1], backends=("eager", "compile"), precisions=("int8",), chip=chip)


def test_with_one_way_to_run_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(offers, "ALLOCATORS", {"default": allocators.ALLOCATORS["default"]})
    monkeypatch.setattr(offers, "HUGE_PAGES", {"default": huge_pages.HUGE_PAGES["default"]})
    with pytest.raises(UsageError, match="nothing to choose for resnet50"):
        space(backends=("eager",))
