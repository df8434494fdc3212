"""Pictures in a real browser, read back as it painted them."""

import base64
import io
import time
from pathlib import Path

import numpy as np
import pytest

from hardware.errors import DeviceDisconnected, HardwareError
from hardware.modulators.screen import Screen
from hardware.modulators.slm import ScreenSlm
from tests import browsing

pytestmark = browsing.marks
SHAPE = (96, 160)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = browsing.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def screen():
    with Screen(SHAPE[1], SHAPE[0], port=0, settle=0.0, timeout=10.0, patience=10.0) as made:
        yield made


@pytest.fixture
def page(browser, screen):
    size(browser, *SHAPE)
    browser.get("about:blank")
    browser.get(screen.address)
    yield browser
    browser.get("about:blank")
    wait(lambda: not screen._display.watched)


def size(browser, rows, columns, ratio=1.0):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": columns, "height": rows, "deviceScaleFactor": ratio, "mobile": False},
    )


def wait(condition, timeout=10.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def state(browser):
    return browser.find_element("id", "state").get_property("textContent")


def painted(browser):
    """What the compositor made of the page, (H, W, 3)."""
    from PIL import Image

    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("planes", [(), (3,)])
def test_every_pixel_is_painted_as_sent(page, screen, planes):
    rng = np.random.default_rng(1)
    for _ in range(3):  # each time the new one
        wanted = rng.integers(0, 256, (*SHAPE, *planes), dtype=np.uint8)
        screen.show(wanted)
        colours = wanted if planes else np.repeat(wanted[..., None], 3, axis=2)
        np.testing.assert_array_equal(painted(page), colours)


@pytest.mark.slow
def test_all_greys_of_a_ramp_survive(page, screen):
    ramp = np.broadcast_to(np.arange(SHAPE[1], dtype=np.uint8), SHAPE)
    screen.show(ramp)
    np.testing.assert_array_equal(painted(page)[..., 1], ramp)
    screen.show(255 - ramp)
    np.testing.assert_array_equal(painted(page)[..., 1], 255 - ramp)


def test_a_modulator_on_the_screen_shows_its_greys(page, screen):
    slm = ScreenSlm(screen, 8e-6, wavelength=540e-9, turn_grey=217)
    phase = np.random.default_rng(2).uniform(-20, 20, SHAPE)
    assert slm.show(phase, 540e-9) == screen.shown
    greys = painted(page)[..., 0]
    np.testing.assert_array_equal(greys, slm.greys(phase, 540e-9))
    off = np.mod(greys * (2 * np.pi / 217) - phase + np.pi, 2 * np.pi) - np.pi
    assert np.abs(off).max() <= slm.quantisation_error(540e-9) * (1 + 1e-9)
    slm.blank()
    assert not painted(page).any()


def test_a_scaled_page_is_refused_and_mended(page, screen):
    size(page, *SHAPE, 1.25)
    with pytest.raises(HardwareError, match=r"scaled to 1\.25"):
        screen.show(np.zeros(SHAPE, np.uint8))
    size(page, SHAPE[0] - 1, SHAPE[1])
    with pytest.raises(HardwareError, match=r"160 x 95 pixels, the panel 160 x 96"):
        screen.show(np.zeros(SHAPE, np.uint8))
    size(page, *SHAPE)
    wanted = np.full(SHAPE, 77, np.uint8)
    screen.show(wanted)
    assert (painted(page) == 77).all()


def test_a_browser_that_alters_canvases_is_found_out(page, screen):
    screen.show(np.zeros(SHAPE, np.uint8))
    page.execute_script(
        "const read = CanvasRenderingContext2D.prototype.getImageData;"
        "CanvasRenderingContext2D.prototype.getImageData = function (...args) {"
        "  const found = read.apply(this, args); found.data[4 * 77 + 2] ^= 1; return found; };"
    )
    with pytest.raises(HardwareError, match="fingerprinting"):
        screen.show(np.full(SHAPE, 9, np.uint8))


@pytest.mark.slow
def test_a_browser_that_ends_is_noticed(tmp_path, screen):
    driver = browsing.start(tmp_path)
    try:
        size(driver, *SHAPE)
        driver.get(screen.address)
        screen.show(np.zeros(SHAPE, np.uint8))
    finally:
        driver.quit()
    begun = time.monotonic()
    with pytest.raises(DeviceDisconnected):
        screen.show(np.zeros(SHAPE, np.uint8))
    assert time.monotonic() - begun < 5


@pytest.mark.slow
def test_a_second_window_takes_over_and_the_first_one_says_so(page, screen):
    screen.show(np.full(SHAPE, 50, np.uint8))
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    try:
        size(page, *SHAPE)
        page.get(screen.address)
        wait(lambda: page.find_element("css selector", "body").get_attribute("class") == "showing")
        screen.show(np.full(SHAPE, 60, np.uint8))
        assert (painted(page) == 60).all()
    finally:
        page.close()
        page.switch_to.window(first)
    wait(lambda: "Another window" in state(page))


def test_waiting_it_is_black_with_words_and_logs_no_error(browser):
    with Screen(1280, 720, port=0, settle=0.0) as screen:
        size(browser, 600, 1000, 1.25)
        browser.get("about:blank")
        browser.get(screen.address)
        wait(lambda: "1000 × 600 pixels at 125 %" in browser.find_element("id", "size").text)
        words = browser.find_element("id", "guide").text
        assert "F11" in words
        assert "100 %" in words
        assert (painted(browser).max(axis=2) < 16).mean() > 0.9
        if browsing.SHOTS:
            browser.save_screenshot(str(Path(browsing.SHOTS, "screen-waiting.png")))
        assert "token" not in browser.current_url
        size(browser, 720, 1280)
        wait(lambda: browser.find_element("id", "size").text == "Ready.")
        bad = [e for e in browser.get_log("browser") if "display.js" in e["message"]]
        assert bad == []
        browser.get("about:blank")
        wait(lambda: not screen._display.watched)


@pytest.mark.slow
def test_the_page_comes_back_to_a_program_that_was_started_again(browser, tmp_path):
    key = tmp_path / "token"
    key.write_text("a-token-of-my-own-choice")
    key.chmod(0o600)
    size(browser, *SHAPE)
    with Screen(SHAPE[1], SHAPE[0], port=0, settle=0.0, key_file=key) as screen:
        port = screen._server.server_address[1]
        browser.get("about:blank")
        browser.get(screen.address)
        wait(lambda: not browser.find_element("id", "login").get_property("hidden"))
        size(browser, 600, 800)  # where the form is in sight
        browser.find_element("id", "token").send_keys("a-token-of-my-own-choice\n")
        size(browser, *SHAPE)
        screen.show(np.full(SHAPE, 10, np.uint8))
    wait(lambda: "does not answer" in state(browser))
    with Screen(SHAPE[1], SHAPE[0], port=port, settle=0.0, key_file=key) as screen:
        screen.show(np.full(SHAPE, 20, np.uint8))
        assert (painted(browser) == 20).all()
        browser.get("about:blank")
        wait(lambda: not screen._display.watched)
