"""Figure 1: the spots, the notes below, and the positions of names."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import MEASURED
from support.pictures import drawn, legend
from support.records import CHIP, ENVIRONMENT, failure, rounds
from support.results import device
from support.vision import lab

from bench.paper import accuracy
from bench.records import Case
from bench.report import devices
from bench.report.colours import COLOURS, colour_of, families_of
from bench.report.figures import figure1, spots, titles
from bench.report.figures import names as names_of_spots
from bench.report.figures.canvas import canvas, readable
from bench.report.figures.labels import places
from bench.storage.reader import read

FAMILY = ("convnext_t", "convnext_s", "convnext_b")


def slowing(model, form="plain", ms=10.0, count=3, **case):
    """Rounds of which each is one percent of `ms` slower than the one before."""
    return rounds(model, form, [ms * (1 + number / 100) for number in range(1, count + 1)], **case)


def named(name):
    """The tests' environment, on a chip of this name."""
    return msgspec.structs.replace(ENVIRONMENT, chip=msgspec.structs.replace(CHIP, name=name))


def painted(*shown):
    panels = [spots.panel(each, figure1.MOST) for each in shown]
    size = (figure1.WIDTH, 8.0 * len(panels))
    return drawn(size, figure1.paint, panels, families_of(shown), notes(*shown))


def notes(*shown):
    panels = [spots.panel(each, figure1.MOST) for each in shown]
    return spots.omission_notes(panels, [], figure1.WRAP)


def names(axes):
    return [text.get_text() for text in axes.texts]


def spots_of(axes):
    return [line for line in axes.lines if line.get_zorder() == 4]


def assert_every_spot_has_a_name_and_every_family_one(axes, shown):
    """The name of a family occurs once, with the size of one of its networks."""
    assert len(axes.texts) == len(spots_of(axes)) == len(shown)
    for family in {spot.family for spot in shown}:
        longest = {other for other in families_of([SEVERAL]) if other.startswith(family)} - {family}
        found = [name for name in names(axes) if name.startswith(family)]
        assert len([name for name in found if not name.startswith(tuple(longest))]) == 1


NETS = device(
    slowing("convnext_t", ms=50),
    slowing("convnext_s", ms=90),
    slowing("repnext_u3_t", "train", ms=60),
    slowing("repnext_u3_t", "srep", ms=40),
)


def assert_nothing_overlaps(figure):
    """Neither names with each other, nor with spots, titles, axes' labels or the legend."""
    others = [figure.legends[0].get_window_extent()]
    for axes in figure.axes:
        texts = [text.get_window_extent() for text in axes.texts]
        others += [axes._left_title.get_window_extent(), axes.xaxis.label.get_window_extent()]
        places_ = [line.get_xydata()[0] for line in axes.lines if line.get_zorder() == 4]
        dots = axes.transData.transform(places_)
        for number, box in enumerate(texts):
            assert not any(box.overlaps(other) for other in texts[number + 1 :])
            assert not any(box.overlaps(other) for other in others)
            assert not any(box.contains(*dot) for dot in dots)
            assert axes.bbox.padded(1).contains(box.x0, box.y0)
            assert axes.bbox.padded(1).contains(box.x1, box.y1)


def test_all_names_of_the_real_run_fit_without_overlap():
    (found,) = devices.of("amd-epyc", read(MEASURED)[0])[-1:]
    shown = spots.panel(found, figure1.MOST).spots
    assert len(shown) >= 30
    with painted(found, found) as figure:
        assert_nothing_overlaps(figure)
        for axes in figure.axes:
            assert_every_spot_has_a_name_and_every_family_one(axes, shown)
            assert_the_limits_hold_the_intervals(axes, shown)


def test_spots_at_one_place_have_names_that_do_not_overlap():
    same = [slowing(model, ms=50) for model in ("convnext_t", "repvgg_b1", "swin_t", "deit_s")]
    with painted(device(*same)) as figure:
        assert_nothing_overlaps(figure)
        assert sorted(names(figure.axes[0])) == ["ConvNeXt-T", "DeiT-S", "RepVGG-B1", "Swin-T"]


def assert_the_limits_hold_the_intervals(axes, shown):
    left, right = axes.get_xlim()
    bars = [line.get_xdata() for line in axes.lines if line.get_zorder() == 3]
    assert len(bars) == sum(spot.row.interval is not None for spot in shown)
    for spot, (low, high) in zip([spot for spot in shown if spot.row.interval], bars, strict=True):
        assert left < low <= spot.ms <= high < right
        assert low == pytest.approx(max(1e3 * spot.row.interval.low, spot.ms / 5))
        assert high == pytest.approx(min(1e3 * spot.row.interval.high, spot.ms * 5))


def test_a_wide_interval_is_within_the_limits_and_a_wider_one_is_cut_with_arrows():
    wide, endless = (50, 60, 75), (1, 50, 100)
    nets = device(
        *(rounds(net, latencies_ms=[*ms], form="plain") for net, ms in (("swin_t", wide),))
    )
    with painted(nets) as figure:
        assert_the_limits_hold_the_intervals(figure.axes[0], spots.panel(nets, 9).spots)
        assert figure1.CUT not in legend(figure)
    nets = device(rounds("swin_t", latencies_ms=endless), slowing("deit_s", ms=50))
    with painted(nets) as figure:
        (axes,) = figure.axes
        assert_the_limits_hold_the_intervals(axes, spots.panel(nets, 9).spots)
        signs = [line.get_marker() for line in axes.lines if line.get_zorder() == 3.5]
        assert signs == ["<", ">"]
        assert figure1.CUT in legend(figure)


def test_an_outlier_does_not_squeeze_the_others():
    fast = [("swin_t", 20), ("deit_s", 25), ("convnext_t", 30), ("resnet50", 35), ("maxvit_t", 50)]
    nets = device(*(slowing(net, ms=ms) for net, ms in fast), slowing("replknet_31b", "train", 900))
    with painted(nets) as figure:
        (axes,) = figure.axes
        places = axes.transAxes.inverted().transform(
            axes.transData.transform([(line.get_xdata()[0], 80) for line in spots_of(axes)])
        )[:, 0]
        assert np.ptp(places[:5]) > 0.7
        assert 0.9 < places[5] < 1
        slashes = [line for line in axes.lines if line.get_zorder() == 11]
        (gap,) = [line.get_xdata() for line in slashes if line.get_ydata()[0] == 0]
        assert 51 < gap[0] < gap[1] < 900
        assert not any(gap[0] < tick < gap[1] for tick in axes.get_xticks())
        assert any(gap[1] < tick for tick in axes.get_xticks())
        assert_nothing_overlaps(figure)


def test_the_settings_are_in_the_title():
    nets = device(slowing("swin_t", threads=2), environment=named("Chip"))
    with painted(nets) as figure:
        assert figure.axes[0].get_title(loc="left") == (
            "Chip: batch 1, eager, fp32, 224², 2 threads"
        )
    gpu = [slowing(net, device="cuda", threads=8, precision="bf16") for net in FAMILY]
    with painted(device(*gpu, environment=named("Chip"))) as figure:
        assert figure.axes[0].get_title(loc="left") == "Chip: batch 1, eager, bf16, 224²"


MINE = [
    accuracy.Given(
        f"nets/{name}:net#1a2b3c4d", accuracy.Accuracy(top1, "imagenet1k", 224, "measured", "")
    )
    for name, top1 in (("mine.py", 81.0), ("other/deeper.py", 81.05))
]
SEVERAL = device(
    *(slowing(net, ms=50 + number) for number, net in enumerate([*FAMILY, "swin_t", "swin_s"])),
    *(slowing(f"repnext_{unit}_t", form) for unit in ("u3",) for form in ("train", "rrep", "srep")),
    *(slowing(each.model, form, ms=51) for each in MINE for form in ("train", "rrep")),
    given=MINE,
)


def test_a_users_networks_are_named_whole_once_and_their_forms_by_label():
    shown = spots.panel(SEVERAL, figure1.MOST).spots
    with painted(SEVERAL) as figure:
        (axes,) = figure.axes
        assert_nothing_overlaps(figure)
        assert_every_spot_has_a_name_and_every_family_one(axes, shown)
        found = [name.removesuffix("-rRep") for name in names(axes)]
        assert [found.count(each.model) for each in MINE] == [1, 1]
        assert not any("…" in name for name in found)


def test_names_and_lines_have_the_colour_of_their_family_and_names_are_readable():
    families = families_of([SEVERAL])
    shown = spots.panel(SEVERAL, figure1.MOST).spots
    with painted(SEVERAL, SEVERAL) as figure:
        for axes in figure.axes:
            colours = [colour_of(spot.family, families) for spot in shown]
            assert [text.get_color() for text in axes.texts] == [*map(readable, colours)]
            drawn_as = [line for line in axes.lines if line.get_zorder() == 2]
            assert {line.get_linestyle() for line in drawn_as} == {"-", "--", ":"}
    for colour in COLOURS:
        light = lab(readable(colour))[0]
        assert light < 50  # CIELAB: 4.5 to 1 on white is L* = 50


def test_a_figure_grows_until_all_names_have_room():
    many = [each.model for each in accuracy.published() if each.input_size == 224][:14]
    crowd = device(*(slowing(f"timm/{model}", ms=50) for model in many))
    panel = spots.panel(crowd, 14)
    with drawn((6.0, 2.2), figure1.paint, [panel], families_of([crowd]), []) as figure:
        (axes,) = figure.axes
        assert figure.get_figheight() > 2.5
        assert len(axes.texts) == 14
        assert "omitted" not in axes.get_xlabel()
        assert_nothing_overlaps(figure)


def looks_of(line):
    keys = ("marker", "fillstyle", "markersize", "markeredgewidth")
    return tuple(getattr(line, f"get_{key}")() for key in keys)


def test_the_legend_has_the_marks_that_are_drawn_and_no_other():
    nets = [slowing("repnext_u3_t", form) for form in ("train", "rrep")] + [
        slowing("timm/resnet18")
    ]
    for found in (device(*nets), device(*nets[2:]), SEVERAL):
        with painted(found) as figure:
            drawn_ones = {looks_of(line) for line in spots_of(figure.axes[0])}
            handles = figure.legends[0].get_lines()
            shown = {looks_of(line) for line in handles if line.get_marker() in "osD^"}
            assert shown <= drawn_ones
            assert {look[0] for look in shown} == {look[0] for look in drawn_ones}
            assert {look[1] for look in shown} == {look[1] for look in drawn_ones}


POINT = st.tuples(st.floats(0, 600), st.floats(0, 300))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(POINT, st.sampled_from([6.0, 30.0, 90.0])), min_size=1, max_size=25))
def test_names_at_random_places_never_overlap(found):
    where = np.array([point for point, _ in found])
    sizes = np.array([(width, 9.0) for _, width in found])
    got = places(where, 4.0, sizes, (600.0, 300.0), np.empty((0, 2, 2)))
    placed = [(place, size) for place, size in zip(got, sizes, strict=True) if place]
    assert len(placed) >= len(found) - 2
    for (one, size), (other, other_size) in itertools.combinations(placed, 2):
        apart = abs(np.subtract(one[:2], other[:2])) - (size + other_size) / 2
        assert apart.max() > 0
    for place, size in placed:
        assert (abs(where - place[:2]) - size / 2 - 4.0).max(axis=1).min() >= -1e-6
        assert 0 <= place.x - size[0] / 2 <= place.x + size[0] / 2 <= 600
        assert 0 <= place.y - size[1] / 2 <= place.y + size[1] / 2 <= 300


def test_a_name_far_from_its_spot_has_a_leader():
    crowd = np.array([(300.0, 150.0)] * 12)
    got = places(crowd, 4.0, np.full((12, 2), (30.0, 9.0)), (600.0, 300.0), np.empty((0, 2, 2)))
    assert None not in got
    assert sum(place.leader is not None for place in got) >= 4


def test_a_line_joins_the_sizes_of_a_family_and_a_family_is_named_once():
    with painted(NETS) as figure:
        (axes,) = figure.axes
        lines = [line.get_xdata() for line in axes.lines if line.get_zorder() == 2]
        assert sorted(map(len, lines)) == [1, 1, 2]
        assert sorted(names(axes)) == ["ConvNeXt-S", "RepNeXt-u3-T", "T", "T"]
        assert figure._suptitle.get_text() == "Top-1 accuracy over latency"


def test_a_spot_is_within_its_interval_and_a_single_process_has_none():
    found = spots.panel(device(slowing("swin_t"), slowing("deit_s", count=1)), 9).spots
    assert [spot.ms for spot in found] == pytest.approx([10.2, 10.1])
    assert found[0].row.interval.point == pytest.approx(found[0].ms / 1e3)
    with painted(device(slowing("deit_s", count=1))) as figure:
        assert not any(line.get_zorder() == 3 for line in figure.axes[0].lines)
        assert not any("95 % interval" in label for label in legend(figure))
    with painted(device(slowing("swin_t"), slowing("deit_s", count=1))) as figure:
        assert "95 % interval of the latency, from three processes on" in legend(figure)
    with painted(device(slowing("swin_t"), slowing("deit_s"))) as figure:
        assert "95 % interval of the latency" in legend(figure)


def test_the_front_has_the_spots_more_accurate_than_all_faster_ones():
    found = spots.panel(NETS, 9).spots
    assert [(s.row.case.name, s.top1) for s in spots.front(found)] == [
        ("repnext_u3_t@srep", 82.1),
        ("convnext_s", 83.1),
    ]
    with painted(NETS) as figure:
        under = [line for line in figure.axes[0].lines if line.get_zorder() == 1]
        assert under[0].get_xdata() == pytest.approx([40.8, 91.8, figure.axes[0].get_xlim()[1]])
        assert under[0].get_ydata() == pytest.approx([82.1, 83.1, 83.1])
        assert under[0].get_drawstyle() == "steps-post"
        assert legend(figure)[-1] == "Pareto front"


def test_a_front_of_one_spot_is_drawn_and_an_empty_front_has_no_legend():
    with painted(device(slowing("swin_t"))) as figure:
        (under,) = [line for line in figure.axes[0].lines if line.get_zorder() == 1]
        assert under.get_xdata()[0] < under.get_xdata()[1]
    with painted(device(slowing("vit_b"))) as figure:
        assert not any(line.get_zorder() == 1 for line in figure.axes[0].lines)
        assert not any("Pareto" in text for text in legend(figure))


def test_weights_that_saw_more_images_are_not_on_the_front():
    nets = device(
        slowing("vit_b", ms=20), slowing("convnext_t", ms=50), slowing("timm/resnet18", ms=9)
    )
    found = spots.panel(nets, 9).spots
    assert [spot.row.case.model for spot in spots.front(found)] == ["timm/resnet18", "convnext_t"]
    near, _ = spots.nearest(found, 2)
    assert "convnext_t" in [spot.row.case.model for spot in near]
    with painted(nets) as figure:
        words = "accuracy published by timm"
        assert {words, f"{words}, weights also trained on more data"} < set(legend(figure))
        assert legend(figure)[-1] == "Pareto front, excluding more data"
        dots = [line for line in figure.axes[0].lines if line.get_zorder() == 4.5]
        assert [line.get_xdata()[0] for line in dots] == pytest.approx([20.4])


def judged(found, level):
    doubted = found.row.verdict._replace(level=level)
    return found._replace(row=msgspec.structs.replace(found.row, verdict=doubted))


def test_invalid_spots_are_pale_and_not_on_the_front():
    panel = spots.panel(NETS, 9)
    first, *rest = sorted(panel.spots, key=lambda spot: spot.ms)
    doubted = [judged(first, "INVALID"), *(judged(spot, "VALID") for spot in rest)]
    assert [spot.ms for spot in spots.front(doubted)] == pytest.approx([51, 91.8])
    with canvas() as figure:
        figure1.paint(figure, [panel._replace(spots=doubted)], families_of([NETS]), [])
        assert "INVALID" in legend(figure)
        assert "SUSPECT" not in legend(figure)
        colours = {line.get_markerfacecolor() for line in figure.axes[0].lines if line.zorder == 4}
    assert len(colours) == 3  # two families, and what is pale of one


def test_the_longest_legend_is_within_the_picture():
    mine = accuracy.Given("mine", accuracy.Accuracy(80.0, "imagenet1k", 224, "measured", ""))
    nets = [slowing("repnext_u3_t", form) for form in ("train", "rrep", "rrep_fc", "srep")]
    nets += [slowing(name) for name in ("mine", "vit_b", "timm/resnet18", "convnext_t", "swin_t")]
    longest = device(*nets, given=[mine])
    panel = spots.panel(longest, 20)
    *rest, other, last = panel.spots
    doubted = [*rest, judged(other, "SUSPECT"), judged(last, "INVALID")]
    with canvas((figure1.WIDTH, 8.0)) as figure:
        figure1.paint(figure, [panel._replace(spots=doubted)], families_of([longest]), [])
        figure.canvas.draw()
        assert len(legend(figure)) == 11
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_accuracies_that_are_not_the_papers_are_marked():
    mine = accuracy.Given("mine", accuracy.Accuracy(80.0, "imagenet1k", 224, "measured", "a.csv"))
    nets = [slowing("swin_t"), slowing("timm/resnet18"), slowing("mine", ms=20)]
    with painted(device(*nets, given=[mine])) as figure:
        assert {"accuracy published by timm", "accuracy given by the user"} < set(legend(figure))
        assert figure.axes[0].get_ylabel().endswith("filled: reported by the paper")
        looks = {
            (line.get_fillstyle(), line.get_markerfacecolor() == "white")
            for line in figure.axes[0].lines
            if line.get_zorder() == 4
        }
    for model, ends in (("swin_t", "reported by the paper"), ("timm/resnet18", "(%)")):
        with painted(device(slowing(model))) as figure:
            assert figure.axes[0].get_ylabel().endswith(ends)
    assert looks == {("full", False), ("full", True), ("bottom", False)}


def test_omitted_cases_are_named_below_the_figure():
    nets = [
        slowing("swin_t"),
        slowing("mine"),
        slowing("swin_t", backend="compile"),
        [failure(Case("timm/<script>", "plain", threads=2))],
    ]
    assert notes(device(*nets)) == [
        "Not shown, no accuracy on ImageNet-1K known: mine",
        "Not shown, failed: timm/<script>",
        "Not shown, cases in other settings: compile (1)",
    ]


def test_other_data_sets_and_other_resolutions_are_omitted():
    found = spots.panel(
        device(slowing("repnext_u1_t", "train"), slowing("swin_t", resolution=64)), 9
    )
    assert found.spots == []


def test_without_the_usual_setting_the_most_frequent_is_shown_and_named():
    nets = [slowing(model, backend="compile", precision="fp16") for model in FAMILY[:2]]
    found = spots.panel(device(*nets, slowing("swin_t", threads=1)), 9)
    assert found.title == "Test Chip 9000"
    assert found.settings == "batch 1, compile, fp16, 224², 2 threads"
    assert [spot.row.case.model for spot in found.spots] == ["convnext_t", "convnext_s"]
    assert found.elsewhere == {"1 thread": 1}


def test_a_panel_a_device_and_all_share_the_scale_of_accuracy():
    slow = device(
        slowing("mobilenetv3_s", ms=500), slowing("swin_t", ms=900), environment=named("Slow")
    )
    with painted(NETS, slow) as figure:
        heads = [axes.get_title(loc="left").partition(":")[0] for axes in figure.axes]
        assert heads == ["Test Chip 9000", "Slow"]
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        assert_nothing_overlaps(figure)
    pictures = figure1.figure1(
        [NETS, slow, NETS, NETS, device(slowing("swin_t"), environment=named("Fifth"))]
    )
    assert pictures["png"].startswith(b"\x89PNG")


def test_no_known_accuracy_gives_no_figure():
    assert figure1.figure1([]) == {}
    broken = [failure(Case("swin_t", "plain", threads=2))]
    assert figure1.figure1([device(slowing("mine"), broken, slowing("swin_t", batch=128))]) == {}


def test_of_many_spots_those_nearest_to_the_front_are_drawn():
    published = [each.model for each in accuracy.published() if each.input_size == 224][:80]
    many = [slowing(f"timm/{model}", ms=10 + number) for number, model in enumerate(published)]
    found = spots.panel(device(*many), 30)
    assert (len(found.spots), len(found.far)) == (30, 50)
    every = spots.panel(device(*many), 80).spots
    assert set(map(id, spots.front(every))) <= set(map(id, every))
    assert [s.ms for s in spots.front(found.spots)] == [s.ms for s in spots.front(every)]


def test_the_same_records_give_the_same_bytes_in_both_formats():
    first = figure1.figure1([NETS])
    assert first == figure1.figure1([NETS])
    assert set(first) == {"png", "svg"}


@pytest.mark.parametrize("count", [1, 3])
def test_names_that_are_hostile_or_long_are_drawn_as_they_are(count):
    name = "nets/<script>$x$网络" + "y" * 200
    mine = accuracy.Given(name, accuracy.Accuracy(80.0, "imagenet1k", 224, "measured", ""))
    odd = device(slowing(name, count=count), environment=named("$a_b$ 🚀" * 90), given=[mine])
    with painted(odd) as figure:
        (text,) = names(figure.axes[0])
        assert text.startswith("nets/<script>$x$□")
        assert len(text) <= names_of_spots.LONGEST_NAME
        assert_nothing_overlaps(figure)
    assert b"<script>" not in figure1.figure1([odd])["svg"]


def test_a_name_says_what_is_unusual():
    rows = device(
        slowing("swin_t"),
        slowing("swin_t", threads=1),
        slowing("swin_t", precision="bf16", resolution=64),
    ).rows
    found = [titles.title_of(row) for row in rows]
    assert found == ["Swin-T", "Swin-T 1 thread", "Swin-T bf16 64²"]
