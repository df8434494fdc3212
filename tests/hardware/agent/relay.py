"""A network between client and agent that a test can cut, spoil and silence."""

import socket
import threading
from contextlib import contextmanager, suppress


class Relay:
    """Passes bytes on to `target`; what it does to answers is set by its attributes.

    Attributes
    ----------
    cut_after : int or None
        The next connection whose answer is this long is cut there, once [bytes].
    flip_at : int or None
        In the next answer that long this byte is changed, once.
    dead : bool
        Connections are ended at once.
    connections : int
        How many there were.
    """

    def __init__(self, target):
        self.target = target
        self.cut_after = self.flip_at = None
        self.dead = False
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                link = self._socket.accept()[0]
            except OSError:
                return
            self.connections += 1
            if self.dead:
                link.close()
            else:
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        with link, socket.create_connection(self.target) as far:
            threading.Thread(target=self._forward, args=(link, far), daemon=True).start()
            self._answer(link, far)
            for end in (link, far):  # closing alone does not end a connection that another reads
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _answer(self, link, far):
        passed = 0
        with suppress(OSError):
            while part := bytearray(far.recv(4096)):
                if self.flip_at is not None and passed <= self.flip_at < passed + len(part):
                    part[self.flip_at - passed] ^= 1
                    self.flip_at = None
                if self.cut_after is not None and passed + len(part) > self.cut_after:
                    self.cut_after = None
                    return
                passed += len(part)
                link.sendall(part)

    @staticmethod
    def _forward(link, far):
        with suppress(OSError):
            while part := link.recv(4096):
                far.sendall(part)
        with suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def close(self):
        self._socket.close()


@contextmanager
def relayed(server):
    relay = Relay(server.server_address[:2])
    try:
        yield relay
    finally:
        relay.close()
