"""Figure 5: bars show the values of the profile, and terms have distinct fills."""

import pytest
from matplotlib.colors import to_hex
from msgspec import structs
from support.pictures import drawn, legend
from support.profiles import profile

from bench.analysis.profile import summary
from bench.records import Utilisation
from bench.report.figures import figure5 as bars
from bench.report.figures.figure5 import CATEGORY_COLOURS, HATCHES, figure5

GPU = Utilisation(busy=0.2, busy_corrected=0.25, sm_fill=0.7, occupancy=0.4, sampled=0.97)


MANY = [
    profile(model, form, ms=ms, residual_s=residual_s)
    for model, form in [("resnet50", "plain"), ("repnext_u3_t", "train"), ("repnext_u3_t", "srep")]
    for ms, residual_s in [(1.0, 1e-6), (10.0, -2e-4), (60.0, 0.0), (134.0, 1e-3)]
]


def painted(profiles):
    return drawn(bars._size(profiles), bars.paint, profiles, "title")


def pieces(axes, place):
    """Term to signed width of the bar at `place`, as painted."""
    found = {}
    for container in axes.containers:
        (bar,) = container.patches
        if round(bar.get_y() + bar.get_height() / 2) == place:
            found[container.get_label()] = bar.get_width()
    return found


def test_the_same_profiles_give_the_same_bytes():
    assert figure5(MANY, "Chip") == figure5(MANY, "Chip")


def test_formats_are_what_they_say():
    assert figure5(MANY[:1], "Chip")["png"].startswith(b"\x89PNG")
    assert figure5(MANY[:1], "Chip")["svg"].startswith(b"<?xml")


def test_every_term_has_a_distinct_fill():
    looks = {(to_hex(CATEGORY_COLOURS[term]), HATCHES.get(term)) for term in summary.TERMS}
    assert len(looks) == len(summary.TERMS)
    assert set(CATEGORY_COLOURS) == set(summary.TERMS) >= set(HATCHES)


def test_the_legend_has_the_terms_that_occur_in_the_order_of_the_stack():
    expected = ["pointwise conv", "batch norm", "activation", summary.GAPS]
    with painted([profile(), profile("swin_t")]) as figure:
        assert legend(figure) == [*expected, bars.LATENCY]
    with painted([profile(), profile("swin_t", residual_s=1e-4)]) as figure:
        assert legend(figure) == [*expected, summary.RESIDUAL, bars.LATENCY]


@pytest.mark.parametrize("residual_s", [0.0, 3e-4, -3e-4, -4e-3])
def test_segments_are_the_terms_and_end_at_the_latency(residual_s):
    shown = profile(residual_s=residual_s)
    expected = {term: s for term, s in summary.by_term(shown).items() if s}
    with painted([profile("swin_t", ms=5), shown]) as figure:
        for axes, scale in zip(figure.axes, (1e3, 100 / 0.01), strict=False):
            assert pieces(axes, 1) == pytest.approx({t: s * scale for t, s in expected.items()})
            assert sum(pieces(axes, 1).values()) == pytest.approx(0.01 * scale)
            assert axes.lines[1].get_xdata() == pytest.approx([0.01 * scale] * 2)


def test_a_negative_residual_is_drawn_last_and_backwards_and_hides_nothing():
    last = bars.segments(profile(residual_s=-4e-3))[-1]
    assert last == (summary.RESIDUAL, pytest.approx(14e-3), pytest.approx(-4e-3))
    with painted([profile(residual_s=-4e-3)]) as figure:
        (bar,) = figure.axes[0].containers[-1].patches
        assert bar.get_facecolor()[3] == 0
        assert figure.axes[0].get_xlim()[1] > 14


def test_a_profile_that_does_not_add_up_is_marked_and_named_below():
    with painted([profile(), profile("swin_t", residual_s=-1e-3)]) as figure:
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        below = figure.legends[0].get_title().get_text()
    assert labels == ["ResNet50", "Swin-T *"]
    assert "* Swin-T: the terms do not add up: the residual is -10.0 %" in below


def test_a_profile_that_adds_up_has_no_mark():
    with painted([profile(residual_s=1e-4)]) as figure:
        assert "*" not in figure.legends[0].get_title().get_text()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_twelve_cases_have_labels_that_overlap_nothing(device):
    long = profile("timm/a_name_that_goes_on_and_on.with_more_of_it_in1k", backend="compile")
    used = [
        structs.replace(p, utilisation=GPU, case=structs.replace(p.case, device=device))
        for p in [*MANY[:11], long]
    ]
    with painted(used) as figure:
        texts = [text for axes in figure.axes for text in axes.texts]
        texts += [axes.title for axes in figure.axes]
        texts += figure.axes[0].get_yticklabels()
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        legend = figure.legends[0].get_window_extent()
        assert not any(legend.overlaps(axes.get_tightbbox()) for axes in figure.axes)
        assert all(figure.bbox.padded(1).containsx(x) for x in (legend.x0, legend.x1))
        assert min(text.get_fontsize() for text in texts) >= 8


def test_utilisation_names_what_is_known_and_busy_is_of_the_plain_latency():
    gpu = profile(device="cuda", used=GPU)
    with painted([gpu, structs.replace(gpu, utilisation=Utilisation())]) as figure:
        texts = [text.get_text() for text in figure.axes[2].texts]
    assert texts == ["GPU busy 25", "SM fill 70", "driver's counter 97", "not measured"]


def test_a_cpu_has_no_panel_of_utilisation(monkeypatch):
    cpu = profile(device="cpu", used=Utilisation(busy=0.99))
    with painted([cpu, profile("swin_t", device="cpu", used=GPU)]) as figure:
        assert len(figure.axes) == 2
    seen = []
    monkeypatch.setattr(bars, "paint", lambda figure, profiles, title: seen.append(title))
    figure5([cpu], "Chip")
    assert seen == ["Latency decomposition on Chip\nbatch 1, eager, fp32, 224², 2 threads"]


def test_without_any_utilisation_there_is_no_panel_for_it():
    with painted([structs.replace(profile(device="cuda"), utilisation=Utilisation())]) as figure:
        assert len(figure.axes) == 2


def test_names_are_drawn_as_they_are():
    odd = profile("timm/$x_1$<script>--", residual_s=-1e-3)
    with painted([odd]) as figure:
        label = figure.axes[0].get_yticklabels()[0].get_text()
    assert label == "timm/$x_1$<script>-- *"
    assert b"<script>" not in figure5([odd], "$<script>$")["svg"]


def test_setting_and_differing_threads_are_in_the_label():
    other = profile(backend="compile", precision="fp16")
    assert bars.labels([other]) == ["ResNet50 compile fp16"]
    more = structs.replace(other, case=structs.replace(other.case, threads=4))
    assert bars.labels([other, more])[1] == "ResNet50\ncompile fp16 4 threads"


def test_the_name_of_a_network_is_never_split():
    mine = profile("nets/some-folder/my-networks.py:net#1a2b3c4d", backend="compile")
    assert bars.labels([mine]) == ["nets/some-folder/my-networks.py:net#1a2b3c4d\ncompile"]
    endless = bars.labels([profile("nets/" + "x-" * 99)])[0]
    assert "\n" not in endless
    assert "…" in endless


def test_no_profiles_or_several_batches_are_refused():
    with pytest.raises(ValueError, match="of the same batch"):
        figure5([], "Chip")
    with pytest.raises(ValueError, match="of the same batch"):
        figure5([profile(), profile(batch=8)], "Chip")
