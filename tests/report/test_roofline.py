"""Roofline plots: position and area of points, and the notes."""

import math

import pytest
from matplotlib.colors import to_rgb
from msgspec import structs
from support.pictures import drawn
from support.profiles import profile

from bench.records import Peaks, ProfileRow, Waterfall
from bench.report.figures import roofline as roofs
from bench.report.figures.figure5 import CATEGORY_COLOURS
from bench.report.figures.roofline import roofline

PEAKS = Peaks("r", "e", "fp32", 2, macs_per_s=100e9, bytes_per_s=20e9)
ROWS = [
    ProfileRow("conv2d", "a", "pointwise conv", 1, 4e-3, macs=400_000_000, bytes=10_000_000),
    ProfileRow("conv2d", "b", "depthwise or group conv", 1, 1e-3, macs=5_000_000, bytes=5_000_000),
    ProfileRow("linear", "c", "fully connected", 1, 2e-3, macs=8_000_000, bytes=32_000_000),
    ProfileRow("gelu", "d", "activation", 1, 2e-3, bytes=1_000_000),
    ProfileRow("conv2d", "e", "other conv", 1, 0.0, macs=1, bytes=1),
]


def profile_of(model="resnet50", rows=ROWS, residual_s=1e-4, **case):
    waterfall = Waterfall(10e-3, 9e-3, 1e-3 - residual_s, 0.0, residual_s, 1e-4, 1e-4)
    return profile(model, rows=rows, waterfall=waterfall, **case)


def painted(*shown, peaks=PEAKS):
    return drawn((9.5, 7), roofs.paint, shown, peaks, "title", roofs._notes(shown, []))


def test_the_same_profiles_give_the_same_bytes():
    shown = [profile_of(), profile_of("swin_t")]
    assert roofline(shown, PEAKS, "Chip") == roofline(shown, PEAKS, "Chip")


def test_points_are_the_operators_with_products_bytes_and_time():
    with painted(profile_of()) as figure:
        spots = figure.axes[0].collections
        places = [tuple(spot.get_offsets()[0]) for spot in spots]
        colours = [tuple(spot.get_facecolor()[0][:3]) for spot in spots]
    assert places == [
        pytest.approx((40, 100)),
        pytest.approx((0.25, 4)),
        pytest.approx((1, 5)),
    ]
    names = ["pointwise conv", "fully connected", "depthwise or group conv"]
    expected = [to_rgb(CATEGORY_COLOURS[name]) for name in names]
    assert colours == [pytest.approx(colour) for colour in expected]


def test_area_is_proportional_to_time_over_all_panels():
    faster = [structs.replace(row, time_s=row.time_s / 2) for row in ROWS]
    with painted(profile_of(), profile_of(rows=faster)) as figure:
        disc, square, small = [spot.get_sizes()[0] for spot in figure.axes[0].collections]
        other = figure.axes[1].collections[0].get_sizes()[0]
    assert disc == pytest.approx(4 * small)
    assert square == pytest.approx(disc / 2 * math.pi / 4)
    assert other == pytest.approx(disc / 2)


def test_the_roof_is_the_peak_or_the_bandwidth_whichever_is_lower():
    with painted(profile_of()) as figure:
        axes = figure.axes[0]
        (left, corner, right), heights = axes.lines[0].get_data()
        assert (left, right) == pytest.approx(axes.get_xlim())
    assert corner == pytest.approx(5)
    assert list(heights) == pytest.approx([left * 20, 100, 100])


def test_a_point_above_the_roof_is_inside_the_panel():
    cached = [structs.replace(ROWS[0], time_s=1e-4)]
    with painted(profile_of(rows=cached)) as figure:
        assert figure.axes[0].get_ylim()[1] > 4000


def test_the_panel_says_which_share_of_the_latency_its_points_are():
    with painted(profile_of()) as figure:
        title = "ResNet50\nthese operators take 70 % of the latency of 10.0 ms"
        assert figure.axes[0].get_title() == title


@pytest.mark.parametrize(("count", "panels"), [(1, 1), (2, 2), (3, 3), (4, 4)])
def test_each_case_has_a_panel_and_all_panels_share_axes(count, panels):
    with painted(*[profile_of()] * count) as figure:
        assert len(figure.axes) == panels
        assert len({axes.get_xlim() + axes.get_ylim() for axes in figure.axes}) == 1
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        boxes.append(figure.legends[0].get_window_extent())
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_the_legend_has_the_categories_of_the_points_and_says_what_area_is():
    with painted(profile_of()) as figure:
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        note = legend.get_title().get_text().replace("\n", " ")
    assert names == ["depthwise or group conv", "pointwise conv", "fully connected"]
    assert "area is proportional to its time" in note
    assert "largest: 4.00 ms" in note


def test_the_first_four_profiles_with_the_peaks_are_drawn_and_others_named(monkeypatch):
    seen = []
    monkeypatch.setattr(roofs, "paint", lambda figure, *rest: seen.append(rest))
    models = ["resnet50", "resnet101", "swin_t", "swin_s", "swin_b"]
    others = [profile_of("deit_s", precision="bf16"), profile_of("deit_b", threads=1)]
    roofline([*others, *map(profile, models)], PEAKS, "Chip")
    ((shown, peaks, title, notes),) = seen
    assert [each.case.model for each in shown] == models[:4]
    assert peaks == PEAKS
    assert title == "Roofline of Chip, fp32, 2 threads, batch 1"
    assert notes[-1] == "Not shown: Swin-B"


def test_batches_that_differ_are_named_panel_by_panel():
    with painted(profile_of(), profile_of(batch=8)) as figure:
        heads = [axes.get_title().partition("\n")[0] for axes in figure.axes]
    assert heads == ["ResNet50, batch 1", "ResNet50, batch 8"]


def test_a_profile_that_does_not_add_up_is_marked():
    with painted(profile_of(residual_s=-1e-3)) as figure:
        assert figure.axes[0].get_title().startswith("ResNet50 *\n")
        assert "* ResNet50: the terms do not" in figure.legends[0].get_title().get_text()


def test_a_case_without_points_has_a_note():
    with painted(profile_of(rows=ROWS[3:4]), profile_of()) as figure:
        assert "no operator with known MACs" in [t.get_text() for t in figure.axes[0].texts]
    assert roofline([profile_of(rows=ROWS[3:4])], PEAKS, "Chip")["png"].startswith(b"\x89PNG")


def test_names_are_drawn_as_they_are():
    odd = profile_of("timm/$x_1$<script>--")
    with painted(odd) as figure:
        assert figure.axes[0].get_title().startswith("timm/$x_1$<script>--")
    assert b"<script>" not in roofline([odd], PEAKS, "$<script>$")["svg"]


@pytest.mark.parametrize("profiles", [[], [profile_of(precision="bf16")], [profile_of(threads=1)]])
def test_no_profile_with_the_peaks_is_an_error(profiles):
    with pytest.raises(ValueError, match="no profile in fp32 on 2 threads"):
        roofline(profiles, PEAKS, "Chip")
