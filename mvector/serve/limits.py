"""What is decided about a request before anything of it is read: where it comes from, and how large it is."""

import asyncio
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvector.serve.failures import RequestError
from mvector.serve.settings import LOOPBACK

DISCARDED_S = 2.0  # so long a body that is too large is read and dropped, so that its sender hears the answer
FORWARDED = ("x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip")


class OriginGuard:
    """Refuses what a browser sends for another page, and, where there are no keys, all that is not this computer's.

    Leaving CORS off keeps other pages from reading answers, not from sending forms, which could enroll a person.
    Without keys the service listens on this computer only; a name that a stranger's DNS points here, or a proxy in
    front of it, would open it to others, and is refused.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...], local_only: bool):
        self.app, self.allowed, self.local_only = app, allowed, local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refused := self._refusal(Headers(scope=scope))):
            await RequestError("origin_refused", refused).send(send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if self.local_only:
            if any(name in headers for name in FORWARDED):
                return "the service has no keys and answers this computer only; behind a proxy it needs keys"
            if _hostname(host) not in LOOPBACK:
                return "the service has no keys and answers only as localhost"
        origin = headers.get("origin")
        if origin is None or origin in self.allowed:
            return None
        if origin != "null" and urlsplit(origin).netloc.lower() in (host.lower(), headers.get("x-forwarded-host")):
            return None
        return "requests from pages of other addresses are off; start the service with --cors_origin to allow one"


class BodyLimit:
    """Refuses a body that says it is larger than `limit` bytes, and ends one that becomes larger."""

    def __init__(self, app: ASGIApp, limit: int):
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, received = Headers(scope=scope), 0
        too_large = RequestError("too_large", f"the request is larger than {self.limit / 2**20:g} MiB")

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                await _discard(receive, message)
                raise too_large
            return message

        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.limit:
            if "expect" not in headers:  # who asks before sending has not sent anything
                await _discard(receive, {"more_body": True})
            await too_large.send(send)
        else:
            await self.app(scope, counted, send)


async def _discard(receive: Receive, message: Message) -> None:
    try:
        async with asyncio.timeout(DISCARDED_S):
            while message.get("more_body") and message.get("type") != "http.disconnect":
                message = await receive()
    except TimeoutError:
        return


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
