"""What of the OpenAPI document FastAPI cannot tell by itself: bodies that a route reads on its own, and failures."""

from typing import Any

from mvector.serve.answers import Failure

Responses = dict[int | str, dict[str, Any]]

DENIALS: Responses = {
    400: {"model": Failure, "description": "The request cannot be understood"},
    401: {"model": Failure, "description": "An API key is missing or not known"},
    403: {"model": Failure, "description": "The key may not do this, or the request comes from another page"},
    429: {"model": Failure, "description": "Too many requests; Retry-After says when to ask again"},
    503: {"model": Failure, "description": "Too much to do, starting or stopping; see Retry-After"},
}
BAD_FIELD: Responses = {422: {"model": Failure, "description": "A field cannot be used"}}
UNKNOWN: Responses = {404: {"model": Failure, "description": "Nobody has this name"}}
SOUND: Responses = {
    408: {"model": Failure, "description": "The request came too slowly"},
    413: {"model": Failure, "description": "The request is too large, or a recording too long"},
    415: {"model": Failure, "description": "It is not sound that can be read"},
    422: {"model": Failure, "description": "A field or a recording cannot be used"},
}
_BINARY = {"type": "string", "format": "binary"}


def body(*fields: str, several: bool = False) -> dict[str, Any]:
    """The request body of a route that takes these form fields; all but `name` are recordings.

    several: a recording's field may be repeated. A route with one recording takes it as the whole body, too.
    """
    sound = {"description": "A sound file in any format the decoder reads", **_BINARY}
    described: dict[str, Any] = dict.fromkeys(fields, sound)
    if several:
        described["audio"] = {"type": "array", "items": _BINARY, "minItems": 1, "description": "Sound files"}
    if "name" in fields:
        described["name"] = {"type": "string", "minLength": 1, "maxLength": 300, "example": "贝拉"}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": {"type": "object", "required": list(fields), "properties": described}}
    }
    if "audio" in fields:
        content |= {kind: {"schema": _BINARY} for kind in ("audio/*", "application/octet-stream")}
    return {"requestBody": {"required": True, "content": content}}
