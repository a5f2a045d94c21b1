"""The routes about voices."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from mvector import __version__
from mvector.errors import StoreError
from mvector.predict import MVectorPredictor
from mvector.recognition import Recognition, Registration, Verification
from mvector.serve import answers
from mvector.serve.access import ServiceOf, needs
from mvector.serve.failures import RequestError, said_of_recording
from mvector.serve.openapi import BAD_FIELD, DENIALS, SOUND, UNKNOWN, body
from mvector.serve.service import Heard, Service
from mvector.serve.uploads import Upload, read_upload
from mvector.store.names import MAX_LENGTH, clean_name

router = APIRouter(prefix="/v1", tags=["voices"])
ABOUT_NAME = (
    "For a recording sent as the body; in a form the field `name` is better, because proxies log addresses with their "
    "queries"
)
Name = Annotated[str | None, Query(min_length=1, max_length=MAX_LENGTH, description=ABOUT_NAME)]


@router.post(
    "/enroll",
    summary="Enroll recordings of a person",
    dependencies=[needs("enroll")],
    responses={**DENIALS, **SOUND},
    openapi_extra=body("name", "audio", several=True),
)
async def enroll(request: Request, service: ServiceOf, name: Name = None) -> answers.Enrolled:
    """One recording or several; each should have five seconds of speech or more. All are enrolled, or none."""
    async with service.turn():
        upload = await read_upload(request, service.settings.timeout_s)
        person, data = person_of(upload), upload.recordings.get("audio", [])
        if not data:
            raise RequestError("bad_field", "expected a recording in the field 'audio'")
        heard = [await service.hear(each) for each in data]
        registrations = await service.compute(register, service.predictor, person, heard)
    return answers.Enrolled(
        name=person,
        utterances=registrations[-1].utterances,
        warnings=together(request, *heard, *registrations),
        spoofing_scores=[each.spoofing_score for each in heard],
    )


def register(predictor: MVectorPredictor, name: str, recordings: list[Heard]) -> list[Registration]:
    """Listens to all before it enrolls the first, so that a bad one leaves nothing behind."""
    recogniser, rate = predictor.recogniser, predictor.sample_rate_hz
    heard = [recogniser.hear_for_enrollment(each.waveform, rate, predictor.embedder) for each in recordings]
    return [recogniser.enroll(name, each) for each in heard]


@router.post(
    "/verify",
    summary="Is it this person?",
    dependencies=[needs("verify")],
    responses={**DENIALS, **UNKNOWN, **SOUND},
    openapi_extra=body("name", "audio"),
)
async def verify(request: Request, service: ServiceOf, name: Name = None) -> answers.Verified:
    """Silence and noise are answered with `same` false and a reason."""
    async with service.turn():
        upload = await read_upload(request, service.settings.timeout_s)
        person, data = person_of(upload), upload.only("audio")
        await service.compute(require_person, service.predictor, person)  # before the work of decoding
        heard = await service.hear(data)
        answer = await service.compute(verified, service.predictor, heard, person)
    return answers.Verified(
        name=answer.name,
        same=answer.same,
        score=answer.score,
        threshold=answer.threshold,
        probability=answer.probability(),
        reason=answer.reason,
        warnings=together(request, heard, answer),
        spoofing_score=heard.spoofing_score,
    )


def require_person(predictor: MVectorPredictor, name: str) -> None:
    if predictor.store.get(name) is None:
        raise RequestError("person_unknown", "nobody is enrolled under this name")


def verified(predictor: MVectorPredictor, heard: Heard, name: str) -> Verification:
    try:
        return predictor.verify(heard.waveform, name, sample_rate=predictor.sample_rate_hz)
    except StoreError:
        require_person(predictor, name)  # removed since
        raise


@router.post(
    "/identify",
    summary="Who is this?",
    dependencies=[needs("identify")],
    responses={**DENIALS, **SOUND},
    openapi_extra=body("audio"),
)
async def identify(request: Request, service: ServiceOf) -> answers.Identified:
    """Among the enrolled people, or nobody of them. Silence and noise are nobody, with a reason."""
    async with service.turn():
        heard = await one_recording(request, service)
        answer: Recognition = await service.compute(
            service.predictor.recognition, heard.waveform, None, service.predictor.sample_rate_hz
        )
    return answers.Identified(
        name=answer.name,
        score=answer.score,
        margin=answer.margin,
        threshold=answer.threshold,
        probability=answer.probability(),
        reason=answer.reason,
        warnings=together(request, heard, answer),
        spoofing_score=heard.spoofing_score,
    )


@router.post(
    "/compare",
    summary="Have two recordings one speaker?",
    dependencies=[needs("compare")],
    responses={**DENIALS, **SOUND},
    openapi_extra=body("audio1", "audio2"),
)
async def compare(request: Request, service: ServiceOf) -> answers.Compared:
    """Nothing is stored. A recording without speech is refused."""
    async with service.turn():
        fields = ("audio1", "audio2")
        upload = await read_upload(request, service.settings.timeout_s, fields)
        data = [upload.only(field) for field in fields]
        heard = [await service.hear(each) for each in data]
        waveforms = [each.waveform for each in heard]
        answer = await service.compute(service.predictor.verdict, *waveforms, service.predictor.sample_rate_hz)
    return answers.Compared(
        same=answer.same,
        score=answer.similarity,
        threshold=answer.threshold,
        probability=answer.probability(),
        warnings=together(request, *heard, answer),
        spoofing_scores=[each.spoofing_score for each in heard],
    )


@router.post(
    "/embeddings",
    summary="The embedding of a recording",
    dependencies=[needs("embed")],
    responses={**DENIALS, **SOUND},
    openapi_extra=body("audio"),
)
async def embeddings(request: Request, service: ServiceOf) -> answers.Embedded:
    """For comparing elsewhere. Noise is embedded, too; only zeros are refused."""
    async with service.turn():
        heard = await one_recording(request, service)
        predictor = service.predictor
        embedding = await service.compute(predictor.predict, heard.waveform, predictor.sample_rate_hz)
    return answers.Embedded(
        embedding=embedding.tolist(),
        model=predictor.store.fingerprint,
        duration_s=heard.duration_s,
        warnings=together(request, heard),
        spoofing_score=heard.spoofing_score,
    )


@router.get("/people", summary="Who is enrolled", dependencies=[needs("list")], responses={**DENIALS, **BAD_FIELD})
async def people(
    service: ServiceOf,
    offset: Annotated[int, Query(ge=0, le=1 << 31, description="So many people are left out")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many are listed")] = 100,
) -> answers.People:
    """Sorted by name, a page at a time."""
    everybody = await service.compute(service.predictor.store.people)
    listed = [
        answers.PersonEntry(name=person.name, utterances=person.utterances, added_at=person.added_at)
        for person in everybody[offset : offset + limit]
    ]
    return answers.People(people=listed, count=len(everybody))


@router.delete(
    "/people",
    summary="Delete a person",
    dependencies=[needs("delete")],
    responses={**DENIALS, **UNKNOWN, **BAD_FIELD},
)
async def remove(
    service: ServiceOf,
    name: Annotated[str, Query(min_length=1, max_length=MAX_LENGTH, description="Whose voice is deleted")],
) -> answers.Removed:
    """Everything about the person goes: name, embeddings, recordings."""
    cleaned = cleaned_name(name)
    if not await service.compute(service.predictor.remove_user, cleaned):
        raise RequestError("person_unknown", "nobody is enrolled under this name")
    return answers.Removed(name=cleaned)


@router.get("/about", summary="What the service takes", responses={503: DENIALS[503]})
async def about(service: ServiceOf) -> answers.About:
    """Needs no key."""
    predictor, settings = service.predictor, service.settings
    return answers.About(
        version=__version__,
        model=predictor.store.fingerprint,
        threshold=predictor.threshold,
        keys=len(service.keys) > 0,
        keep_audio=settings.keep_audio,
        max_duration_s=settings.max_duration_s,
        max_body_bytes=settings.max_body_bytes,
        synthetic=predictor.model.metrics.get("synthetic"),
    )


async def one_recording(request: Request, service: Service) -> Heard:
    upload = await read_upload(request, service.settings.timeout_s)
    return await service.hear(upload.only("audio"))


def person_of(upload: Upload) -> str:
    if "name" not in upload.texts:
        raise RequestError("bad_field", "expected the name of the person in the field 'name'")
    return cleaned_name(upload.texts["name"])


def cleaned_name(name: str) -> str:
    """As the store keeps it."""
    try:
        return clean_name(name)
    except StoreError as error:
        raise RequestError("bad_field", str(error)) from error


def together(request: Request, *sources: Any) -> list[str]:
    """The warnings of all, each once; in Chinese where the client asks for it first."""
    chinese = request.headers.get("accept-language", "").lower().startswith("zh")
    texts = (said_of_recording(text, chinese) for source in sources for text in source.warnings)
    return list(dict.fromkeys(texts))
