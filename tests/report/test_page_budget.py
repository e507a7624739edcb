"""Choosing for a budget on the page, in a real browser: the same answers as `bench choose`."""

import math
import random

import pytest
from selenium.webdriver.support.select import Select
from support.browser import find, visited, wait
from support.records import ENVIRONMENT, OBSERVED, failure, rounds

from bench.analysis.choose.budget import Budget, Limit
from bench.analysis.choose.decision import decide
from bench.records import Case, Cost, Stages
from bench.report import devices, page

pytestmark = pytest.mark.pages

NETWORKS = ("resnet50", "swin_t", "convnext_t", "mobilenetv3_l", "deit_s", "timm/unknown")
ASK = """
const [limits, by] = arguments;
const pairs = limits.map(([name, bound]) => [quantityOf(name), bound]);
return decide(group().rows, pairs, quantityOf(by)).map((several) => several.map((each) => (
  [titleOf(each.row), Boolean(each.tied)])));
"""


def records():
    random_ = random.Random(11)
    found = [ENVIRONMENT]
    for name in NETWORKS:
        for precision in ("fp32", "bf16"):
            typical_ms = math.exp(random_.uniform(1, 4))
            found += rounds(
                name,
                latencies_ms=[
                    typical_ms * math.exp(random_.gauss(0, 0.05))
                    for _ in range(random_.randint(2, 6))
                ],
                precision=precision,
                cost=Cost(peak_memory_bytes=random_.randint(50, 500) * 10**6),
                stages_s=Stages(load=random_.uniform(0.1, 2.0)),
                **OBSERVED,
            )
    return found


@pytest.fixture(scope="module")
def of_chip():
    return devices.of("chip", records())


@pytest.fixture
def opened(driver, of_chip, tmp_path):
    file = tmp_path / "report.html"
    file.write_bytes(page.render(of_chip))
    with visited(driver, file):
        yield driver


def wanted(of_chip, limits, by):
    """What `bench choose` answers, by the names on the page."""
    named = {"top1-imagenet1k": "top1"}
    found = decide(
        of_chip[0].rows,
        Budget(
            tuple(Limit(named.get(name, name), bound) for name, bound in limits),
            objective=named.get(by, by),
        ),
    )
    titles = {row.case: page.budget.title(row) for row in of_chip[0].rows}
    return [
        [[titles[each.case], each.tied and place > 0] for place, each in enumerate(entries)]
        for entries in (found.fits, found.open, found.unmeasured, found.lost)
    ]


def test_random_budgets_have_the_answers_of_the_command(opened, of_chip):
    random_ = random.Random(2)
    standings = [0] * 4
    for _ in range(200):
        asked = {
            "latency": math.exp(random_.uniform(1, 4)) / 1e3,
            "memory": random_.randint(50, 500) * 1e6 + 0.5,
            "load": random_.uniform(0.1, 2.0),
            "top1-imagenet1k": random_.uniform(74, 83),
        }
        limits = [
            [name, asked[name]] for name in random_.sample(list(asked), random_.randint(0, 4))
        ]
        by = random_.choice(["latency", "top1-imagenet1k"])
        answer = opened.execute_script(ASK, limits, by)
        assert answer == wanted(of_chip, limits, by)
        standings = [count + len(each) for count, each in zip(standings, answer, strict=True)]
    assert min(standings) > 20


def test_a_limit_answers_at_once_and_the_address_keeps_it(opened):
    before = find(opened, "#budget-answer").text
    assert " is the first of 6 that fit" in before
    field = find(opened, "#limit-latency")
    field.send_keys("0.001")
    wait(opened, lambda: find(opened, "#budget-answer").text.startswith("No network is known"))
    assert "limit-latency=0.001" in opened.current_url
    opened.refresh()
    wait(opened, lambda: find(opened, "#budget-answer").text.startswith("No network is known"))
    assert find(opened, "#limit-latency").get_property("value") == "0.001"
    slider = find(opened, "#limit-latency-slider")
    opened.execute_script(
        "arguments[0].value = arguments[0].max; arguments[0].dispatchEvent(new Event('input'));",
        slider,
    )
    wait(opened, lambda: find(opened, "#budget-answer").text == before)
    assert "limit-latency" not in opened.current_url


def test_the_order_may_be_that_of_accuracy(opened):
    Select(find(opened, "#budget-by")).select_by_visible_text("top-1 on ImageNet-1K")
    first = find(opened, "#budget-table tbody th").text
    assert first.startswith("ConvNeXt-T")
    assert "budget-by=top1-imagenet1k" in opened.current_url


def test_without_a_known_latency_there_is_no_choice_and_the_page_works(driver, tmp_path):
    failed = [failure(Case(name, "plain", threads=2)) for name in ("resnet50", "swin_t")]
    file = tmp_path / "report.html"
    file.write_bytes(page.render(devices.of("chip", [ENVIRONMENT, *failed])))
    with visited(driver, file):
        assert not find(driver, "#budget").is_displayed()
        find(driver, "#theme").click()  # what comes last in the script
