"""Shared code of the figures: reproducible bytes, and any text can be drawn."""

import os
import subprocess
import sys

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager

from bench.errors import UsageError
from bench.report.figures import canvas
from bench.report.figures.canvas import (
    compact,
    drawn,
    listed,
    literal,
    mixed,
    painted,
    positive_axis,
    shortened,
)

SCRIPT = """
import hashlib
from bench.report.figures.canvas import painted
def paint(figure):
    axes = figure.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], "o-", label="a", rasterized=True)
    axes.plot([1, 2, 3], [2, 1, 3], "s--", label="b")
    axes.legend()
for content in painted(paint).values():
    print(hashlib.sha256(content).hexdigest())
"""


def plotted(figure):
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4], "o-", label="$x$")
    axes.legend()


def test_both_formats_have_the_same_bytes_each_time():
    first = painted(plotted)
    assert first["png"].startswith(b"\x89PNG")
    assert first["svg"].startswith(b"<?xml")
    assert painted(plotted) == first


def test_another_process_draws_the_same_bytes():
    def digests(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout

    assert digests("1") == digests("2")


def test_a_users_matplotlibrc_does_not_change_the_style():
    mine = drawn(lambda axes: axes.plot([1, 2]))
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        assert drawn(lambda axes: axes.plot([1, 2])) == mine
    with canvas.canvas():
        assert matplotlib.rcParams["font.family"] == [canvas.FONT]
        assert matplotlib.rcParams["svg.hashsalt"] == "bench"


@pytest.mark.parametrize("text", ["$x$", "a_$b", "$", r"\alpha \$", "<script>&", "100 %"])
def test_text_is_drawn_literally_and_never_as_a_formula(text):
    shapes = painted(lambda figure: figure.text(0.5, 0.5, literal(text)))["svg"]
    assert shapes.count(b'<path id="DejaVuSans-') == len(set(text))
    assert b"<script>" not in shapes


def test_missing_letters_become_boxes_without_a_warning():
    assert literal("网络 🚀 é → ±\n²") == "□□ □ é → ±\n²"
    painted(lambda figure: figure.text(0.1, 0.1, literal("模型 🚀")))


@given(st.text())
def test_any_text_can_be_drawn(text):
    known = font_manager.get_font(font_manager.findfont(canvas.FONT)).get_charmap()
    assert len(literal(text)) == len(text)
    assert all(letter == "\n" or ord(letter) in known for letter in literal(text))


def test_a_missing_font_is_an_error_with_a_remedy(monkeypatch):
    def missing(*_, **__):
        raise ValueError("no font")

    canvas._glyphs.cache_clear()
    monkeypatch.setattr(font_manager, "findfont", missing)
    with pytest.raises(UsageError, match="pip install --force-reinstall matplotlib"):
        painted(plotted)


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("short", 9, "short"),
        ("two\n lines", 20, "two lines"),
        ("abcdefghijklmnop", 9, "abcde…nop"),
    ],
)
def test_long_names_keep_both_ends(text, most, expected):
    assert shortened(text, most) == expected
    assert len(expected) <= most


def test_long_lists_of_names_are_cut_and_the_rest_is_counted():
    assert listed("Failed: ", [], 40) == []
    assert listed("Failed: ", ["a", "b"], 40) == ["Failed: a, b"]
    lines = listed("Failed: ", [f"network-{i}" for i in range(1000)], 60)
    assert len(lines) == canvas.MOST_LINES
    assert max(map(len, lines)) <= 60
    shown = sum(line.count("network") for line in lines)
    assert shown > 10
    assert " ".join(lines).endswith(f" and {1000 - shown} more")


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(5.0, 5.0, "linear"), (1.0, 7.9, "linear"), (1.0, 9.0, "log")]
)
def test_a_positive_axis_holds_both_ends(low, high, scale):
    seen = []

    def draw(axes):
        positive_axis(axes, low, high)
        seen.append((axes.get_xscale(), axes.get_xlim()))

    drawn(draw)
    ((found, (left, right)),) = seen
    assert found == scale
    assert 0 < left < low <= high < right


@pytest.mark.parametrize("decades", [0.95, 2, 3.9, 4.1, 5, 6, 8, 12, 18, 300])
def test_a_logarithmic_axis_has_some_ticks_and_not_dozens(decades):
    seen = []

    def draw(axes):
        low = 10 ** (-decades / 2)
        positive_axis(axes, low, 1 / low)
        left, right = axes.get_xlim()
        seen.extend(tick for tick in axes.get_xticks() if left <= tick <= right)

    drawn(draw)
    assert 3 <= len(seen) <= 14


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.5, "2.50"),
        (0.0, "0"),
        (9999.0, "9999"),
        (1e-4, "0.000100"),
        (2.5e9, "2.5e+9"),
        (-3.21e-7, "-3.2e-7"),
        (5.1e228, "5.1e+228"),
        (float("inf"), "inf"),
        (float("nan"), "–"),
    ],
)
def test_numbers_far_from_one_are_short(value, text):
    assert compact(value) == text


def test_a_mixed_colour_is_between_both():
    assert mixed("#0072B2", "white", 0.0) == "#0072b2"
    assert mixed("#000000", "white", 0.4) == "#666666"
    assert mixed("#000000", "white", 1.0) == "#ffffff"
