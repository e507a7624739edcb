"""The figure of samples shows every process and the measured values."""

import pytest
from msgspec import structs
from support.pictures import drawn, legend
from support.records import timed
from support.results import device

from bench.report.figures import distributions
from bench.report.figures.canvas import canvas

SAMPLES = [0.010, 0.012, 0.011, 0.013, 0.010]


def rounds_of(model, *samples_s, **case):
    """A round for each list of samples."""
    return [
        timed(model, samples_s=each, round_number=number, **case)
        for number, each in enumerate(samples_s, 1)
    ]


def painted(*groups):
    rows = device(*groups).rows
    return drawn((10, 5), distributions.paint, rows, "title", distributions._notes(rows))


def dots(axes):
    return [line for line in axes.lines if line.get_marker() == "."]


def longest(axes, style):
    """Ends of the horizontal bars of a style."""
    return [tuple(line.get_xdata()) for line in axes.lines if line.get_color() == style["color"]]


def test_every_sample_is_a_dot_in_the_lane_of_its_process_in_order_of_time():
    second = [0.02, 0.03]
    with painted(rounds_of("swin_t", SAMPLES, second)) as figure:
        one, other = dots(figure.axes[0])
    assert sorted(one.get_xdata()) == pytest.approx(sorted(1e3 * s for s in SAMPLES))
    assert sorted(other.get_xdata()) == pytest.approx([20, 30])
    assert max(one.get_ydata()) < min(other.get_ydata()) < 0.2
    by_time = sorted(zip(one.get_ydata(), one.get_xdata(), strict=True))
    assert [x for _, x in by_time] == pytest.approx([1e3 * s for s in SAMPLES])


def test_bars_are_mean_and_deviation_and_the_interval():
    three = rounds_of("swin_t", *([s * factor for s in SAMPLES] for factor in (1.0, 1.1, 1.2)))
    found = device(three).rows[0]
    with painted(three) as figure:
        (axes,) = figure.axes
        ((low, high),) = longest(axes, distributions.SPREAD)
        assert (high + low) / 2 == pytest.approx(1e3 * found.summary.mean)
        assert (high - low) / 2 == pytest.approx(1e3 * found.summary.std)
        ((low, high),) = longest(axes, distributions.INTERVAL)
        left, right = axes.get_xlim()
        assert low == pytest.approx(max(1e3 * found.interval.low, left))
        assert high == pytest.approx(min(1e3 * found.interval.high, right))
        assert "15 (3)" in [text.get_text() for text in axes.texts]


def test_a_single_process_has_no_interval_and_a_single_sample_no_deviation():
    with painted(rounds_of("swin_t", SAMPLES)) as figure:
        assert longest(figure.axes[0], distributions.INTERVAL) == []
        assert "95 % interval of the latency" not in legend(figure)
    with painted(rounds_of("swin_t", [0.01])) as figure:
        assert longest(figure.axes[0], distributions.SPREAD) == []
        assert "10.0†§" in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    ("calls", "dot"),
    [
        ([1, 1], "iteration"),
        ([10, 10], "group of calls"),
        ([1, 10], "iteration, or group of calls below 50 µs"),
    ],
)
def test_a_dot_of_grouped_calls_is_a_group(calls, dot):
    groups = [
        rounds_of(f"net{number}", SAMPLES, calls_per_sample=each)
        for number, each in enumerate(calls)
    ]
    with painted(*groups) as figure:
        assert legend(figure)[0] == dot
        assert f"Each dot is one {dot}. " in figure.legends[0].get_title().get_text()
        spreads = longest(figure.axes[0], distributions.SPREAD)
        assert len(spreads) == calls.count(1)


def enough(model, latency_s, **case):
    """A round with as many samples of this latency as a distribution needs."""
    return rounds_of(model, [latency_s] * distributions.FEWEST, **case)


def shown(monkeypatch, *groups):
    """What is painted of the smallest batch with a figure."""
    seen = []
    monkeypatch.setattr(distributions, "paint", lambda figure, *rest: seen.append(rest))
    distributions.distributions(device(*groups))
    rows, title, notes = seen[0]
    return [row.case for row in rows], title, notes


def test_the_fastest_come_first_then_those_of_other_sizes(monkeypatch):
    groups = [
        enough("swin_t", 0.03),
        enough("deit_s", 0.02),
        enough("vit_b", 0.001, resolution=64),
        enough("swin_b", 0.001, batch=8),
        enough("swin_t", 0.01, backend="compile"),
    ]
    cases, title, _ = shown(monkeypatch, *groups)
    assert [(case.model, case.backend) for case in cases] == [
        ("swin_t", "compile"),
        ("deit_s", "eager"),
        ("swin_t", "eager"),
        ("vit_b", "eager"),
    ]
    assert title == (
        "Latency on Test Chip 9000\nbatch 1, compile or eager, fp32, 224² or 64², 2 threads"
    )


def test_fifty_at_most_and_a_note_says_so(monkeypatch):
    groups = [enough(f"net{number}", 0.01 + number / 1e4) for number in range(60)]
    cases, _, notes = shown(monkeypatch, *groups)
    assert [case.model for case in cases] == [f"net{number}" for number in range(50)]
    assert notes[-1] == "Only the 50 fastest of 60 cases are shown."
    other = enough("net0", 0.01, resolution=64)
    assert (
        shown(monkeypatch, *groups, other)[2][-1]
        == "Only the 50 fastest of 61 cases are shown, those at 224² first."
    )


def test_a_case_with_three_samples_has_no_distribution_and_a_note(monkeypatch):
    few = [enough("swin_t", 0.02)[:1], rounds_of("deit_s", [0.01, 0.02, 0.03])]
    late = [rounds_of("vit_b", [9.0, 9.1, 9.2], batch=128), enough("swin_t", 0.2, batch=8)]
    cases, _, notes = shown(monkeypatch, *few, *late)
    assert [case.model for case in cases] == ["swin_t"]
    assert notes[-2:] == [
        "Not shown, fewer than 11 samples: DeiT-S (3)",
        "No figure, all cases have fewer than 11 samples: batch 128",
    ]
    assert list(distributions.distributions(device(*few, *late))) == [1, 8]


def test_the_samples_of_all_processes_count(monkeypatch):
    parts = [[0.01] * 6, [0.011] * 5]
    assert list(distributions.distributions(device(rounds_of("swin_t", *parts)))) == [1]
    assert distributions.distributions(device(rounds_of("swin_t", parts[0], parts[1][1:]))) == {}


@pytest.mark.parametrize("letter", ["y", "M", "网"])
def test_a_title_of_a_long_name_is_within_the_picture(monkeypatch, letter):
    found = device(enough("swin_t", 0.01))
    found = structs.replace(found, label=letter * 200)
    seen = []

    def paint(figure, *rest, original=distributions.paint):
        original(figure, *rest)
        figure.canvas.draw()
        seen.append((figure._suptitle.get_window_extent(), figure.bbox.width))

    monkeypatch.setattr(distributions, "paint", paint)
    distributions.distributions(found)
    ((box, width),) = seen
    assert 0 <= box.x0 < box.x1 <= width


def test_doubtful_cases_are_marked_and_pale():
    rows = [
        structs.replace(row, stopped_by="rounds", verdict=row.verdict._replace(level=level))
        for row, level in zip(
            device(*[rounds_of(name, SAMPLES) for name in ("swin_t", "deit_s", "vit_b")]).rows,
            ("VALID", "SUSPECT", "INVALID"),
            strict=True,
        )
    ]
    with canvas((10, 5)) as figure:
        distributions.paint(figure, rows, "title", distributions._notes(rows))
        (axes,) = figure.axes
        head, *numbers = [text.get_text() for text in axes.texts[:4]]
        assert (head, [number[-1] for number in numbers]) == ("latency", ["0", "†", "‡"])
        assert axes.texts[4].get_text() == "mean ± std of all"
        assert len({line.get_color() for line in dots(axes)}) == 3
        bars = [line for line in axes.lines if line.get_color() == distributions.SPREAD["color"]]
        assert [line.get_alpha() for line in bars] == pytest.approx([1.0, 0.6, 0.2])
        assert "Pale: † SUSPECT, ‡ INVALID." in figure.legends[0].get_title().get_text()
    assert len(distributions._notes(rows[:1])) == 1


def test_extreme_numbers_are_short_and_overlap_nothing():
    with painted(rounds_of("swin_t", [1e-9, 1e9], [1.0, 2.0])) as figure:
        texts = figure.axes[0].texts
        boxes = [text.get_window_extent() for text in texts]
        assert max(len(text.get_text()) for text in texts) < 25
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_many_samples_are_thinned_to_evenly_spaced_ranks_with_a_note():
    many = [0.01 + number / 1e6 for number in range(5000)]
    many[2500] = 0.5
    with painted(rounds_of("swin_t", many)) as figure:
        across = [x for line in dots(figure.axes[0]) for x in line.get_xdata()]
        assert len(across) == distributions.MOST_DOTS
        assert (min(across), max(across)) == pytest.approx((10, 500))
        assert figure.axes[0].get_xscale() == "log"
        assert "evenly spaced ranks" in figure.legends[0].get_title().get_text()


def test_a_large_svg_holds_its_dots_as_an_image():
    groups = [rounds_of(f"net{n}", *([SAMPLES * 60] * 4)) for n in range(50)]
    pictures = distributions.distributions(device(*groups))[1]
    assert b"<image" in pictures["svg"]
    assert len(pictures["svg"]) < 1e6
    assert pictures == distributions.distributions(device(*groups))[1]


def test_hostile_names_are_drawn_as_they_are():
    odd = enough("$x$<script>网" + "y" * 99, 0.01, backend="compile")
    with painted(odd) as figure:
        (label,) = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert label.startswith("$x$<script>□")
        assert label.endswith("compile")
    assert b"<script>" not in distributions.distributions(device(odd))[1]["svg"]


def test_labels_overlap_nothing():
    groups = [rounds_of(f"a_network_of_mine_{n}", SAMPLES, SAMPLES) for n in range(12)]
    with painted(*groups) as figure:
        (axes,) = figure.axes
        texts = [*axes.texts, *axes.get_yticklabels(), figure._suptitle]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_no_case_of_the_batch_gives_no_figure():
    assert list(distributions.distributions(device(enough("swin_t", 0.01, batch=8)))) == [8]
