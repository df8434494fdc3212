"""A real browser for tests of pages: Debian's Chromium, headless, used where it is there."""

import importlib.util
import os
import shutil

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: Folder for pictures of the pages, if somebody wants them.
SHOTS = os.environ.get("VEILENS_SCREENSHOTS")

marks = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium"),
    pytest.mark.skipif(DRIVER is None, reason="needs the system package chromium-driver"),
    pytest.mark.skipif(
        importlib.util.find_spec("selenium") is None, reason="needs selenium: pip install selenium"
    ),
]


def start(profile):
    """Return a driver of a browser with a fresh profile; nothing is downloaded."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
