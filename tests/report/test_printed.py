"""Figures to print: PDF of the widths of a paper, readable, the same bytes each time."""

import re

import pytest
from matplotlib.text import Text
from support.records import CASE, ENVIRONMENT, failure, rounds
from support.results import device, write

from bench import report
from bench.models import labels
from bench.report import index
from bench.report.figures import printed
from bench.report.figures.canvas import canvas

OWN = "nets/mine.py:net#1a2b3c4d"
RECORDS = [
    *rounds("resnet50", latencies_ms=(10.0, 10.2, 10.4)),
    *rounds("repnext_u3_t", "train", latencies_ms=(20.0, 20.2, 20.4)),
    *rounds("repnext_u3_t", "srep", latencies_ms=(15.0, 15.2, 15.4)),
    *labels.stamped(rounds(OWN, latencies_ms=(5.0, 5.2)), {OWN: "MyNet"}),
]
DRAW = [printed.accuracy, printed.speed_ups, printed.latencies]


@pytest.fixture
def figures(monkeypatch):
    """Of each figure that was painted: its width and its plot's in inches, and all its texts."""
    found = []

    def painted(paint, size, formats):
        with canvas(size) as figure:
            paint(figure)
            texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
            figure.draw_without_rendering()
            inches = figure.get_figwidth()
            found.append((inches, inches * figure.axes[0].get_position().width, texts))
        return {"pdf": b""}

    monkeypatch.setattr(printed, "painted", painted)
    return found


@pytest.mark.parametrize("draw", DRAW)
def test_a_picture_is_a_pdf_of_each_width_and_has_no_date(draw):
    found = draw([device(RECORDS)])
    assert list(found) == ["column", "page"]
    for content, inches in zip(found.values(), (3.3, 6.9), strict=True):
        assert content.startswith(b"%PDF")
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
        assert float(box) == pytest.approx(72 * inches)
        assert b"/CreationDate" not in content
        assert b"/TrueType" in content or b"/CIDFontType2" in content  # text, not curves
    assert draw([device(RECORDS)]) == found


@pytest.mark.parametrize("draw", DRAW)
def test_its_text_is_readable_and_names_the_device_and_the_settings(figures, draw):
    draw([device(RECORDS)])
    assert [width for width, _, _ in figures] == [3.3, 6.9]
    for _, _, texts in figures:
        assert min(text.get_fontsize() for text in texts) >= 7
        said = " ".join(" ".join(text.get_text() for text in texts).split())
        assert "Test Chip 9000: batch 1, eager, fp32, 224², 2 threads" in said


def test_the_latency_of_any_network_is_shown_the_fastest_first(figures):
    printed.latencies([device(RECORDS)])
    names = ("MyNet", "ResNet50", "RepNeXt-u3-T", "RepNeXt-u3-T-sRep")
    shown = [text.get_text() for text in figures[0][2] if text.get_text() in names]
    assert list(dict.fromkeys(shown)) == ["MyNet", "ResNet50", "RepNeXt-u3-T-sRep", "RepNeXt-u3-T"]


@pytest.mark.parametrize("draw", [printed.speed_ups, printed.latencies])
def test_a_long_name_leaves_room_for_the_plot(figures, draw):
    long = "package/of/networks/with/a/long/name.py:network_of_mine#1a2b3c4d"
    forms = [*rounds(long, "train", (9.0, 9.1)), *rounds(long, "rrep", (5.0, 5.1))]
    draw([device(forms)])
    assert all(plot > width / 5 for width, plot, _ in figures), [plot for _, plot, _ in figures]


@pytest.mark.parametrize("draw", DRAW)
def test_nothing_to_show_or_several_devices_give_no_picture(draw):
    assert draw([device([failure(CASE)])]) == {}
    assert draw([device(RECORDS), device(RECORDS)]) == {}


def test_a_report_has_the_pictures_and_its_index_links_them(tmp_path):
    write(tmp_path / "chip", [ENVIRONMENT, *RECORDS])
    written, _ = report.write([tmp_path])
    names = {path.name for path in written if path.suffix == ".pdf"}
    assert names == {
        f"{name}-{width}.pdf"
        for name in ("figure1", "speedups", "latency")
        for width in ("column", "page")
    }
    text = (tmp_path / "report.md").read_text()
    assert "[column.pdf](chip/figure1-column.pdf), [page.pdf](chip/figure1-page.pdf)" in text
    assert "[latency-column.pdf](chip/latency-column.pdf): latency of every network" in text
    assert "([page.pdf](chip/latency-page.pdf))" in text
    old = tmp_path / "chip" / "speedups-wide.pdf"
    old.write_bytes(b"")
    assert index.stale_files(written) == [old]
