"""A real browser without a network, which opens pages from disk."""

import contextlib
import json
import shutil

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
SECONDS = 20


@contextlib.contextmanager
def started(profile):
    """A browser with its profile in a folder."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in found.values():
        pytest.fail("sudo apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.unhandled_prompt_behavior = "ignore"  # an alert shall be seen
    browser = webdriver.Chrome(options, webdriver.ChromeService(found["chromedriver"]))
    try:
        yield browser
    finally:
        browser.quit()


@contextlib.contextmanager
def visited(driver, path):
    """The page, just opened; afterwards nothing must have gone wrong or out."""
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(path.as_uri())
    driver.execute_script("try { localStorage.clear(); } catch {}")
    driver.refresh()
    wait(driver, lambda: count(driver))
    yield driver
    assert not alert_of(driver)
    assert driver.get_log("browser") == []
    assert [url for url in requested(driver) if url.startswith(("http", "ws", "ftp"))] == []


def requested(driver):
    """The addresses that the page asked for."""
    for line in driver.get_log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def alert_of(driver):
    """The text of an alert, or None."""
    try:
        return driver.switch_to.alert.text
    except NoAlertPresentException:
        return None


def wait(driver, condition):
    """Wait until a condition holds."""
    WebDriverWait(driver, SECONDS, poll_frequency=0.05).until(lambda _: condition())


def find(driver, selector):
    """The first element of a selector."""
    return driver.find_element(By.CSS_SELECTOR, selector)


def count(driver):
    """What the page says of the number of rows."""
    return find(driver, "#count").text
