"""A family has one colour and one line style in a report, and colours differ to every reader."""

import itertools
import json

import msgspec
import pytest
from support.records import CHIP, ENVIRONMENT, timed
from support.results import device, write
from support.vision import DEUTERANOPIA, FULL, PROTANOPIA, ciede2000, lab

from bench import report
from bench.report import colours
from bench.report.figures.canvas import PALE, mixed

OTHER = msgspec.structs.replace(
    ENVIRONMENT, environment_id="two", chip=msgspec.structs.replace(CHIP, name="Second")
)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [  # the published test data of CIEDE2000, numbers 1, 7, 16, 20 and 25
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (58, 24, 15), 19.4535),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_distance_is_that_of_its_authors(one, other, distance):
    assert ciede2000(one, other) == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize(
    ("vision", "level", "least"),
    [
        (FULL, "VALID", 23),
        (DEUTERANOPIA, "VALID", 14),
        (PROTANOPIA, "VALID", 14),
        (DEUTERANOPIA, "SUSPECT", 10),  # 2 is just visible
    ],
)
def test_any_two_colours_look_different(vision, level, least):
    shown = [lab(mixed(colour, "white", PALE[level]), vision) for colour in colours.COLOURS]
    apart = [ciede2000(one, other) for one, other in itertools.combinations(shown, 2)]
    assert min(apart) >= least


def test_neighbours_differ_in_colour_and_line_and_24_families_in_one_of_them():
    families = [f"net{number}" for number in range(24)]
    looks = [
        (colours.colour_of(each, families), colours.line_of(each, families)) for each in families
    ]
    assert len(set(looks)) == len(families)
    for one, other in itertools.pairwise(looks):
        assert one[0] != other[0]
        assert one[1] != other[1]


def test_the_most_accurate_family_comes_first_and_one_without_an_accuracy_last():
    nets = ("nets/mine.py:net#1a2b3c4d", "swin_t", "resnet50", "convnext_t", "convnext_s")
    assert colours.families_of([device(*([timed(net)] for net in nets))]) == (
        "ConvNeXt",
        "Swin",
        "ResNet",
        "nets/mine.py:net#1a2b3c4d",
    )


def test_a_family_has_the_same_colour_on_all_devices_and_on_the_page(tmp_path):
    first = [ENVIRONMENT, timed("swin_t"), timed("convnext_t")]
    second = [
        OTHER,
        *(timed(net, environment_id="two") for net in ("resnet50", "convnext_t", "swin_t")),
    ]
    write(tmp_path / "one", first)
    write(tmp_path / "two", second)
    seen = []
    original = report.FIGURES[0]
    figure = original._replace(draw=lambda devices: seen.append(devices) or {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "FIGURES", (figure,))
        report.write([tmp_path])
    assert [len(devices) for devices in seen] == [1, 1, 2]
    (families,) = {colours.known_families(devices) for devices in seen}
    assert set(families) == {"Swin", "ConvNeXt", "ResNet"}
    page = (tmp_path / "report.html").read_text()
    block = page.partition('type="application/json">')[2].partition("</script>")[0]
    assert json.loads(block)["families"] == {
        each: {
            "colour": colours.colour_of(each, families),
            "line": colours.line_of(each, families),
        }
        for each in families
    }
