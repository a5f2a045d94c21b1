"""How a request fails: a status and JSON {"error": kind, "message": sentence}; never a path, never a traceback."""

import json
from collections.abc import Mapping
from typing import Any

from mvector.cli.language import in_chinese
from mvector.errors import AudioError, MissingPackageError, NoSpeechError, TooShortError

STATUS_OF_KIND = {
    "bad_request": 400,
    "key_missing": 401,
    "key_unknown": 401,
    "scope_missing": 403,
    "origin_refused": 403,
    "person_unknown": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "upload_too_slow": 408,
    "too_large": 413,
    "too_long": 413,
    "unsupported_audio": 415,
    "unusable_audio": 422,
    "too_short": 422,
    "no_speech": 422,
    "spoofing_suspected": 422,
    "bad_field": 422,
    "too_many_requests": 429,
    "internal": 500,
    "busy": 503,
    "not_ready": 503,
    "timeout": 503,
}


class RequestError(Exception):
    """Ends a request. kind: a key of STATUS_OF_KIND; message: a sentence for whoever wrote the client."""

    def __init__(self, kind: str, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.kind, self.message = kind, message
        self.status = STATUS_OF_KIND[kind]
        self.headers = dict(headers or {})

    @property
    def content(self) -> dict[str, str]:
        return {"error": self.kind, "message": self.message}

    async def send(self, send: Any) -> None:
        """As an ASGI response, for the layers outside of the application."""
        body = json.dumps(self.content).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})


def of_audio_error(error: AudioError) -> RequestError:
    """What the library says of a decoded recording, which it knows as an array."""
    kind = {TooShortError: "too_short", NoSpeechError: "no_speech"}.get(type(error), "unusable_audio")
    return RequestError(kind, said_of_recording(str(error)))


def of_missing_package(error: MissingPackageError) -> RequestError:
    return RequestError("unsupported_audio", "this service cannot read sound of this kind; send WAV, FLAC, OGG or MP3")


def said_of_recording(text: str, chinese: bool = False) -> str:
    """A sentence of the library about an array, said of the recording that was sent."""
    for name in ("the given array", "the given bytes", "the given file object"):
        text = text.replace(name, "the recording")
    if chinese:
        text = in_chinese(text)
        text = text.replace("the recording：", "录音：", 1) if text.startswith("the recording：") else text
    return text
