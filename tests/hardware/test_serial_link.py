"""A serial port behind a pseudo-terminal: lines, limits, owners, and what it calls its failures."""

import contextlib
import subprocess
import sys
import threading
import time

import pytest

from hardware.errors import (
    DeviceBusy,
    DeviceDisconnected,
    DeviceNotFound,
    DeviceTimeout,
    ProtocolError,
)
from hardware.serial_link import RESYNC_WITHIN, SerialLink
from tests.hardware.devices import ScriptedDevice


@pytest.fixture
def device():
    with ScriptedDevice({b"who": b"me\r\n", b"two": b"one\ntwo\n"}) as made:
        yield made


@pytest.fixture
def link(device):
    with contextlib.closing(SerialLink(device.path, longest=64)) as made:
        yield made


def test_an_answer_is_a_line_without_its_end(link):
    assert link.ask(b"who\n", 1.0) == b"me"


def test_lines_that_came_together_are_read_one_by_one(link):
    assert link.ask(b"two\n", 1.0) == b"one"
    assert link.read_line(0.0) == b"two"
    assert link.read_line(0.0) is None


def test_a_part_of_a_line_is_no_line_and_is_not_lost(link, device):
    device.send(b"half ")
    assert link.read_line(0.05) is None
    device.send(b"a line\n")
    assert link.read_line(1.0) == b"half a line"


def test_silence_is_told_with_what_was_heard_before(link, device):
    link.ask(b"who\n", 1.0)
    device.send(b"unfini")
    with pytest.raises(DeviceTimeout, match=r"(?s)what\?.*me.*unfini"):
        link.ask(b"what?\n", 0.1)


def test_a_request_is_sent_once(link, device):
    with pytest.raises(DeviceTimeout):
        link.ask(b"what?\n", 0.1)
    assert device.received == b"what?\n"


def test_a_line_without_end_is_refused_and_forgotten(link, device):
    device.send(b"x" * 65)
    with pytest.raises(ProtocolError, match="xxx"):
        link.read_line(1.0)
    assert link.ask(b"who\n", 1.0) == b"me"


def test_resync_drops_garbage_and_finds_the_next_answer(link, device):
    device.send(b"\xff\x00 half a li")
    begun = time.monotonic()
    link.resync()
    assert time.monotonic() - begun < RESYNC_WITHIN
    assert link.ask(b"who\n", 1.0) == b"me"


def test_a_device_that_never_pauses_is_given_up(link, device):
    end = threading.Event()

    def babble():
        while not end.wait(0.01):
            device.send(b"babble")

    thread = threading.Thread(target=babble)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(ProtocolError, match="baud rate"):
        link.resync()
    assert RESYNC_WITHIN <= time.monotonic() - begun < RESYNC_WITHIN + 0.25
    end.set()
    thread.join()


def test_an_unplugged_port_is_disconnected_for_reads_and_writes(link, device):
    device.unplug()
    with pytest.raises(DeviceDisconnected, match="cable"):
        link.read_line(1.0)
    with pytest.raises(DeviceDisconnected):
        link.write(b"who\n")


def test_unplugging_ends_a_wait_at_once(link, device):
    timer = threading.Timer(0.1, device.unplug)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(DeviceDisconnected):
        link.read_line(5.0)
    assert time.monotonic() - begun < 0.1 + 0.25
    timer.join()


def test_urgent_bytes_pass_a_conversation(link, device):
    with ThreadThatAsks(link):
        begun = time.monotonic()
        link.urgent(b"!")
        assert time.monotonic() - begun < 0.05
    assert device.received == b"what?\n!"


def test_closing_ends_a_wait_in_another_thread(link):
    with ThreadThatAsks(link) as asking:
        link.close()
        link.close()
    assert isinstance(asking.error, DeviceDisconnected)
    with pytest.raises(DeviceDisconnected, match="is closed"):
        link.urgent(b"!")


class ThreadThatAsks:
    def __init__(self, link):
        self.error, self._link = None, link
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self._link.ask(b"what?\n", 0.4)
        except (DeviceTimeout, DeviceDisconnected) as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        time.sleep(0.1)
        return self

    def __exit__(self, *exc_info):
        self._thread.join()


def test_a_second_owner_is_told_who_the_first_is(link, device):
    with pytest.raises(DeviceBusy, match=r"owned by process \d+ on \w+"):
        SerialLink(device.path)


def test_an_owner_that_was_killed_owns_nothing(device):
    code = (
        "import sys, time; from hardware.serial_link import SerialLink\n"
        "link = SerialLink(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, device.path], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout.readline() == b"open\n"
        with pytest.raises(DeviceBusy, match=f"process {owner.pid} "):
            SerialLink(device.path)
        owner.kill()
        owner.wait()
    SerialLink(device.path).close()


def test_another_name_of_the_port_has_the_same_owner(link, device, tmp_path):
    (tmp_path / "by-id").symlink_to(device.path)
    with pytest.raises(DeviceBusy, match="owned by process"):
        SerialLink(str(tmp_path / "by-id"))


def test_a_closed_port_can_be_opened_again(link, device):
    link.close()
    with contextlib.closing(SerialLink(device.path)) as again:
        assert again.ask(b"who\n", 1.0) == b"me"


def test_a_port_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(DeviceNotFound, match="cannot be opened"):
        SerialLink(str(tmp_path / "ttyUSB0"))
    with pytest.raises(DeviceNotFound, match="cannot be opened"):
        SerialLink("socket://127.0.0.1:1")


def test_an_url_is_a_port():
    with contextlib.closing(SerialLink("loop://")) as link:
        assert link.ask(b"heard\n", 1.0) == b"heard"


def test_the_transcript_has_both_directions(device, tmp_path):
    file = tmp_path / "talk.txt"
    with contextlib.closing(SerialLink(device.path, transcript=file)) as link:
        link.ask(b"who\n", 1.0)
        assert [line.split(" ", 1)[1] for line in link.history] == ["> b'who\\n'", "< b'me\\r'"]
    assert file.read_text().count("\n") == 2


def test_answers_reach_the_thread_that_asked(device):
    """Without the lock, one thread takes the line that another waits for."""
    numbers = [b"%d" % number for number in range(200)]
    device.answers |= {number: b"=" + number + b"\n" for number in numbers}
    wrong = []
    with contextlib.closing(SerialLink(device.path)) as link:

        def ask(mine):
            for number in mine:
                answer = link.ask(number + b"\n", 2.0)
                if answer != b"=" + number:
                    wrong.append((number, answer))

        threads = [threading.Thread(target=ask, args=(numbers[k::4],)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
