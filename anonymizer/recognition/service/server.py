"""The listening process: who may connect, for how long, and over what."""

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 64
"""Most connections at a time; further ones are closed."""
SILENCE = 10.0
"""Longest time in which a connection brings no whole head of a request [s]."""
START_WITHIN = 60.0
"""Longest time for the server to come up [s]."""
LONGEST_HEAD = 16 * 1024
"""Most bytes of a request before its body."""


class RecognitionServer:
    """Serves an application from a thread of its own.

    Parameters
    ----------
    app : ASGIApp
        As `Service.app` returns it.
    host : str, default "127.0.0.1"
        Address to listen on; any but a loopback address needs TLS.
    port : int, default 8766
        TCP port; 0 takes a free one.
    certificate, key : Path, optional
        Files (PEM) of the server's certificate with its chain, and of its private key.

    Raises
    ------
    ValueError
        If the address is not loopback and there is no certificate, if the files are unusable,
        or if the address or port cannot be listened on.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 8766,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        if certificate is None and not is_loopback(host):
            raise ValueError(
                f"host = {host}: faces would cross the network in the clear; give certificate and "
                f"key, or listen on 127.0.0.1 and use an SSH tunnel"
            )
        if (certificate is None) != (key is None):
            raise ValueError("certificate and key belong together: give both or neither")
        config = uvicorn.Config(
            app,
            http=_Patience,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # strangers who speak no HTTP fill no log
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_graceful_shutdown=5,
        )
        if certificate is not None and key is not None:
            config.load()
            config.ssl = _context(certificate, key)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ValueError(
                f"host = {host}, port = {port}: cannot be listened on ({error}); take another port"
            ) from error
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="recognition"
        )
        scheme = "http" if certificate is None else "https"
        name = f"[{host}]" if ":" in host else host
        self.url = f"{scheme}://{name}:{self._socket.getsockname()[1]}"

    def start(self) -> None:
        """Serve from now on.

        Raises
        ------
        RuntimeError
            If the server does not come up.
        """
        self._thread.start()
        deadline = time.monotonic() + START_WITHIN
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start; its log says why")
            time.sleep(0.01)

    def close(self) -> None:
        """Let the requests that are being answered end, then stop."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Patience(H11Protocol):
    """HTTP/1.1 that does not wait for a head for ever, and holds so many connections at most."""

    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._impatience = self.loop.call_later(SILENCE, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            # a head was read; the application minds the body
            self._calm()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        if self.cycle is not None:  # whose own answer would come too late
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():  # the next head may take as long as the first
            self._calm()
            self._impatience = self.loop.call_later(SILENCE, self.transport.abort)

    def _calm(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"certificate = {certificate}, key = {key}: {error}") from error
    return context
