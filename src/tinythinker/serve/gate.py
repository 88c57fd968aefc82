"""What every request must pass before the application sees it: host, key, and the size of its body."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from tinythinker.serve.limits import BODY_SECONDS, MOST_BYTES, ResponseError, is_loopback

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""What the ASGI specification calls these."""

_OPEN = ("/", "/healthz", "/docs", "/openapi.json")
"""Paths that need no key: none of them asks a student."""


class Gate:
    """An application behind a gate.

    Args:
        key: what requests must bring as `Authorization: Bearer KEY`; None asks for none.
        is_local: does it listen on a loopback address? Then only requests that name one are let in, so that no web page
            reaches it under a name of its own (DNS rebinding).
    """

    def __init__(self, application: Application, *, key: str | None, is_local: bool) -> None:
        self._application, self._key, self._is_local = application, key, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as the ASGI specification says."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        try:
            headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
            self._refuse_stranger(headers, scope["path"])
            body = await _whole_body(headers, receive)
        except ResponseError as refusal:
            response = JSONResponse(refusal.body, refusal.status, refusal.headers)
            await response(scope, receive, send)
            return
        await self._application(scope, _replayed(body, receive), send)

    def _refuse_stranger(self, headers: dict[str, bytes], path: str) -> None:
        host = headers.get("host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._is_local and not is_loopback(name):
            wanted = "localhost or a loopback address"
            raise ResponseError(421, f"host: found {host!r}, expected {wanted}")
        if self._key is None or path in _OPEN:
            return
        given = headers.get("authorization", b"")
        if not hmac.compare_digest(given, f"Bearer {self._key}".encode()):
            found = "another key" if given else "none"
            wanted = "`Authorization: Bearer KEY` with the service's key"
            raise ResponseError(401, f"key: found {found}, expected {wanted}")


async def _whole_body(headers: dict[str, bytes], receive: Receive) -> bytes:
    """The body of a request. Raises ResponseError if it is too large, or too slow to arrive."""
    too_large = ResponseError(413, f"body: found more than {MOST_BYTES:,} bytes, expected fewer")
    declared = headers.get("content-length", b"0")
    if declared.isdigit() and int(declared) > MOST_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > MOST_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        wanted = f"a body within {BODY_SECONDS:g} seconds"
        raise ResponseError(408, f"body: found an unfinished one, expected {wanted}") from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, and then what else comes, such as the end of the connection."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
