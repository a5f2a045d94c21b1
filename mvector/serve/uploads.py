"""The body of a request: recordings and a name, as multipart or raw, in memory and never beyond its limits."""

import asyncio
from dataclasses import dataclass, field

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mvector.serve.failures import RequestError

MAX_RECORDINGS = 20
MAX_TEXT = 8192  # bytes of a text field


@dataclass
class Upload:
    """recordings: the bytes of sound files by the name of their field, in order; texts: the other fields."""

    recordings: dict[str, list[bytes]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def only(self, name: str) -> bytes:
        """The one recording of a field."""
        found = self.recordings.get(name, [])
        if len(found) != 1:
            raise RequestError("bad_field", f"expected one recording in the field {name!r}, found {len(found)}")
        return found[0]


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 40  # never to a temporary file: the size is limited, and sound stays off the disk


async def read_upload(request: Request, timeout_s: float, recording_fields: tuple[str, ...] = ("audio",)) -> Upload:
    """Reads the body; a raw one is the recording of the first of `recording_fields`, with the query for the texts.

    The size is limited by BodyLimit, around the application. Raises RequestError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            upload = await _read(request, recording_fields)
    except TimeoutError:
        raise RequestError("upload_too_slow", f"the request was not received within {timeout_s:g} s") from None
    except ClientDisconnect:  # there is nobody to answer
        raise RequestError("bad_request", "the connection was closed before the request was whole") from None
    for name, value in request.query_params.items():
        upload.texts.setdefault(name, value)
    return upload


async def _read(request: Request, recording_fields: tuple[str, ...]) -> Upload:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        data = await request.body()
        if not data:
            raise RequestError("bad_field", "there is no recording in the request")
        return Upload({recording_fields[0]: [data]})
    upload = Upload()
    parser = _InMemory(
        request.headers, request.stream(), max_files=MAX_RECORDINGS, max_fields=MAX_RECORDINGS, max_part_size=MAX_TEXT
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError("bad_request", f"the multipart body cannot be read: {error.message}") from error
    try:
        for name, value in form.multi_items():
            if isinstance(value, str):
                upload.texts[name] = value
            elif name in recording_fields:
                upload.recordings.setdefault(name, []).append(await value.read())
            else:
                raise RequestError(
                    "bad_field",
                    f"unknown field {name[:100]!r}; recordings go into: {', '.join(recording_fields)}",
                )
    finally:
        await form.close()
    return upload
