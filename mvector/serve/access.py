"""Who may ask what, and how often."""

import math
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mvector.serve.failures import RequestError
from mvector.serve.service import Service

_bearer = HTTPBearer(
    auto_error=False, description="An API key: `Authorization: Bearer mv_…`. Not needed where the service has no keys."
)


def the_service(request: Request) -> Service:
    service: Service | None = getattr(request.app.state, "service", None)
    if service is None or not service.ready:
        raise RequestError("not_ready", "the service is starting or stopping", {"Retry-After": "1"})
    return service


ServiceOf = Annotated[Service, Depends(the_service)]


def needs(scope: str) -> Any:
    """The dependency of a route that takes a key with `scope`. It is decided before the body is read."""
    return Depends(_check(scope))


def _check(scope: str) -> Callable[..., Coroutine[Any, Any, None]]:
    async def check(
        request: Request,
        service: ServiceOf,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        key = None if credentials is None else service.keys.find(credentials.credentials)
        # Wrong keys count for the address they come from, so that guessing is slow.
        who = f"address {request.client.host if request.client else '?'}" if key is None else f"key {key.name}"
        wait_s = await anyio.to_thread.run_sync(service.rates.take, who)
        if wait_s > 0.0:
            raise RequestError(
                "too_many_requests",
                f"more than {service.rates.per_minute} requests a minute; ask again in {math.ceil(wait_s)} s",
                {"Retry-After": str(math.ceil(wait_s))},
            )
        if not len(service.keys):
            return
        challenge = {"WWW-Authenticate": "Bearer"}
        if key is None and credentials is None:
            raise RequestError("key_missing", "an API key is needed: Authorization: Bearer mv_…", challenge)
        if key is None:
            raise RequestError("key_unknown", "this API key is not known", challenge)
        request.state.key = key.name
        if scope not in key.scopes:
            raise RequestError("scope_missing", f"this API key may not {scope}")

    return check
