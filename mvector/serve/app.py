"""The application: its layers, its life, and what is not about voices (health, metrics, the page)."""

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from mvector import __version__
from mvector.cli import translate
from mvector.errors import AudioError, MVectorError
from mvector.serve import answers, api
from mvector.serve.access import ServiceOf, needs
from mvector.serve.failures import RequestError, of_audio_error
from mvector.serve.limits import BodyLimit, OriginGuard
from mvector.serve.logs import described, logger
from mvector.serve.metrics import CONTENT_TYPE
from mvector.serve.openapi import DENIALS
from mvector.serve.record import RequestRecord
from mvector.serve.service import Service
from mvector.serve.settings import Settings

PAGE = Path(__file__).with_name("page")
PAGE_CACHE = {"Cache-Control": "no-cache"}  # asked again each time, answered with 304 while nothing changed

DESCRIPTION = """Speaker recognition: enroll voices, then ask whose voice a recording has.

Recordings are sent as `multipart/form-data`, or one of them alone as the body. Any format is taken that the decoder
reads (WAV, FLAC, OGG Vorbis and Opus, MP3; with PyAV also M4A and WebM). A failure is `{"error", "message"}`.

A voice tells whose voice it is, not that somebody is speaking now: without a spoofing detector a replayed recording or
a cloned voice is recognised as the person's.
"""


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. It opens the model and the store when it is started; MVectorError where it cannot."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        try:
            service = app.state.service = await anyio.to_thread.run_sync(Service, settings)
        except MVectorError as error:
            if hasattr(app.state, "tell"):
                app.state.tell(error)
            raise
        logger.info("ready")
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(service.close)
            logger.info("stopped")

    # The documentation pages of FastAPI load scripts from elsewhere; /openapi.json goes into any viewer.
    app = FastAPI(
        title="mvector", version=__version__, description=DESCRIPTION, lifespan=life, docs_url=None, redoc_url=None
    )
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(MVectorError, _on_library_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.include_router(api.router)
    _add_operations(app)
    _add_page(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(OriginGuard, allowed=settings.cors_origins, local_only=not settings.keys)
    app.add_middleware(RequestRecord, state=app.state)
    return app


def from_environment() -> FastAPI:
    """For uvicorn's processes, where a mistake of the person who starts them is a sentence on the terminal."""
    app = create_app(Settings.from_environment())
    app.state.tell = lambda error: print(f"{translate('error')}: {translate(str(error))}", file=sys.stderr, flush=True)
    return app


def _add_operations(app: FastAPI) -> None:
    @app.get("/health/live", tags=["operation"], summary="Is the process alive?")
    async def live() -> answers.Health:
        return answers.Health(status="alive")

    @app.get(
        "/health/ready",
        tags=["operation"],
        summary="Can it answer?",
        responses={503: {"model": answers.Failure, "description": "Starting or stopping"}},
    )
    async def ready(service: ServiceOf) -> answers.Health:
        await service.compute(service.predictor.store.count)
        return answers.Health(status="ready")

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Counters for Prometheus",
        dependencies=[needs("metrics")],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **DENIALS},
    )
    async def metrics(service: ServiceOf) -> Response:
        people = await service.compute(service.predictor.store.count)
        return Response(await anyio.to_thread.run_sync(service.metrics.text, people), media_type=CONTENT_TYPE)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=PAGE_CACHE)

    app.mount("/page", _PageFiles(directory=PAGE))


class _PageFiles(StaticFiles):
    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(PAGE_CACHE)
        return response


async def _on_request_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    if (service := getattr(request.app.state, "service", None)) is not None:
        service.metrics.refusals.labels(error.kind).inc()
    return JSONResponse(error.content, error.status, error.headers)


async def _on_library_error(request: Request, error: Exception) -> JSONResponse:
    """What the library says of a recording is for its sender; what it says of a store or a model is not."""
    if isinstance(error, AudioError):
        return await _on_request_error(request, of_audio_error(error))
    logger.error("library error", extra={"fields": described(error)})
    return await _on_request_error(
        request, RequestError("internal", "the service cannot do this now; its log says why")
    )


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kinds = {
        404: ("not_found", "there is nothing at this address"),
        405: ("method_not_allowed", "not with this method"),
    }
    kind, message = kinds.get(error.status_code, ("bad_request", "the request cannot be understood"))
    return await _on_request_error(request, RequestError(kind, message, error.headers))


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return await _on_request_error(request, RequestError("bad_field", f"{where}: {first['msg']}"))
