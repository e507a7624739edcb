"""The page in a real browser without a network, from disk: `nox -s pages`."""

import csv
import io
import re

import pytest
from matplotlib import image
from msgspec import structs
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from support.browser import count, find, visited, wait
from support.profiles import profile
from support.records import CHIP, ENVIRONMENT, EVIL, OBSERVED, failure, rounds, timed

from bench.paper.accuracy import Accuracy, Given
from bench.records import Case
from bench.report import devices, page

pytestmark = pytest.mark.pages

LINK = '<a href="javascript:alert(2)">%{x} & $x$</a>'


def everything():
    """Two devices, an earlier environment, all kinds of rows, and names that look like code."""
    old = structs.replace(ENVIRONMENT, environment_id="0123456789abcdef")
    first = [
        old,
        timed("resnet50", ms=90.0, environment_id=old.environment_id),
        ENVIRONMENT,
        timed("resnet50", ms=59.2),
        timed("resnet50", ms=61.0, round_number=2, stopped_by="rounds"),
        timed("resnet101", ms=121.0),
        timed("resnet50", ms=14_000, batch=128),
        timed("repnext_u3_t", "train", ms=76.9),
        timed("repnext_u3_t", "rrep", ms=9.5),
        timed("repnext_u3_t", "rrep", ms=8.5, backend="compile"),
        timed("repnext_u3_t", "srep", ms=143.0, precision="bf16"),
        timed(EVIL, ms=20.0, warnings=["<b>bold</b>"]),
        timed(LINK, ms=30.0),
        failure(Case("swin_t", "plain", threads=2), message="<img src=x onerror=alert(3)>"),
        *(
            structs.replace(each, environment_id="env", case_id=each.case.case_id)
            for each in (profile(EVIL, residual_s=-1e-3), profile("convnext_t", ms=9.0))
        ),
    ]
    chip = structs.replace(CHIP, name="Other <Chip>")
    far = structs.replace(ENVIRONMENT, environment_id="far", chip=chip)
    second = [
        structs.replace(each, environment_id="far")
        for each in (
            *rounds("resnet50", latencies_ms=[1.0, 2.0, 3.0]),
            *rounds("convnext_t", latencies_ms=[1.5, 2.3, 0.7]),
        )
    ]
    own = [
        Given(name, Accuracy(top1, "imagenet1k", 224, "measured", "by <us>"))
        for name, top1 in [(EVIL, 70.0), (LINK, 60.0)]
    ]
    claims = [page.Claim("<u>lower</u>", "Table 4", "54 %", "35 %", {"Test": "1 %"}, "reproduced")]
    return page.render(
        [*devices.of("chip", first, own), *devices.of("other", [far, *second], own)], claims
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_bytes(everything())
    return file


@pytest.fixture
def opened(driver, path):
    """The page, just opened; afterwards nothing must have gone wrong or out."""
    with visited(driver, path):
        yield driver


def column(driver, title):
    """The cells of a column, as they stand."""
    return driver.execute_script(
        """const heads = [...document.querySelectorAll('#table thead th')];
        const place = heads.findIndex((head) => head.textContent === arguments[0]);
        return [...document.querySelectorAll('#table tbody tr')]
          .map((row) => row.children[place].textContent);""",
        title,
    )


def header(driver, title):
    (button,) = [
        b for b in driver.find_elements(By.CSS_SELECTOR, "thead button") if b.text == title
    ]
    return button


def spots(driver):
    """Rows in the picture, by the first line of their hover; nothing where it is hidden."""
    return driver.execute_script(
        """const plot = document.getElementById('plot');
        return (plot.data || []).filter((trace) => trace.hovertext)
          .flatMap((trace) => trace.hovertext.map((text) => text.split('<br>')[0]));"""
    )


def tick(driver, chooser, label):
    boxes = driver.find_elements(By.CSS_SELECTOR, f"#choose-{chooser} label")
    (box,) = [each for each in boxes if each.text == label]
    box.click()


def search(driver, text, expected):
    field = find(driver, "#search")
    field.clear()
    field.send_keys(text)
    wait(driver, lambda: count(driver) == expected)


def medians(driver):
    return [float(cell) for cell in column(driver, "Median (ms)") if cell != "–"]


def test_it_opens_with_the_latest_results_at_the_smallest_batch(opened):
    assert count(opened) == "11 of 13 rows"
    assert len(spots(opened)) == 10
    assert find(opened, "#empty").text == "Not in the picture: 1 that failed."
    assert set(column(opened, "Batch")) == {"1"}
    assert find(opened, "#constant").text == "All: 224² · 2 threads"
    find(opened, "#all").click()
    assert count(opened) == "13 of 13 rows"
    assert len(spots(opened)) == 12


def test_numbers_are_sorted_as_numbers_both_ways_and_what_is_missing_is_last(opened):
    header(opened, "Median (ms)").click()
    assert medians(opened) == sorted(medians(opened))
    assert medians(opened)[0] == 1.5
    assert column(opened, "Median (ms)")[-1] == "–"
    head = find(opened, "thead [aria-sort]")
    assert (head.text.split(" ")[-2:], head.get_attribute("aria-sort")) == (
        ["Median", "(ms)"],
        "ascending",
    )
    header(opened, "Median (ms)").click()
    assert medians(opened) == sorted(medians(opened), reverse=True)
    assert column(opened, "Median (ms)")[-1] == "–"
    assert find(opened, "thead [aria-sort]").get_attribute("aria-sort") == "descending"
    header(opened, "Model").click()
    assert len(opened.find_elements(By.CSS_SELECTOR, "thead [aria-sort]")) == 1
    names = [name for name in column(opened, "Model") if name.startswith("ResNet")]
    assert names == ["ResNet50", "ResNet50", "ResNet101"]


def test_searching_narrows_the_table_and_the_picture(opened):
    search(opened, "repnext rrep", "2 of 13 rows")
    assert len(spots(opened)) == 2
    search(opened, "compile RepNeXt", "1 of 13 rows")
    assert column(opened, "Backend") == ["compile"]
    search(opened, "nothing of this name", "0 of 13 rows")
    assert not find(opened, "#frame").is_displayed()
    assert not find(opened, "#plot").is_displayed()
    assert find(opened, "#empty").text == "Nothing to draw: no case matches the filters."
    search(opened, "swin", "1 of 13 rows")
    assert not find(opened, "#plot").is_displayed()
    find(opened, "#search").clear()
    search(opened, "r", "11 of 13 rows")
    assert len(spots(opened)) == 10


@pytest.mark.parametrize(
    ("chooser", "label", "rows", "drawn"),
    [
        ("device", "Other <Chip>", 9, 8),
        ("device", "Test Chip 9000 (01234567)", 12, 11),
        ("form", "rrep", 9, 8),
        ("backend", "compile", 10, 9),
        ("precision", "bf16", 10, 9),
    ],
)
def test_choosing_changes_the_table_and_the_picture(opened, chooser, label, rows, drawn):
    tick(opened, chooser, label)
    assert count(opened) == f"{rows} of 13 rows"
    assert len(column(opened, "Model")) == rows
    assert len(spots(opened)) == drawn
    tick(opened, chooser, label)
    assert count(opened) == "11 of 13 rows"


def test_a_batch_is_chosen_and_data_sets_never_meet(opened):
    Select(find(opened, "#batch")).select_by_visible_text("128")
    assert column(opened, "Batch") == ["128"]
    assert len(spots(opened)) == 1
    Select(find(opened, "#batch")).select_by_visible_text("1")
    Select(find(opened, "#dataset")).select_by_visible_text("ImageWoof")
    accuracies = opened.execute_script(
        "return document.getElementById('plot').data.flatMap((trace) => trace.y);"
    )
    woof = {87.7, 88.0, 90.8}
    assert set(accuracies) == woof
    assert "ImageWoof" in find(opened, "#plot .ytitle").text
    known = [cell for cell in column(opened, "Top-1 (%)") if cell != "–"]
    assert set(known) == {f"{top1:.1f} (paper)" for top1 in woof}


def traces(driver):
    return driver.execute_script(
        """return document.getElementById('plot').data.map((trace) => (
          { name: trace.name, x: trace.x, y: trace.y, symbol: trace.marker?.symbol,
            colour: trace.marker?.color, line: trace.line }));"""
    )


def test_hollow_is_not_the_papers_pale_is_in_doubt_and_the_front_is_of_equal_data(driver, tmp_path):
    names = ["vit_b", "timm/resnet18", "resnet50", "convnext_t", "swin_t", "deit_s"]
    names += ["repvgg_b1", "mobilenetv3_s", "maxvit_t", "efficientnet_b3"]
    records = [timed(name, ms=10.0 + number) for number, name in enumerate(names)]
    file = tmp_path / "report.html"
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, *records])))
    with visited(driver, file):
        front, *series = traces(driver)
        symbols = {each["name"]: each["symbol"] for each in series}
        assert symbols["ViT"] == ["circle-open-dot"]
        assert symbols["ResNet"] == ["circle"]
        assert [symbol for found in symbols.values() for symbol in found].count("circle-open") == 1
        looks = {(each["line"]["color"], each["line"]["dash"]) for each in series}
        assert len(looks) == len(series) > 7
        for each in series:
            assert each["colour"] != [each["line"]["color"]]  # all are SUSPECT: of one process
        assert front["line"]["shape"] == "hv"
        assert front["x"][0] == pytest.approx(11.0)
        assert front["x"][-1] > 19.0
        legend = find(driver, "#legend").text
        assert "SUSPECT" in legend
        assert "(excluding more data)" in legend
        assert "published by timm, weights also trained on more data" in legend
        assert find(driver, "#plot .xtitle").text == (
            "Latency at batch 1 (ms), mean of the processes’ medians"
        )


def test_without_a_known_accuracy_there_is_a_table_with_filters_and_no_picture(driver, tmp_path):
    file = tmp_path / "report.html"
    records = [timed(LINK, ms=2.0), timed(EVIL, ms=3.0)]
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, *records])))
    with visited(driver, file):
        assert not find(driver, "#accuracy").is_displayed()
        assert "Accuracy" not in find(driver, "#contents").text
        assert not find(driver, "#dataset").is_displayed()
        search(driver, "alert(2)", "1 of 2 rows")


def test_latencies_far_apart_have_some_ticks(driver, tmp_path):
    file = tmp_path / "report.html"
    records = [timed("resnet50", ms=1e-6), timed("swin_t", ms=1e12)]
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, *records])))
    with visited(driver, file):
        ticks = driver.find_elements(By.CSS_SELECTOR, "#plot .xtick")
        assert 4 <= len(ticks) <= 14
        assert {"0.1", "10"} <= {tick.text for tick in ticks}
        assert any("e+" in tick.text for tick in ticks)


def test_names_that_look_like_code_are_shown_as_they_are(opened):
    assert {EVIL, LINK} <= set(column(opened, "Model"))
    legend = find(opened, "#legend").text
    assert EVIL in legend
    assert "Other <Chip>" in legend
    assert opened.find_elements(By.CSS_SELECTOR, "main a[href^='javascript']") == []
    assert opened.find_elements(By.CSS_SELECTOR, "main img, main script, table b, table u") == []
    for name in (EVIL, LINK):
        (button,) = [
            b for b in opened.find_elements(By.CSS_SELECTOR, "th button") if b.text == name
        ]
        button.click()
        wait(opened, lambda: opened.find_elements(By.CSS_SELECTOR, "#plot .hoverlayer .nums"))
        hovered = find(opened, "#plot .hoverlayer").get_property("textContent")
        assert name in hovered
    assert EVIL in find(opened, "#bars-0").get_property("textContent")
    assert opened.find_elements(By.CSS_SELECTOR, "#plot a, #bars-0 a:not(.modebar-btn)") == []


def test_a_failure_is_a_row_with_its_stage_and_message(opened):
    place = column(opened, "Latency (ms)").index("failed")
    assert column(opened, "Verdict")[place] == (
        "failed at checkCheckError: <img src=x onerror=alert(3)>"
    )


def test_bars_are_in_milliseconds_or_in_per_cent(opened):
    def total():
        return opened.execute_script(
            """return document.getElementById('bars-0').data
                 .filter((trace) => trace.type === 'bar')
                 .flatMap((trace) => trace.x.filter((_, i) => trace.y[i] === 1))
                 .reduce((sum, part) => sum + part, 0);"""
        )

    assert total() == pytest.approx(9.0)
    find(opened, "[name=unit][value='%']").click()
    assert total() == pytest.approx(100)
    assert "the residual is -10.0 %" in find(opened, "#panels .notes").text


def test_claims_are_a_table_that_opens(opened):
    summary = find(opened, "#claim-summary")
    assert summary.text == "1 claim: 1 reproduced"
    assert not find(opened, "#claim-table").is_displayed()
    summary.click()
    cells = [
        cell.text for cell in opened.find_elements(By.CSS_SELECTOR, "#claim-table tbody > tr > *")
    ]
    assert cells == ["<u>lower</u>", "Table 4", "54 %", "35 %", "1 %", "reproduced"]


def test_the_keyboard_reaches_everything_and_enter_sorts(opened):
    reached, sorted_by = [], None
    for _ in range(120):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        active = opened.switch_to.active_element
        if active.tag_name == "body":
            break
        chooser = opened.execute_script("return arguments[0].closest('fieldset')?.id", active)
        reached.append(active.get_attribute("id") or chooser or active.text)
        if active.text == "Median (ms)":
            active.send_keys(Keys.ENTER)
            sorted_by = find(opened, "[aria-sort]").text
            assert opened.switch_to.active_element == active
    assert sorted_by.endswith("Median (ms)")
    assert medians(opened) == sorted(medians(opened))
    choosers = [f"choose-{name}" for name in ("device", "form", "backend", "precision")]
    ids = ["theme", "search", "batch", "dataset", "all", *choosers, "frame", "unit"]
    assert set(ids) <= set(reached)
    assert {"Model", "Verdict", "ResNet50"} <= set(reached)


def colours(driver):
    """Of the page, of its picture, and of its letters."""
    return driver.execute_script(
        """const style = getComputedStyle(document.body);
        const plot = document.querySelector('#plot .main-svg').style.backgroundColor;
        return [style.backgroundColor, plot, style.color];"""
    )


def test_light_and_dark_follow_the_system_and_the_button(opened):
    light = colours(opened)
    assert light[0] == light[1] == "rgb(255, 255, 255)"
    emulate(opened, "dark")
    wait(opened, lambda: colours(opened)[1] != light[1])
    dark = colours(opened)
    assert dark[0] == dark[1]
    assert dark[2] != light[2]
    find(opened, "#theme").click()
    assert colours(opened) == light
    emulate(opened, "light")
    find(opened, "#theme").click()
    assert colours(opened) == dark
    opened.refresh()
    assert colours(opened) == dark


def emulate(driver, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


# Texts that are wider than their box and cannot be scrolled to, and texts outside the picture.
CUT = """
const cut = [...document.querySelectorAll('body *:not(script):not(style):not(option)')]
  .filter((each) => each.checkVisibility() && getComputedStyle(each).overflowX !== 'auto'
    && !each.closest('svg') && each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0)
  .map((each) => each.outerHTML.slice(0, 120));
const box = document.getElementById('plot').getBoundingClientRect();
for (const text of document.querySelectorAll('#plot svg text')) {
  const { left, right, width } = text.getBoundingClientRect();
  if (width && (left < box.left - 1 || right > box.right + 1)) cut.push(text.textContent);
}
return cut;
"""


@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_its_window_and_is_not_blank(opened, tmp_path, width):
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened.refresh()
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        assert opened.execute_script(CUT) == []
        picture = opened.get_screenshot_as_png()
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    (tmp_path / "page.png").write_bytes(picture)
    pixels = image.imread(io.BytesIO(picture))
    assert pixels.shape[1] == width
    assert len({tuple(pixel) for row in pixels[::5] for pixel in row[::5].tolist()}) > 20


def test_without_any_accuracy_or_profile_their_sections_are_hidden(driver, tmp_path):
    file = tmp_path / "report.html"
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, timed("timm/unknown")])))
    with visited(driver, file):
        assert count(driver) == "1 of 1 rows"
        assert not find(driver, "#accuracy").is_displayed()
        titles = [each.text for each in driver.find_elements(By.CSS_SELECTOR, "h2")]
        assert [title for title in titles if title] == ["Devices", "All cases"]


def test_of_very_many_rows_the_table_shows_some_and_more_when_asked(driver, tmp_path):
    file = tmp_path / "report.html"
    records = [timed(f"timm/net{number}", ms=1.0 + number) for number in range(1200)]
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, *records])))
    with visited(driver, file):
        assert count(driver) == "1200 of 1200 rows"
        assert len(column(driver, "Model")) == 500
        find(driver, "#more").click()
        find(driver, "#more").click()
        assert len(column(driver, "Model")) == 1200
        assert not find(driver, "#more").is_displayed()


def test_the_answers_come_first_and_name_ties(opened):
    first = find(opened, "main > section:not([hidden]) h2").text
    assert first == "In short"
    answers = find(opened, "#answer-list").text
    assert "batch 1" in answers
    assert "Fastest of 2 cases: ConvNeXt-T †, 1.50 ms (" in answers
    assert "Tied with ResNet50" in answers


def test_the_table_opens_sorted_by_latency(opened):
    assert medians(opened) == sorted(medians(opened))
    assert find(opened, "[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert find(opened, "[aria-sort]").text.startswith("Latency (ms)")


def test_ranks_are_sorted_by_their_first_number(driver, tmp_path):
    latencies = {f"timm/n{number}": [2.0**number] * 3 for number in range(1, 12)}
    noisy = {"timm/noisy": [2.0, 20.0, 200.0]}
    records = [
        record
        for model, ms in {**latencies, **noisy}.items()
        for record in rounds(model, latencies_ms=ms, **OBSERVED)
    ]
    file = tmp_path / "report.html"
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, *records])))
    with visited(driver, file):
        header(driver, "Rank").click()
        found = column(driver, "Rank")
        first = [int(re.match(r"\d+", rank)[0]) for rank in found]
        assert first == sorted(first)
        assert max(first) >= 10
        assert any("–" in rank for rank in found)


@pytest.mark.parametrize(
    ("chooser", "label", "left"),
    [("resolution", "64²", ["DeiT-S", "Swin-T"]), ("level", "failed", ["ResNet50", "Swin-T"])],
)
def test_resolutions_and_verdicts_are_filters(driver, tmp_path, chooser, label, left):
    file = tmp_path / "report.html"
    small, usual = timed("resnet50", resolution=64), timed("swin_t")
    failed = failure(Case("deit_s", "plain", threads=2))
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, small, usual, failed])))
    with visited(driver, file):
        assert sorted(column(driver, "Model")) == ["DeiT-S", "ResNet50", "Swin-T"]
        tick(driver, chooser, label)
        assert sorted(column(driver, "Model")) == left


def test_points_have_names_that_cover_neither_points_nor_each_other(opened):
    shown = opened.execute_script(
        """return [...document.querySelectorAll('#plot .textpoint text')].map((text) => {
          const box = text.getBoundingClientRect();
          return [text.textContent, box.left, box.top, box.right, box.bottom]; })"""
    )
    names = [name for name, *_ in shown if name]
    assert "RepNeXt-u3-T-rRep" in names or "T" in names
    assert len(names) >= 5
    boxes = [box for name, *box in shown if name]
    for place, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = (
                left >= other[2] - 2
                or other[0] >= right - 2
                or top >= other[3] - 2
                or other[1] >= bottom - 2
            )
            assert apart, (names, boxes)


def test_the_chosen_rows_are_saved_as_csv(opened):
    search(opened, "resnet", "3 of 13 rows")
    text = opened.execute_script("return csvOf([...choice()].sort(compare));")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["case"] for line in lines] == ["resnet50", "resnet50", "resnet101"]
    assert [float(line["median"]) for line in lines] == [0.002, 0.0601, 0.121]
    assert lines[0]["device"] == "Other <Chip>"
    assert opened.execute_script("return cellOf('=1+1');") == "'=1+1"
    assert opened.execute_script('return cellOf("\'=1+1");') == "''=1+1"
    find(opened, "#save").click()  # an error would be in the browser's log


def test_the_address_keeps_the_filters(opened):
    tick(opened, "form", "train")
    search(opened, "repnext", "3 of 13 rows")
    header(opened, "Params (M)").click()
    before = (opened.current_url, column(opened, "Model"))
    assert "#show?" in before[0]
    find(opened, "nav a").click()  # a jump on the page
    assert opened.current_url == before[0]
    opened.refresh()
    wait(opened, lambda: count(opened) == "3 of 13 rows")
    assert (opened.current_url, column(opened, "Model")) == before
    find(opened, "#all").click()
    assert count(opened) == "13 of 13 rows"
    opened.get("about:blank")
    opened.get(before[0].partition("#")[0] + "#show?form=nonsense&batch=7&order=x+down")
    assert count(opened) == "11 of 13 rows"  # values that the page does not have change nothing
