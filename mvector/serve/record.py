"""The outermost layer: every request is counted, timed and logged; nothing that goes wrong inside gets out as it is."""

import logging
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvector.serve.failures import RequestError
from mvector.serve.logs import described, logger

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
QUIET = ("/health/live", "/health/ready", "/metrics")  # asked every few seconds by machines


class RequestRecord:
    """Adds the headers of security and an X-Request-Id, which the log line has too."""

    def __init__(self, app: ASGIApp, state: Any):
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        metrics = getattr(getattr(self.state, "service", None), "metrics", None)
        started, identifier, status = time.perf_counter(), secrets.token_hex(8), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {name.lower() for name, _ in message["headers"]}
                ours = {**HEADERS, "X-Request-Id": identifier}
                if b"cache-control" not in names:
                    ours["Cache-Control"] = "no-store"
                message["headers"] = [*message["headers"], *((k.lower().encode(), v.encode()) for k, v in ours.items())]
            await send(message)

        if metrics is not None:
            metrics.in_flight.inc()
        failure: dict[str, Any] = {}
        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            failure = described(error)
            if status == 0:
                await RequestError("internal", f"a fault of the service; its log has it as {identifier}").send(noted)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None) or "other"
            if metrics is not None:
                metrics.in_flight.dec()
                metrics.requests.labels(_method(scope), route, str(status)).inc()
                metrics.seconds.labels(route).observe(seconds)
            fields = {
                "id": identifier,
                "method": _method(scope),
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "key": scope.get("state", {}).get("key"),
                **failure,
            }
            level = logging.ERROR if failure else logging.DEBUG if route in QUIET else logging.INFO
            logger.log(level, "request", extra={"fields": fields})


def _method(scope: Scope) -> str:
    """Methods are free text in HTTP; a label must not be."""
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
