"""The answers at the top of the page."""

from msgspec import structs
from support.records import ENVIRONMENT, rounds, timed

from bench.paper.accuracy import Accuracy, Given
from bench.report import devices
from bench.report.page.answers import ACCURATE_WITHIN, answers


def answers_of(*records, given=()):
    return answers(devices.of("chip", [ENVIRONMENT, *records], given))


def given(**top1):
    return [
        Given(name, Accuracy(value, "imagenet1k", 224, "measured", ""))
        for name, value in top1.items()
    ]


def three_rounds(model, ms, **options):
    return [
        timed(model, ms=ms + 0.001 * number, round_number=number, **options) for number in (1, 2, 3)
    ]


def test_the_fastest_and_the_fastest_of_the_accurate():
    accuracies = given(swin_t=82.0, swin_b=82.0 - ACCURATE_WITHIN, resnet50=80.9)
    (found,) = answers_of(
        *three_rounds("resnet50", 10.0),
        *three_rounds("swin_b", 20.0),
        *three_rounds("swin_t", 30.0),
        given=accuracies,
    )
    assert (found.device, found.batch, found.size, found.cases) == (0, 1, "224²", 3)
    assert (found.fastest.name, found.fastest.ties) == ("ResNet50", [])
    assert round(found.fastest.seconds, 6) == 0.010002
    assert found.fastest.low < found.fastest.seconds < found.fastest.high
    assert (found.accurate.name, found.least_top1) == ("Swin-B", 81.0)


def test_cases_that_statistics_cannot_tell_apart_are_ties():
    (found,) = answers_of(
        *rounds("resnet50", latencies_ms=(10.0, 10.0)), *rounds("swin_t", latencies_ms=(11.0, 11.0))
    )
    assert (found.fastest.name, found.fastest.ties) == ("ResNet50", ["Swin-T"])
    assert found.fastest.low is None


def test_cases_of_one_process_have_no_rank_and_give_no_answer():
    assert answers_of(timed("resnet50", ms=10.0), timed("swin_t", ms=11.0)) == []


def test_a_tie_shares_one_of_several_numbers_with_the_fastest():
    latencies = {
        "resnet50": (10.0, 10.1, 10.1),
        "swin_t": (9.0, 13.0, 11.0),
        "deit_s": (12.0, 12.1, 12.1),
    }
    (found,) = answers_of(
        *(each for model, ms in latencies.items() for each in rounds(model, latencies_ms=ms))
    )
    assert (found.fastest.name, found.fastest.ties) == ("ResNet50", ["Swin-T"])


def test_accuracies_of_weights_with_more_data_do_not_count():
    (found,) = answers_of(*three_rounds("vit_b", 10.0), *three_rounds("timm/resnet18", 11.0))
    assert found.accurate is None  # only one accuracy is of ImageNet-1K alone


def test_a_batch_a_resolution_and_a_device_answer_for_themselves():
    old = structs.replace(ENVIRONMENT, environment_id="0123456789abcdef")
    found = answers_of(
        old,
        *three_rounds("swin_t", 1.0, environment_id=old.environment_id),
        *three_rounds("deit_s", 1.0, environment_id=old.environment_id),
        *(each for name in ("resnet50", "convnext_t") for each in three_rounds(name, 1.0)),
        *(each for name in ("swin_t", "deit_s") for each in three_rounds(name, 2.0, batch=128)),
        *three_rounds("swin_b", 3.0, batch=64),
    )
    assert [(each.batch, each.cases) for each in found] == [(1, 2), (128, 2)]


def test_the_groups_of_several_allocators_say_which_they_are():
    found = answers_of(
        *(
            each
            for allocator in ("default", "arena")
            for model in ("resnet50", "swin_t")
            for each in three_rounds(model, 1.0, allocator=allocator)
        )
    )
    assert [each.allocation for each in found] == ["", "arena"]
