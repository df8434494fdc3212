"""Pictures on a screen: what the page must say before a picture counts as shown."""

import contextlib
import hashlib
import http.client
import threading
import time

import numpy as np
import pytest

from hardware.clock import SimulatedClock
from hardware.errors import DeviceDisconnected, DeviceNotFound, DeviceTimeout, HardwareError
from hardware.modulators.display import RELOAD
from hardware.modulators.screen import Screen
from tests.hardware.modulators.fake_page import FakePage

SHAPE = (5, 7)


def picture(seed=0, planes=()):
    return np.random.default_rng(seed).integers(0, 256, (*SHAPE, *planes), dtype=np.uint8)


@pytest.fixture
def screen():
    options = {"port": 0, "settle": 0.0, "timeout": 10.0, "patience": 0.2}
    with Screen(SHAPE[1], SHAPE[0], **options) as made:
        yield made


@pytest.fixture
def page(screen):
    with FakePage(screen) as made:
        yield made


@pytest.mark.parametrize("planes", [(), (3,)])
def test_the_page_is_given_the_picture_and_the_record_its_digest(screen, page, planes):
    wanted = picture(planes=planes)
    digest = screen.show(wanted)
    np.testing.assert_array_equal(page.shown[1], wanted)
    assert digest == screen.shown
    assert digest == hashlib.sha256(f"{wanted.shape}".encode() + wanted.tobytes()).hexdigest()
    assert screen.show(picture(1, planes)) != digest
    assert screen.show(wanted) == digest
    assert len(page.shown) == 3  # shown again all the same


def test_show_returns_after_the_settle_time():
    clock = SimulatedClock()
    with Screen(7, 5, port=0, settle=0.3, clock=clock) as screen, FakePage(screen):
        screen.present(picture())
        assert clock.now() == 0
        screen.show(picture())
        assert clock.now() == pytest.approx(0.3)


def test_a_report_on_the_picture_before_counts_for_nothing(screen, page):
    screen.show(picture(0))
    page.late = True
    screen.show(picture(1))
    assert page.stale == 1
    page.mute = True
    with contextlib.closing(page.connection()) as link:
        threading.Timer(
            0.1, page.report, (link, 2, 0)
        ).start()  # a page that still shows the old one
        screen.timeout = 0.4
        with pytest.raises(DeviceTimeout):
            screen.show(picture(2))
    assert page.stale == 2
    assert screen.shown == ""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"ratio": 1.25}, r"scaled to 1\.25.*100 %"),
        ({"size": (5, 6)}, r"6 x 5 pixels, the panel 7 x 5.*F11"),
        ({"hidden": True}, "not visible.*front"),
        ({"altered": True}, "other pixels.*fingerprinting"),
    ],
)
def test_a_page_that_cannot_show_pixels_exactly_is_refused(screen, page, fault, message):
    screen.show(picture())
    for name, value in fault.items():
        setattr(page, name, value)
    with pytest.raises(HardwareError, match=message):
        screen.show(picture(1))
    assert screen.shown == ""


def test_without_a_page_the_wait_ends_with_what_to_do(screen):
    begun = time.monotonic()
    with pytest.raises(DeviceTimeout, match="open the page"):
        screen.show(picture())
    assert 0.2 <= time.monotonic() - begun < 3.0  # patience, not the timeout behind it


def test_somebody_who_opens_the_page_in_time_is_waited_for(screen):
    screen.patience = 5.0
    opened = []
    opener = threading.Timer(0.3, lambda: opened.append(FakePage(screen)))
    opener.start()
    assert screen.show(picture())
    opener.join()
    opened[0].leave()


def test_a_page_that_says_nothing_is_a_timeout_with_its_last_deed(screen, page):
    page.mute, screen.timeout = True, 0.4
    with pytest.raises(DeviceTimeout, match=r"picture 1.*waits for what follows picture 1"):
        screen.show(picture())


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_page_that_went_away_is_noticed_soon(screen, page, when):
    screen.timeout = 30.0
    screen.show(picture())
    page.mute = True
    leaving = threading.Timer(0.0 if when == "before" else 0.2, page.leave)
    leaving.start()
    if when == "before":
        leaving.join()
    begun = time.monotonic()
    with pytest.raises(DeviceDisconnected, match="closed"):
        screen.show(picture(1))
    assert time.monotonic() - begun < RELOAD + 1.5
    assert screen.shown == ""


def test_a_page_that_reloads_shows_the_picture(screen, page):
    screen.timeout = 5.0
    screen.show(picture())
    page.leave()
    again = []
    opener = threading.Timer(0.3, lambda: again.append(FakePage(screen)))
    opener.start()
    screen.show(picture(1))
    opener.join()
    np.testing.assert_array_equal(again[0].shown[2], picture(1))
    again[0].leave()


def test_of_two_pages_the_one_opened_last_shows(screen, page):
    screen.show(picture())
    with FakePage(screen) as second:
        screen.show(picture(1))
        np.testing.assert_array_equal(second.shown[2], picture(1))
        page._thread.join(2)  # it gives up
        assert 2 not in page.shown
        assert page.refused == 409
        with contextlib.closing(page.connection()) as link:
            assert page.ask(link, "GET", "/panel").status == 409  # and does not come back
        page.leave()  # and that the other one leaves is no loss
        screen.show(picture(2))


def test_the_end_is_black(screen, page):
    screen.show(np.full(SHAPE, 200, np.uint8))
    screen.close()
    assert len(page.shown) == 2
    assert not page.shown[2].any()
    screen.close()
    with pytest.raises(HardwareError, match="closed"):
        screen.show(picture())


def test_a_show_that_waits_is_ended_by_close(screen):
    screen.patience = 60.0
    threading.Timer(0.2, screen.close).start()
    begun = time.monotonic()
    with pytest.raises(DeviceDisconnected, match="closed meanwhile"):
        screen.show(picture())
    assert time.monotonic() - begun < 2.0


def test_the_end_does_not_wait_for_a_page_that_is_not_there(screen):
    begun = time.monotonic()
    screen.close()
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (np.zeros((7, 5), np.uint8), ValueError),
        (np.zeros((*SHAPE, 4), np.uint8), ValueError),
        (np.zeros(SHAPE), TypeError),
    ],
)
def test_what_is_no_picture_of_the_panel_is_refused(screen, wrong, error):
    with pytest.raises(error, match="picture"):
        screen.show(wrong)


@pytest.mark.parametrize(
    "options", [{"columns": 1}, {"settle": 60.0}, {"timeout": 0.0}, {"patience": -1.0}]
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Screen(**({"columns": 7, "rows": 5, "port": 0} | options))


def test_strangers_reach_nothing_but_the_empty_page(screen, monkeypatch):
    token = screen.address.partition("#token=")[2]
    assert len(token) >= 32
    port = screen._server.server_address[1]
    own, query = f"127.0.0.1:{port}", f"page={'a' * 16}"

    def status(path, method="GET", **headers):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as link:
            link.putrequest(method, path, skip_host=True)
            for name, value in {"Host": own, **headers}.items():
                link.putheader(name, value)
            link.endheaders()
            return link.getresponse().status

    assert status("/") == status("/display.js") == status("/display.css") == 200
    good = {"Authorization": f"Bearer {token}"}
    assert status(f"/panel?{query}", **good) == 200
    for path in ("/panel", "/next", "/shown"):
        assert status(f"{path}?{query}") == 401
        assert status(f"{path}?{query}", Authorization=f"Bearer {token[:-1]}x") == 401
        assert status(f"{path}?{query}", **good, Host="evil.example") == 403
        assert status(f"{path}?{query}", **good, Origin="http://evil.example") == 403
    assert status(f"/next?{query}", **good) == 400  # no number
    assert status("/panel?page=../x", **good) == 400
    assert status(f"/../screen.py?{query}", **good) == 404
    assert status(f"/shown?{query}", "POST", **good, **{"Content-Length": "99999"}) == 400
    assert status(f"/panel?{query}", "PUT", **good) == 405
    assert status(f"/panel?{query}&a=1&b=1&c=1&d=1", **good) == 400


@pytest.mark.parametrize("body", ["[]", "{}", "null", "{", '{"number": 1e999}', "[" * 900])
def test_reports_that_are_none_change_nothing(screen, page, body):
    link = http.client.HTTPConnection(page.host, page.port, timeout=5)
    with contextlib.closing(link):
        headers = {"Authorization": f"Bearer {page.token}"}
        link.request("POST", f"/shown?page={page.name}", body, headers)
        assert link.getresponse().status == 400
    assert screen.show(picture())


def test_a_token_of_ones_own_stays_out_of_the_address(tmp_path):
    key = tmp_path / "token"
    key.write_text("a-token-of-my-own-choice\n")
    key.chmod(0o600)
    with Screen(7, 5, port=0, settle=0, key_file=key, patience=1.0) as screen:
        assert "#" not in screen.address
        with FakePage(screen, token="a-token-of-my-own-choice"):
            assert screen.show(picture())


def test_other_machines_need_a_token_that_was_chosen(monkeypatch):
    monkeypatch.delenv("VEILENS_TOKEN", raising=False)
    with pytest.raises(ValueError, match=r"host = 0\.0\.0\.0.*token"):
        Screen(7, 5, host="0.0.0.0", port=0)


def test_a_port_that_is_taken_is_named(screen):
    port = screen._server.server_address[1]
    with pytest.raises(DeviceNotFound, match=f"port {port}"):
        Screen(7, 5, port=port)


def test_a_crowd_of_connections_does_not_lock_the_page_out(screen, page):
    links = [http.client.HTTPConnection(page.host, page.port, timeout=5) for _ in range(60)]
    try:
        for link in links:
            link.connect()
        assert screen.show(picture())
    finally:
        for link in links:
            link.close()


def test_the_panel_tells_the_page_its_size(screen):
    with FakePage(screen) as page:
        assert page.panel == SHAPE
