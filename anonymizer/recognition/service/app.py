"""What can be asked of the service. Everything needs a signed request (`signing`).

====  =============  ====================  =====================================================
GET   /v1/info                             the weights' name, the threshold, how many are enrolled
POST  /v1/enrol      person, message       make or replace a person's template
POST  /v1/verify     person, message       is it this person?
POST  /v1/identify   message               who is it?
POST  /v1/forget     person                remove a person's template
====  =============  ====================  =====================================================

Answers are JSON objects; a refusal is {"error": why}. No body of a request is ever logged.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from torch import Tensor

from anonymizer.protection.compensated import CompensatedRecognizer, Compensation
from anonymizer.recognition.service.requests import FaceRequest, largest_body, model_name
from anonymizer.recognition.service.signing import (
    NONCE,
    Doorkeeper,
    Overrun,
    Secrets,
    Unproven,
)
from anonymizer.recognition.service.store import TemplateStore, UnknownPerson

READ_WITHIN = 10.0
"""Longest time for a body to arrive [s]."""
WAITING = 16
"""Most requests that wait for the recogniser; further ones are refused."""
MOST_MATCHES = 5
"""People that an identification names."""

Answer = Mapping[str, Any]


class Service:
    """The server's answers.

    Parameters
    ----------
    protection : Compensation
        The weights that the clients have too.
    recognizer : CompensatedRecognizer
        Reads messages.
    store : TemplateStore
        Who is enrolled.
    keys : Secrets
        What clients have to know.
    threshold : float
        Least cosine of the same person.
    """

    def __init__(
        self,
        protection: Compensation,
        recognizer: CompensatedRecognizer,
        store: TemplateStore,
        *,
        keys: Secrets,
        threshold: float,
    ) -> None:
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold = {threshold:g}, expected a cosine, -1 to 1")
        self.protection, self.recognizer, self.store = protection, recognizer, store
        self.keys, self.threshold = keys, threshold
        self.model = model_name(protection)
        self._turn = asyncio.Semaphore(1)  # one face at a time has all the cores
        self._waiting = 0

    def app(self) -> ASGIApp:
        """Return the application for a server; run one only, for it counts who waits."""
        actions: dict[str, Callable[[FaceRequest, str], Answer]] = {
            "enrol": self._enrol,
            "verify": self._verify,
            "identify": self._identify,
            "forget": self._forget,
        }
        routes = [Route("/v1/info", self._info, methods=["GET"])]
        for name, action in actions.items():
            routes.append(Route(f"/v1/{name}", self._answering(action), methods=["POST"]))
        gate = Middleware(_Gate, door=Doorkeeper(self.keys), most=largest_body(self.protection))
        app = Starlette(
            routes=routes, middleware=[gate], exception_handlers={HTTPException: _refusal}
        )
        app.router.redirect_slashes = False  # a path is right or wrong
        return app

    async def _info(self, request: Request) -> Response:
        if await request.body():
            raise HTTPException(400, "this request has no body")
        return JSONResponse(
            {
                "model": self.model.hex(),
                "threshold": self.threshold,
                "people": await run_in_threadpool(len, self.store),
                "message_bytes": self.protection.message_size,
            }
        )

    def _answering(self, action: Callable[[FaceRequest, str], Answer]) -> Callable[..., Any]:
        """Return the handler of an action, which works in a thread of its own, in turn."""

        async def handler(request: Request) -> Response:
            try:
                asked = FaceRequest.from_bytes(await request.body())
            except ValueError as error:
                raise HTTPException(400, str(error)) from error
            if asked.model != self.model:
                raise HTTPException(409, "client and server have different weights")
            if self._waiting >= WAITING:
                raise HTTPException(429, "the recogniser is busy; ask again later")
            self._waiting += 1
            try:
                async with self._turn:
                    answer = await run_in_threadpool(action, asked, request.headers[NONCE])
            except ValueError as error:
                raise HTTPException(400, str(error)) from error
            except UnknownPerson as error:
                raise HTTPException(404, str(error)) from error
            except OverflowError as error:
                raise HTTPException(409, str(error)) from error
            finally:
                self._waiting -= 1
            return JSONResponse(dict(answer))

        return handler

    def _enrol(self, asked: FaceRequest, nonce: str) -> Answer:
        person = _somebody(asked)
        return {"people": self.store.enrol(person, self._embed(asked, nonce))}

    def _verify(self, asked: FaceRequest, nonce: str) -> Answer:
        person = _somebody(asked)
        cosine = self.store.verify(person, self._embed(asked, nonce))
        return {"cosine": cosine, "same": cosine >= self.threshold}

    def _identify(self, asked: FaceRequest, nonce: str) -> Answer:
        if asked.person:
            raise ValueError("who it is, is asked: leave the name out")
        found = self.store.identify(self._embed(asked, nonce), MOST_MATCHES)
        return {
            "matches": [
                {**asdict(match), "same": match.cosine >= self.threshold} for match in found
            ]
        }

    def _forget(self, asked: FaceRequest, nonce: str) -> Answer:
        if asked.message:
            raise ValueError("to forget somebody needs a name and no face")
        self.store.forget(_somebody(asked))
        return {"people": len(self.store)}

    @torch.no_grad()
    def _embed(self, asked: FaceRequest, nonce: str) -> Tensor:
        """Return the unit vector (1, D) of the face in a request."""
        hidden, taps = self.protection.decode(asked.message, self.keys.features, features_of(nonce))
        found: Tensor = self.recognizer(hidden, taps)
        return found


def features_of(nonce: str) -> str:
    """Return the purpose for which a request's features are shuffled: no two requests share it."""
    return f"features of request {nonce}"


class _Gate:
    """Lets through requests that are proven, short and quick; the rest reach nothing behind it."""

    def __init__(self, app: ASGIApp, *, door: Doorkeeper, most: int) -> None:
        self._app, self._door, self._most = app, door, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await self._admit(scope, receive)
        except HTTPException as refused:
            await _json_error(refused, {"Connection": "close"})(scope, receive, send)
            return
        given = False

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, once, send)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        headers = Headers(scope=scope)
        try:
            self._door.look(headers)
            lengths = headers.getlist("content-length")
            if "transfer-encoding" in headers or len(lengths) > 1:
                raise HTTPException(411, "one Content-Length is needed")
            body = await self._body(int(lengths[0]) if lengths else 0, receive)
            target = scope["path"] + ("?" if scope["query_string"] else "")  # none has a query
            self._door.admit(scope["method"], target, headers, body)
        except Unproven as error:
            raise HTTPException(401, str(error)) from error
        except Overrun as error:
            raise HTTPException(429, str(error)) from error
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not come within {READ_WITHIN:g} s") from error
        return body

    async def _body(self, length: int, receive: Receive) -> bytes:
        if length > self._most:
            raise HTTPException(413, f"a body has at most {self._most} bytes")
        parts: list[bytes] = []
        async with asyncio.timeout(READ_WITHIN):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise HTTPException(400, "the body ended early")
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    return b"".join(parts)


def _somebody(asked: FaceRequest) -> str:
    if not asked.person:
        raise ValueError("a name is needed")
    return asked.person


def _json_error(error: HTTPException, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        {"error": error.detail}, error.status_code, {**(error.headers or {}), **(headers or {})}
    )


async def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _json_error(error)
