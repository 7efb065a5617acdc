"""A real Chromium, without a screen and without a network, driven through its own driver.

`make test-browser` runs these; without it they are skipped, and with it a missing browser is a
failure, not a skip.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOW = "apt-get install chromium chromium-driver"

#: Nothing but the page: no screen, no updates, no telemetry, no protocol that a namespace breaks.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--window-size=1280,900"),
    # Whatever a page tries to load goes nowhere, and is seen.
    "--proxy-server=http://127.0.0.1:9",
)


def pytest_collection_modifyitems(items):
    if os.environ.get("SEATRIAL_BROWSER"):
        return
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.skip(reason="a browser is needed: make test-browser"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One browser for all tests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    found, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert found and driver, f"chromium or chromedriver is missing: {HOW}"
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    made.set_script_timeout(30)
    yield made
    made.quit()


def beside(name):
    """A helper of the report's own tests."""
    path = HERE.parent / "core" / "report" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"seatrial_browser_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def examples():
    return beside("examples")


@pytest.fixture(scope="session")
def hostile():
    return beside("hostile")


class Tab:
    """A page in the browser."""

    def __init__(self, browser, folder):
        self.browser = browser
        self.file = folder / "report.html"

    def show(self, text, *, width=1280, height=900, dark=False, script=True):
        """Load a page, in the size, the colours and with or without script."""
        self.file.write_text(text, "utf-8")
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.send("Emulation.setScriptExecutionDisabled", value=not script)
        for kind in ("browser", "performance"):
            self.browser.get_log(kind)
        self.browser.get(self.file.as_uri())
        return self

    def size(self, width, height):
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def send(self, command, **arguments):
        return self.browser.execute_cdp_cmd(command, arguments)

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def errors(self):
        """What the console said: errors, warnings, violations of the policy."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self):
        """Addresses that were asked for, the page itself and what its policy stopped left out."""
        import json

        events = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        stopped = {
            e["params"]["requestId"]
            for e in events
            if e["method"] == "Network.loadingFailed" and e["params"].get("blockedReason") == "csp"
        }
        asked = [
            e["params"]["request"]["url"] for e in events
            if e["method"] == "Network.requestWillBeSent"
            and e["params"]["requestId"] not in stopped
        ]  # fmt: skip
        return [url for url in asked if url != self.file.as_uri()]


@pytest.fixture
def tab(browser, tmp_path):
    yield Tab(browser, tmp_path)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
