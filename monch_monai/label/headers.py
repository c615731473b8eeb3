"""HTTP headers: what clients leave out is added to requests, and what a file cannot state to responses."""

from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI
from fastapi.middleware import Middleware

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

RESOLUTION = "X-MONCH-Resolution"
"""Name of the header that states by which resolution an image was segmented or a label stored."""

_stated: ContextVar[dict[str, str] | None] = ContextVar("stated", default=None)


def state(header: str, text: str) -> None:
    """Adds a header to the response to the request that is being served; elsewhere does nothing."""
    headers = _stated.get()
    if headers is not None:
        headers[header] = text.encode("ascii", "replace").decode()  # as HTTP has it


class Headers:
    """ASGI middleware for both.

    QuPath's MONAI Label extension sends JSON without a `Content-Type`, which FastAPI refuses from 0.132 on, as a
    protection of servers on the user's own machine: a web page can send such requests too. Browsers add an `Origin` to
    theirs, by which these stay refused.

    Args:
        app: what serves the requests.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = {name for name, _ in scope["headers"]}
        if not given & {b"content-type", b"origin"}:
            scope = {**scope, "headers": [*scope["headers"], (b"content-type", b"application/json")]}
        stated: dict[str, str] = {}
        _stated.set(stated)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), text.encode()) for name, text in stated.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def install(app: FastAPI) -> None:
    """Puts the middleware before all others of an app, which may run already."""
    if not any(each.cls is Headers for each in app.user_middleware):
        app.user_middleware.insert(0, Middleware(Headers))
        app.middleware_stack = app.build_middleware_stack()
