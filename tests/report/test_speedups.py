"""Speed-ups of re-parameterised forms, with and without an interval."""

import pytest
from msgspec import structs
from support.pictures import drawn, legend
from support.records import CHIP, ENVIRONMENT, failure, rounds
from support.results import device

from bench.models import forms
from bench.records import Case
from bench.report.figures import chains, speedups
from bench.report.figures.canvas import canvas


def steady(model, form, *latencies_ms, **case):
    """A round for each latency: two blocks of two samples that are alike."""
    blocks = {"block_sizes": [2, 2], "block_starts_s": [1.0, 2.0]}
    return rounds(model, form, latencies_ms, spread=(1.0,) * 4, **blocks, **case)


TRAIN = steady("repnext_u3_t", "train", 20, 22, 21)
RREP = steady("repnext_u3_t", "rrep", 10, 11.1, 10.4)
SREP = steady("repnext_u3_t", "srep", 40, 43, 42.5)


def on(kind, name="Chip"):
    """The tests' environment, on a chip of this kind."""
    return structs.replace(ENVIRONMENT, chip=structs.replace(CHIP, kind=kind, name=name))


A100, OTHER = on("gpu"), on("")


def chains_of(*groups, environment=A100):
    return chains.panel(device(*groups, environment=environment)).chains


def painted(*groups, environment=A100):
    panel = chains.panel(device(*groups, environment=environment))
    return drawn((9.5, 4), speedups.paint, [panel], speedups._notes([panel]))


def lines(axes, zorder):
    return [line for line in axes.lines if line.get_zorder() == zorder]


def test_a_speed_up_is_latency_as_trained_over_that_of_the_form():
    (chain,) = chains_of(SREP, TRAIN, RREP)
    assert chain.name == "RepNeXt-u3-T"
    assert [step.form for step in chain.steps] == ["rrep", "srep"]
    rrep, srep = chain.steps
    assert rrep.ratio == pytest.approx(2.0, abs=0.01)
    assert rrep.interval.low < rrep.ratio < rrep.interval.high
    assert srep.ratio == pytest.approx(0.5, abs=0.01)


def test_the_papers_ratio_comes_from_one_table_and_resolution():
    groups = [TRAIN, RREP, SREP, steady("repnext_u3_t", "rrep_fc", 10)]
    (chain,) = chains_of(*groups)
    assert [step.reported for step in chain.steps] == [
        pytest.approx(11.9 / 8.5),
        None,  # the paper has no latency of it
        pytest.approx(11.9 / 6.4),
    ]
    small = [steady("repnext_u1_t", form, 10, resolution=64) for form in ("train", "srep")]
    ((step,),) = [chain.steps for chain in chains_of(*small)]
    assert step.reported == pytest.approx(10.8 / 6.3)


def test_each_device_is_next_to_the_papers_device_of_its_kind():
    """Table 6: 48.2, 36.7, 49.8 ms on the Xeon; 17.6, 9.7, 9.3 on Orin; RepVGG is on neither."""
    repvgg = [steady("repvgg_b1", form, 10) for form in ("train", "rrep")]
    expected = {
        "cpu": ("Xeon 8260", 48.2 / 36.7, 48.2 / 49.8, None),
        "edge": ("Jetson Orin", 17.6 / 9.7, 17.6 / 9.3, None),
        "gpu": ("A100", 11.9 / 8.5, 11.9 / 6.4, 11.8 / 5.2),
    }
    for kind, (name, rrep, srep, vgg) in expected.items():
        panel = chains.panel(device(TRAIN, RREP, SREP, *repvgg, environment=on(kind)))
        found = [step.reported for chain in panel.chains for step in chain.steps]
        assert found == [pytest.approx(rrep), pytest.approx(srep), vgg and pytest.approx(vgg)]
        assert (
            panel.title
            == f"Chip: batch 1, eager, fp32, 224², 2 threads; hollow: {name} of the paper"
        )
    other = chains.panel(device(TRAIN, RREP, environment=OTHER))
    assert [step.reported for step in other.chains[0].steps] == [None]
    assert other.title == "Chip: batch 1, eager, fp32, 224², 2 threads"


def test_a_long_name_of_a_device_has_a_line_of_its_own():
    found = chains.panel(device(TRAIN, RREP, environment=on("gpu", "Chip " * 12)))
    assert found.title.count("\n") == 1


def test_the_axis_is_logarithmic_holds_the_intervals_and_says_what_right_is():
    groups = [TRAIN, steady("repnext_u3_t", "rrep", 5, 8, 14), SREP]
    with painted(*groups) as figure:
        (axes,) = figure.axes
        assert axes.get_xscale() == "log"
        assert "right is faster" in axes.get_xlabel()
        left, right = axes.get_xlim()
        ends = [x for line in lines(axes, 4) for x in line.get_xdata()]
        assert left < min(ends) < 0.5 < 2.0 < max(ends) < right
        ticks = [x for x in axes.get_xticks() if left <= x <= right]
        assert 1.0 in ticks
        assert 5 <= len(ticks) <= 16


def looks(line):
    keys = ("marker", "markersize", "markerfacecolor", "markeredgecolor")
    return tuple(getattr(line, f"get_{key}")() for key in keys)


def test_the_legend_shows_the_papers_marks_as_they_are_drawn():
    with painted(TRAIN, RREP, SREP) as figure:
        drawn_ones = {looks(line) for line in lines(figure.axes[0], 3)}
        handles = dict(zip(legend(figure), figure.legends[0].get_lines(), strict=True))
        theirs = {looks(line) for name, line in handles.items() if name.endswith(", paper")}
        assert theirs == drawn_ones
        assert len(theirs) == 2
        assert list(handles) == ["rRep", "sRep", "95 % interval", "rRep, paper", "sRep, paper"]
    with painted(TRAIN, RREP, SREP, environment=OTHER) as figure:
        assert not any("paper" in name for name in legend(figure))


def test_settings_are_never_mixed():
    others = [
        steady("repnext_u3_t", "srep", 5, backend="compile"),
        steady("repnext_u3_t", "srep", 5, batch=8),
        steady("repnext_u3_t", "srep", 5, threads=1),
    ]
    assert chains_of(TRAIN, *others) == []
    others.append(steady("repnext_u3_t", "train", 9, threads=1))
    found = chains_of(*others, environment=ENVIRONMENT)
    assert [chain.name for chain in found] == ["RepNeXt-u3-T 1 thread"]


def test_a_single_process_has_no_interval_and_a_note():
    with painted(TRAIN[:1], RREP[:1]) as figure:
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.texts] == ["2.00†§"]
        below = figure.legends[0].get_title().get_text()
        assert below.endswith("\nNo interval, too few processes: RepNeXt-u3-T")
        assert legend(figure) == ["rRep", "rRep, paper"]


def test_ours_are_filled_the_papers_hollow_and_a_line_is_at_one():
    with painted(TRAIN, RREP, SREP) as figure:
        (axes,) = figure.axes
        ours = [line.get_xdata()[0] for line in axes.lines if line.get_zorder() == 5]
        theirs = [line for line in axes.lines if line.get_zorder() == 3]
        assert ours == pytest.approx([2.0, 0.5], abs=0.01)
        assert [line.get_xdata()[0] for line in theirs] == pytest.approx([1.4, 1.859], abs=1e-3)
        assert {line.get_markerfacecolor() for line in theirs} == {"white"}
        assert axes.lines[0].get_xdata() == [1.0, 1.0]
        left, right = axes.get_xlim()
        assert left < 0.5 < 2.0 < right
        assert "[" in axes.texts[0].get_text()


def judged(row, level):
    return structs.replace(row, verdict=row.verdict._replace(level=level))


@pytest.mark.parametrize(
    ("levels", "mark", "note"),
    [
        (("VALID", "VALID"), "", ""),
        (("SUSPECT", "VALID"), "†", "Pale: † SUSPECT (as trained, or in this form)."),
        (("SUSPECT", "INVALID"), "‡", "Pale: ‡ INVALID (as trained, or in this form)."),
    ],
)
def test_doubtful_ratios_are_marked_and_pale(levels, mark, note):
    base, row = (
        structs.replace(judged(row, level), stopped_by="rounds")
        for row, level in zip(device(TRAIN, RREP).rows, levels, strict=True)
    )
    found = device(TRAIN, RREP, environment=A100)
    panel = chains.panel(structs.replace(found, rows=[base, row]))
    with canvas((9.5, 4)) as figure:
        speedups.paint(figure, [panel], speedups._notes([panel]))
        (axes,) = figure.axes
        assert axes.texts[0].get_text().partition("  ")[0] == f"2.00{mark}"
        (ours,) = [line for line in axes.lines if line.get_zorder() == 5]
        assert (ours.get_color() == forms.find("rrep").colour.lower()) == (not mark)
        assert figure.legends[0].get_title().get_text().startswith(note)
        assert bool(speedups._notes([panel])) == bool(mark)


def test_extreme_spreads_are_short_and_within_the_axes():
    far = [
        steady("repnext_u3_t", "train", 1e-6, 1.0, 1e12),
        steady("repnext_u3_t", "srep", 1e12, 1.0, 1e-6),
    ]
    with painted(*far) as figure:
        (axes,) = figure.axes
        assert all(len(text.get_text()) < 30 for text in axes.texts)
        (ours,), (bar, *arrows) = lines(axes, 5), lines(axes, 4)
        ratio = ours.get_xdata()[0]
        assert list(bar.get_xdata()) == pytest.approx([ratio / chains.REACH, ratio * chains.REACH])
        assert [arrow.get_marker() for arrow in arrows] == ["<", ">"]
        left, right = axes.get_xlim()
        assert left < bar.get_xdata()[0] < bar.get_xdata()[1] < right
        assert speedups.CUT in legend(figure)
        assert axes.bbox.width > 0.6 * figure.bbox.width


def test_labels_overlap_nothing():
    groups = [steady(f"repvgg_{n}", form, 9, 8) for n in range(9) for form in ("train", "rrep")]
    with painted(*groups, TRAIN, RREP, SREP) as figure:
        (axes,) = figure.axes
        figure.set_size_inches(9.5, 5)
        figure.canvas.draw()
        texts = [*axes.texts, *axes.get_yticklabels(), axes._left_title]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_the_same_records_give_the_same_bytes_also_of_many_devices_and_odd_names():
    odd = [steady("$x$<script>网" + "y" * 99, form, 3, 4) for form in ("train", "rrep")]
    found = [device(TRAIN, RREP, SREP), device(*odd), *[device(TRAIN, SREP)] * 3]
    first = speedups.speedups(found)
    assert set(first) == {"png", "svg"}
    assert first == speedups.speedups(found)
    assert b"<script>" not in first["svg"]


def test_omitted_chains_and_devices_are_named_below(monkeypatch):
    seen = []
    monkeypatch.setattr(speedups, "paint", lambda figure, *rest: seen.append(rest))
    forms = ("train", "rrep")
    many = device(*[steady(f"net{n}", form, 9, 8, 8.5) for n in range(32) for form in forms])
    speedups.speedups([many] * 5)
    ((panels, notes),) = seen
    assert [len(panel.chains) for panel in panels] == [30] * 4
    assert notes[1].startswith("Not shown, for lack of space: net30, net31")
    assert notes[-1] == "Not shown, more than 4 devices: Test Chip 9000"


def test_no_model_in_two_forms_gives_no_figure():
    broken = [failure(Case("repnext_u3_t", "srep", threads=2))]
    assert speedups.speedups([]) == {}
    assert speedups.speedups([device(TRAIN, broken, steady("swin_t", "plain", 9))]) == {}
