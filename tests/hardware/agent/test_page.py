"""The live page in a real browser."""

import threading
import time
from pathlib import Path

import pytest

from tests import browsing
from tests.hardware.agent.bench import MODE, TOKEN, serving, small_rig

pytestmark = browsing.marks


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = browsing.start(tmp_path_factory.mktemp("profile"))
    driver.set_script_timeout(10)
    yield driver
    driver.quit()


@pytest.fixture
def server():
    with serving(small_rig(speed=0.02)) as running:
        yield running


@pytest.fixture
def page(browser, server):
    """The page with control, showing its first numbers."""
    size(browser, 1280)
    browser.get("about:blank")
    browser.get(f"{server.url}/#token={TOKEN}")
    wait(lambda: text(browser, "sharpness") != "" and find(browser, "#levels tr"))
    find(browser, "#take").click()
    wait(lambda: text(browser, "holder") == "this page")
    yield browser
    browser.get("about:blank")


def find(browser, css):
    found = browser.find_elements("css selector", css)
    return found[0] if found else None


def text(browser, name):
    return find(browser, f"#{name}").text


def wait(condition, timeout=10.0):
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not show it in time"
        time.sleep(0.02)
    return found


def size(browser, width, height=1000):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def shoot(browser, name):
    """Keep a picture of the whole page where somebody wants to look at it."""
    if browsing.SHOTS:
        import base64

        browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        Path(browsing.SHOTS, f"page-{name}.png").write_bytes(base64.b64decode(shot["data"]))


def peak(browser, colour="G"):
    cells = browser.find_elements("css selector", f"#levels tr[data-colour={colour}] td")
    return float(cells[1].text.rstrip(" %"))


def position(browser, axis="z"):
    return float(find(browser, f"[data-axis={axis}]").text.split()[0])


def home(server):
    server.agent.home("table")


def test_numbers_follow_the_scene(page, server):
    wait(lambda: peak(page) < 5)
    assert text(page, "centroid") == "–"
    server.agent.light("lamps").set("led", 0.2)
    wait(lambda: peak(page) > 6)
    wait(lambda: text(page, "centroid") != "–")
    x, y = (float(part) for part in text(page, "centroid").removesuffix(" px").split(","))
    assert x == pytest.approx(0.6 * MODE.shape[1], abs=1)  # where the scene puts the spot
    assert y == pytest.approx(0.4 * MODE.shape[0], abs=1)
    before = float(text(page, "sharpness"))
    home(server)
    server.agent.move("table", {"z": 0.01})  # into focus
    wait(lambda: float(text(page, "sharpness")) > 1.5 * before)


@pytest.mark.slow
def test_jog_moves_the_stage(page, server):
    home(server)
    select = find(page, "select[aria-label='Step of z']")
    select.send_keys("1 mm")
    before = server.agent.rig.position()["z"]
    wait(lambda: find(page, "[aria-label='z plus']").is_enabled())
    find(page, "[aria-label='z plus']").click()
    wait(lambda: server.agent.rig.position()["z"] == pytest.approx(before + 1e-3, abs=1e-6))
    wait(lambda: position(page) == pytest.approx((before + 1e-3) * 1e3, abs=1e-3))


@pytest.mark.parametrize("how", [pytest.param("button", marks=pytest.mark.slow), "escape"])
def test_the_stop_ends_a_move(page, server, how):
    home(server)
    page.execute_script("document.activeElement.blur()")
    raised = []

    def move():
        try:
            server.agent.move("table", {"z": 0.1})
        except Exception as error:
            raised.append(error)

    mover = threading.Thread(target=move)
    mover.start()
    wait(lambda: position(page) > 1)  # the page follows the move, mm
    if how == "button":
        find(page, "#estop").click()
    else:
        find(page, "body").send_keys("\ue00c")  # Escape
    mover.join(5)
    assert type(raised[0]).__name__ == "EmergencyStopped"
    wait(lambda: find(page, "#stopped").is_displayed())
    assert "live page" in text(page, "why")
    stood = server.agent.stage("table").status().position["z"]
    assert 0.001 < stood < 0.09
    assert not find(page, "[aria-label='z plus']").is_enabled()
    shoot(page, f"stopped-{how}")
    find(page, "#clear").click()
    wait(lambda: not find(page, "#stopped").is_displayed())
    assert server.agent.rig.safety.stopped is None


@pytest.mark.slow
def test_dragging_chooses_the_region(page, server):
    from selenium.webdriver import ActionChains

    canvas = find(page, "#picture")
    width, height = canvas.size["width"], canvas.size["height"]
    drag = ActionChains(page, duration=20).move_to_element_with_offset(canvas, -width // 4, 0)
    drag.click_and_hold().move_by_offset(width // 2, height // 4).release().perform()
    roi = wait(lambda: server.agent.preview.view.roi)
    assert roi.column == pytest.approx(MODE.shape[1] / 4, abs=3)
    assert roi.row == pytest.approx(MODE.shape[0] / 2, abs=3)
    assert roi.width == pytest.approx(MODE.shape[1] / 2, abs=3)
    assert roi.height == pytest.approx(MODE.shape[0] / 4, abs=3)
    wait(lambda: find(page, "#roi-width").get_attribute("value") == str(roi.width))
    find(page, "#whole").click()
    wait(lambda: server.agent.preview.view.roi is None)


@pytest.mark.slow
def test_exposure_and_light_are_set(page, server):
    box = find(page, "#exposure")
    box.send_keys("\ue009a")  # Control-A
    box.send_keys("3.5\n")
    wait(lambda: server.agent.preview.view.exposure == pytest.approx(3.5e-3))
    find(page, "#double").click()
    wait(lambda: server.agent.preview.view.exposure == pytest.approx(7e-3))
    slider = find(page, "#light-lamps-led")
    slider.send_keys("\ue010")  # End: full
    wait(lambda: server.agent.light("lamps").state["led"] == 1.0)
    slider = find(page, "#light-lamps-laser")
    slider.send_keys("\ue010")
    wait(lambda: "interlock" in text(page, "message"))
    assert server.agent.light("lamps").state["laser"] == 0.0


@pytest.mark.slow
def test_a_page_without_control_can_stop_and_nothing_else(browser, server):
    size(browser, 1280)
    browser.get("about:blank")
    browser.get(f"{server.url}/#token={TOKEN}")
    wait(lambda: find(browser, ".device .jog"))
    wait(lambda: text(browser, "holder") == "nobody")
    for css in (".jog", "#exposure", "#light-lamps-led", "#half"):
        assert not find(browser, css).is_enabled(), css
    find(browser, "#estop").click()
    wait(lambda: server.agent.rig.safety.stopped is not None)


@pytest.mark.slow
def test_a_wrong_token_asks_for_another_and_stays_out_of_the_address(browser, server):
    browser.get("about:blank")
    browser.get(f"{server.url}/#token=wrong-token-of-length")
    wait(lambda: find(browser, "#login").is_displayed())
    assert "token" not in browser.current_url
    find(browser, "#token").send_keys(f"{TOKEN}\n")
    wait(lambda: text(browser, "rig") == "simulated rig")


@pytest.mark.slow
def test_a_page_that_is_left_gives_control_back(page, server):
    page.get("about:blank")
    wait(lambda: server.agent.lease.holder is None, 3)
    assert server.agent.rig.safety.stopped is None  # given back, not lost


@pytest.mark.slow
def test_the_banner_shows_when_the_server_dies(browser):
    with serving() as server:
        browser.get("about:blank")
        browser.get(f"{server.url}/#token={TOKEN}")
        wait(lambda: find(browser, "#levels tr"))
        assert not find(browser, "#lost").is_displayed()
        port = server.server_address[1]
    wait(lambda: find(browser, "#lost").is_displayed())
    shoot(browser, "lost")
    with serving(port=port):
        wait(lambda: not find(browser, "#lost").is_displayed())


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_is_wider_than_the_screen(page, server, width):
    server.agent.light("lamps").set("led", 0.2)
    home(server)
    server.agent.move("table", {"z": 0.0085})
    size(page, width, 844 if width < 600 else 900)
    wait(lambda: peak(page) > 40)
    time.sleep(1.0 if browsing.SHOTS else 0)
    shoot(page, str(width))
    wide = page.execute_script("return document.documentElement.scrollWidth")
    assert wide <= page.execute_script("return document.documentElement.clientWidth") <= width
    stop = find(page, "#estop").rect
    assert stop["height"] >= 44  # reachable with a thumb
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    top = page.execute_script("return document.querySelector('#estop').getBoundingClientRect().top")
    assert 0 <= top < page.execute_script("return innerHeight")


@pytest.mark.slow
def test_the_page_logs_no_error_and_names_its_controls(page):
    bad = [entry for entry in page.get_log("browser") if "page.js" in entry["message"]]
    assert bad == []
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('button, input, select, canvas:not([aria-hidden])')]"
        ".filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length))"
        ".map((e) => e.outerHTML)"
    )
    assert unnamed == []
