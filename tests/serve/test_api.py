"""The routes: what they answer, against the predictor itself; who may ask; and how each mistake is told."""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mvector.predict import MVectorPredictor
from mvector.serve.failures import STATUS_OF_KIND, RequestError
from mvector.serve.keys import SCOPES, key_line, new_key
from mvector.serve.logs import JsonFormatter
from mvector.serve.spoofing import SpoofingSuspected
from tests.serve.sound_files import encoded, flac_that_claims

HOSTILE_NAMES = [
    "../../etc/passwd",
    "CON",
    "🦊",
    "a/b\\c",
    "x" * 300,
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "名 字",
]


def failure(response, kind: str) -> str:
    """The message of a failure, after looking that it is one of `kind` and gives nothing away."""
    assert response.status_code == STATUS_OF_KIND[kind], response.text
    answer = response.json()
    assert answer.keys() == {"error", "message"}
    assert answer["error"] == kind, answer
    assert not re.search(r"Traceback|File \"|/work|/tmp|site-packages|\.py\b", answer["message"])
    return answer["message"]


def enrolled(client, name: str, *clips: bytes):
    files = [("audio", ("recording.wav", clip)) for clip in clips]
    return client.post("/v1/enroll", data={"name": name}, files=files)


# ---------------------------------------------------------------- answers


@pytest.fixture
def clips(make_voice) -> list[bytes]:
    return [encoded(make_voice(3.0, seed=seed), "wav") for seed in range(3)]


def test_the_answers_are_the_predictors(client, served_model, tmp_path, clips):
    first = enrolled(client, "贝拉", clips[0], clips[1])
    assert first.status_code == 200
    assert first.json() == {"name": "贝拉", "utterances": 2, "warnings": [], "spoofing_scores": [None, None]}

    predictor = MVectorPredictor(model_path=served_model, audio_db_path=tmp_path / "own", device="cpu")
    for clip in clips[:2]:
        predictor.register(clip, "贝拉")
    verified = client.post("/v1/verify", data={"name": "贝拉"}, files={"audio": clips[2]}).json()
    expected = predictor.verify(clips[2], "贝拉")
    assert verified["score"] == pytest.approx(expected.score, abs=1e-6)
    assert verified["probability"] == pytest.approx(expected.probability(), abs=1e-6)
    assert (verified["same"], verified["threshold"], verified["reason"]) == (expected.same, 0.25, expected.reason)

    identified = client.post("/v1/identify", content=clips[2]).json()
    recognised = predictor.recognition(clips[2])
    assert (identified["name"], identified["score"]) == (recognised.name, pytest.approx(recognised.score, abs=1e-6))
    assert identified["margin"] is None
    assert identified["probability"] == pytest.approx(recognised.probability(), abs=1e-6)

    compared = client.post("/v1/compare", files={"audio1": clips[0], "audio2": clips[2]}).json()
    verdict = predictor.verdict(clips[0], clips[2])
    assert compared["score"] == pytest.approx(verdict.similarity, abs=1e-6)
    assert (compared["same"], compared["threshold"]) == (verdict.same, verdict.threshold)

    embedding = client.post("/v1/embeddings", content=clips[0]).json()
    np.testing.assert_allclose(embedding["embedding"], predictor.predict(clips[0]), atol=1e-6)
    assert embedding["model"] == predictor.store.fingerprint
    assert embedding["duration_s"] == 3.0


def test_people_are_listed_and_deleted(client, clip):
    for name in HOSTILE_NAMES:
        assert enrolled(client, name, clip).json()["name"] == name
    listed = client.get("/v1/people").json()
    assert [person["name"] for person in listed["people"]] == sorted(HOSTILE_NAMES)
    assert listed["count"] == len(HOSTILE_NAMES)
    page = client.get("/v1/people", params={"offset": 2, "limit": 3}).json()
    assert page["people"] == listed["people"][2:5]
    for name in HOSTILE_NAMES:
        assert client.post("/v1/verify", params={"name": name}, content=clip).json()["name"] == name
        assert client.delete("/v1/people", params={"name": name}).json() == {"name": name}
        failure(client.delete("/v1/people", params={"name": name}), "person_unknown")
    assert client.get("/v1/people").json() == {"people": [], "count": 0}


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "mp3", "m4a", "webm"])
def test_every_format_is_taken_as_a_form_and_as_the_body(client, voice, kind):
    data = encoded(voice, kind)
    raw = client.post("/v1/embeddings", content=data, headers={"Content-Type": f"audio/{kind}"}).json()
    form = client.post("/v1/embeddings", files={"audio": ("x", data)}).json()
    np.testing.assert_allclose(raw["embedding"], form["embedding"], atol=1e-6)


def test_silence_and_noise_are_nobody_with_a_reason_and_cannot_be_enrolled(client, clip):
    enrolled(client, "anna", clip)
    noise = encoded(np.random.default_rng(0).normal(0, 0.1, 48000), "wav")
    for data, reason in ((encoded(np.zeros(48000), "wav"), "silence"), (noise, "no_speech")):
        identified = client.post("/v1/identify", content=data).json()
        assert (identified["name"], identified["score"], identified["reason"]) == (None, None, reason)
        verified = client.post("/v1/verify", params={"name": "anna"}, content=data).json()
        assert (verified["same"], verified["reason"]) == (False, reason)
        assert failure(enrolled(client, "anna", clip, data), "no_speech").startswith("the recording:")
        failure(client.post("/v1/compare", files={"audio1": clip, "audio2": data}), "no_speech")
    assert client.get("/v1/people").json()["people"][0]["utterances"] == 1  # of a request all are enrolled, or none


def test_warnings_are_said_of_the_recording_in_the_language_asked_for(client, make_voice):
    narrow = encoded(make_voice(3.0, 8000), "wav", 8000)
    for language, expected in (
        ("en", "the recording: recorded at 8000 Hz, so nothing above 4000 Hz is in it"),
        ("zh-CN", "录音：以 8000 Hz 录制，不含 4000 Hz 以上的成分"),
        ("de, zh;q=0.5", "the recording: recorded at 8000 Hz"),
    ):
        answer = client.post("/v1/enroll?name=anna", content=narrow, headers={"Accept-Language": language}).json()
        assert answer["warnings"][0].startswith(expected)


def test_recordings_are_kept_only_where_asked(serve, clip, tmp_path):
    for keep in (False, True):
        client = serve(keep_audio=keep, audio_db_path=str(tmp_path / f"keep {keep}"))
        enrolled(client, "anna", clip)
        assert client.get("/v1/about").json()["keep_audio"] is keep
        store = client.app.state.service.predictor.store
        assert [each.has_audio for each in store.utterances("anna")] == [keep]


# ---------------------------------------------------------------- mistakes


def test_mistakes_of_a_client_are_told(client, clip):
    says = failure(client.post("/v1/enroll", files={"audio": clip}), "bad_field")
    assert "'name'" in says
    failure(client.post("/v1/enroll", data={"name": "x"}, files={"other": clip}), "bad_field")
    failure(client.post("/v1/enroll?name=x", data={"name": "x"}), "unsupported_audio")  # the form of plain fields
    failure(client.post("/v1/enroll", data={"name": "\x07"}, files={"audio": clip}), "bad_field")
    failure(client.post("/v1/enroll", data={"name": "x" * 301}, files={"audio": clip}), "bad_field")
    failure(client.post("/v1/enroll", data={"name": " "}, files={"audio": clip}), "bad_field")
    failure(client.post("/v1/verify", data={"name": "nobody"}, files={"audio": clip}), "person_unknown")
    failure(client.post("/v1/identify", content=b""), "bad_field")
    failure(client.post("/v1/identify", files=[("audio", clip), ("audio", clip)]), "bad_field")
    failure(client.post("/v1/compare", files={"audio1": clip}), "bad_field")
    failure(client.post("/v1/identify", content=b"no sound"), "unsupported_audio")
    failure(client.post("/v1/identify", content=clip[:46]), "too_short")
    failure(client.post("/v1/identify", content=flac_that_claims(36000, np.zeros(800))), "too_long")
    failure(client.get("/v1/people", params={"limit": "many"}), "bad_field")
    failure(client.get("/v1/nothing"), "not_found")
    failure(client.get("/page/../app.py"), "not_found")
    failure(client.get("/page/%2e%2e/app.py"), "not_found")
    failure(client.put("/v1/people"), "method_not_allowed")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    failure(client.post("/v1/identify", content=b"nonsense", headers=broken), "bad_request")
    failure(client.post("/v1/identify", content=b"", headers={"Content-Type": "multipart/form-data"}), "bad_request")


def test_size_is_limited_by_what_is_said_and_by_what_comes(serve):
    client = serve(max_body_bytes=10_000)

    def endless():
        for _ in range(100):
            yield b"x" * 1000

    failure(client.post("/v1/identify", content=b"x" * 10_001), "too_large")
    failure(client.post("/v1/identify", content=endless()), "too_large")  # chunked: no length is said
    failure(client.post("/v1/identify", content=b"x" * 10_000), "unsupported_audio")


def test_a_body_that_says_it_is_too_large_is_not_waited_for():
    from mvector.serve.limits import BodyLimit

    sent, reads = [], []

    async def receive():
        reads.append(1)
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    async def app(*_):
        raise AssertionError("the application must not see it")

    scope = {"type": "http", "headers": [(b"content-length", b"999999999999"), (b"expect", b"100-continue")]}
    asyncio.run(BodyLimit(app, 1000)(scope, receive, send))
    assert sent[0]["status"] == 413
    assert reads == []


def test_a_slow_sender_is_not_waited_for():
    from starlette.requests import Request

    from mvector.serve.uploads import read_upload

    async def receive():
        await asyncio.sleep(3600)

    request = Request({"type": "http", "method": "POST", "headers": [], "query_string": b""}, receive)
    with pytest.raises(RequestError) as caught:
        asyncio.run(read_upload(request, 0.05))
    assert (caught.value.kind, caught.value.status) == ("upload_too_slow", 408)


def test_sound_is_never_written_to_disk(client, clip, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: pytest.fail("a temporary file"))
    big = encoded(np.random.default_rng(0).normal(0, 0.1, 6 * 48000), "float.wav", 48000)
    assert len(big) > 1 << 20  # from there on Starlette would spool it
    assert client.post("/v1/embeddings", files={"audio": ("a.wav", big)}).status_code == 200


def test_a_fault_of_the_service_says_nothing_and_is_logged_without_values(client, clip, monkeypatch, caplog):

    def broken(*_, **__):
        raise ValueError("secret name 贝拉 in /secret/path")

    with monkeypatch.context() as patch, caplog.at_level(logging.INFO, "mvector.serve"):
        patch.setattr(client.app.state.service.predictor.store, "people", broken)
        says = failure(client.get("/v1/people"), "internal")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    line = json.loads(JsonFormatter().format(record))
    assert line["exception"] == "ValueError"
    assert any("api.py" in place for place in line["where"])
    assert line["id"] in says
    assert "secret" not in says + JsonFormatter().format(record)


def test_more_requests_with_sound_than_it_can_hold_are_told_to_come_back(serve, clip):
    client = serve(max_requests=0)
    response = client.post("/v1/identify", content=clip)
    failure(response, "busy")
    assert response.headers["retry-after"] == "1"


def test_an_answer_that_takes_too_long_is_given_up(serve, clip, monkeypatch):
    client = serve(timeout_s=1.0)
    monkeypatch.setattr(client.app.state.service.predictor, "predict", lambda *_: time.sleep(3))
    failure(client.post("/v1/embeddings", content=clip), "timeout")


# ---------------------------------------------------------------- keys, rates, origins

REQUESTS = {
    "enroll": ("POST", "/v1/enroll?name=anna", True),
    "verify": ("POST", "/v1/verify?name=anna", True),
    "identify": ("POST", "/v1/identify", True),
    "compare": ("POST", "/v1/compare", False),
    "embed": ("POST", "/v1/embeddings", True),
    "list": ("GET", "/v1/people", False),
    "delete": ("DELETE", "/v1/people?name=anna", False),
    "metrics": ("GET", "/metrics", False),
}


def test_each_scope_opens_its_route_and_no_other(serve, clip):
    keys = {scope: new_key() for scope in SCOPES}
    client = serve(keys=tuple(key_line(scope, [scope], key) for scope, key in keys.items()))
    assert REQUESTS.keys() == set(SCOPES)
    for asked, (method, address, sound) in REQUESTS.items():
        send = lambda key, method=method, address=address, sound=sound: client.request(  # noqa: E731
            method,
            address,
            content=clip if sound else None,
            files=None if address != "/v1/compare" else {"audio1": clip, "audio2": clip},
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
        )
        for scope, key in keys.items():
            response = send(key)
            if scope == asked:
                assert response.status_code == 200, (asked, response.text)
            else:
                failure(response, "scope_missing")
        response = send(None)
        failure(response, "key_missing")
        assert response.headers["www-authenticate"] == "Bearer"
        failure(send("mv_wrong"), "key_unknown")
    for open_to_all in ("/health/live", "/health/ready", "/v1/about", "/", "/openapi.json"):
        assert client.get(open_to_all).status_code == 200


def test_every_route_about_voices_needs_a_key(serve):
    """So that a route that is added later cannot be forgotten."""
    client = serve(keys=(key_line("a", ["all"], new_key()),))
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            if path not in ("/v1/about", "/health/live", "/health/ready"):
                failure(client.request(method, path, params={"name": "x"}), "key_missing")


def test_a_key_is_asked_for_before_the_body_is_looked_at(serve):
    client = serve(keys=(key_line("a", ["verify"], new_key()),))
    failure(client.post("/v1/identify", content=b"no sound at all"), "key_missing")


def test_rates_count_for_each_key_and_for_addresses_that_guess(serve):
    one, other = new_key(), new_key()
    lines = (key_line("one", ["list"], one), key_line("other", ["list"], other))
    client = serve(keys=lines, requests_per_minute=3)
    ask = lambda key: client.get("/v1/people", headers={"Authorization": f"Bearer {key}"})  # noqa: E731
    assert [ask(one).status_code for _ in range(3)] == [200] * 3
    refused = ask(one)
    failure(refused, "too_many_requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert ask(other).status_code == 200
    assert [ask(f"mv_guess{i}").status_code for i in range(4)] == [401, 401, 401, 429]
    assert ask(other).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9000"}, 403),  # another program on this computer
        ({"Host": "evil.example"}, 403),  # a name that was made to point to this computer
        ({"Host": "[::"}, 403),
        ({"X-Forwarded-For": "203.0.113.7"}, 403),  # through a proxy, without keys
        ({"Forwarded": "for=203.0.113.7"}, 403),
    ],
)
def test_without_keys_only_this_computer_is_answered(client, headers, status):
    assert client.get("/v1/people", headers=headers).status_code == status


def test_with_keys_proxies_and_names_are_fine_and_other_pages_are_not(serve):
    key = new_key()
    lines = (key_line("a", ["all"], key),)
    headers = {"Authorization": f"Bearer {key}", "Host": "voice.example", "X-Forwarded-For": "203.0.113.7"}
    client = serve(keys=lines)
    assert client.get("/v1/people", headers=headers).status_code == 200
    assert client.get("/v1/people", headers={**headers, "Origin": "https://voice.example"}).status_code == 200
    failure(client.get("/v1/people", headers={**headers, "Origin": "https://evil.example"}), "origin_refused")


def test_cors_is_off_until_an_origin_is_named(serve, tmp_path):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    closed = serve().options("/v1/identify", headers=asked)
    assert closed.status_code == 403
    assert "access-control-allow-origin" not in closed.headers
    client = serve(cors_origins=("https://shop.example",), audio_db_path=str(tmp_path / "other"))
    opened = client.options("/v1/identify", headers=asked)
    assert opened.headers["access-control-allow-origin"] == "https://shop.example"
    other = client.options("/v1/identify", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


# ---------------------------------------------------------------- spoofing, logs, metrics, document


def toy_detector(waveform: np.ndarray, sample_rate_hz: int) -> float:
    """Refuses what is quiet, as if it came from a loudspeaker far away."""
    assert waveform.dtype == np.float32
    assert sample_rate_hz == 16000
    level = float(np.abs(waveform).max())
    if level < 0.1:
        raise SpoofingSuspected("this sounds like a loudspeaker")
    return level


def failing_detector(waveform: np.ndarray, sample_rate_hz: int) -> float:
    raise RuntimeError("no such file: /secret/weights")


def test_a_spoofing_detector_scores_and_refuses(serve, voice, clip, tmp_path):
    client, quiet = serve(spoofing_detector=f"{__name__}.toy_detector"), encoded(0.1 * voice, "wav")
    answer = enrolled(client, "anna", clip)
    assert answer.json()["spoofing_scores"] == [pytest.approx(0.5, abs=1e-3)]
    assert client.post("/v1/identify", content=clip).json()["spoofing_score"] == pytest.approx(0.5, abs=1e-3)
    for path in ("identify", "verify?name=anna", "enroll?name=anna", "embeddings"):
        assert (
            failure(client.post(f"/v1/{path}", content=quiet), "spoofing_suspected") == "this sounds like a loudspeaker"
        )
    failure(client.post("/v1/compare", files={"audio1": clip, "audio2": quiet}), "spoofing_suspected")
    failing = serve(spoofing_detector=f"{__name__}.failing_detector", audio_db_path=str(tmp_path / "other"))
    failure(failing.post("/v1/identify", content=clip), "internal")


def test_logs_hold_neither_names_nor_scores_nor_keys(serve, clip, caplog):
    key = new_key()
    client = serve(keys=(key_line("phone", ["all"], key),))
    headers = {"Authorization": f"Bearer {key}"}
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            client.post("/v1/enroll", data={"name": "geheimnis"}, files={"audio": clip}, headers=headers)
        client.post("/v1/verify?name=geheimnis", content=clip, headers=headers)
        identified = client.post("/v1/identify", content=clip, headers=headers).json()
        client.delete("/v1/people?name=geheimnis", headers=headers)
        client.delete("/v1/people?name=geheimnis", headers=headers)
    ours = [record for record in caplog.records if record.name.startswith(("mvector.serve", "uvicorn"))]
    lines = [json.loads(JsonFormatter().format(record)) for record in ours]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 200, 200, 200, 200, 404]
    assert {line["key"] for line in requests} == {"phone"}
    assert requests[2]["route"] == "/v1/verify"
    text = json.dumps(lines, ensure_ascii=False)
    for secret in ("geheimnis", key, str(identified["score"])):
        assert secret not in text


def test_the_librarys_own_messages_do_not_reach_the_log():
    """They may name people: only what the service itself writes is let through. In a process of its own, because
    dictConfig closes the handlers of everybody, and some close the captured stream that they write to."""
    program = (
        "import logging.config; from mvector.serve.logs import LOGGING; logging.config.dictConfig(LOGGING)\n"
        "logging.getLogger('mvector.store').warning('贝拉 sounds strange')\n"
        "logging.getLogger('uvicorn.access').info('GET /v1/verify?name=贝拉')\n"
        "logging.getLogger('mvector.serve').info('request', extra={'fields': {'status': 200}})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["status"] == 200


def test_metrics_count_what_was_asked(serve, clip):
    client = serve()
    enrolled(client, "anna", clip)
    client.post("/v1/identify", content=clip)
    client.post("/v1/identify", content=b"no sound")
    client.request("BREW", "/coffee")
    text = client.get("/metrics").text
    for line in (
        'mvector_requests_total{method="POST",route="/v1/identify",status="200"} 1.0',
        'mvector_requests_total{method="POST",route="/v1/identify",status="415"} 1.0',
        'mvector_refusals_total{error="unsupported_audio"} 1.0',
        'mvector_requests_total{method="other",route="other",status="404"} 1.0',
        "mvector_audio_seconds_total 6.0",
        "mvector_batch_size_count 2.0",
        "mvector_people 1.0",
        "mvector_requests_in_flight 1.0",  # this one
        'mvector_request_seconds_count{route="/v1/enroll"} 1.0',
    ):
        assert line in text, text
    assert "anna" not in text


def test_health_tells_starting_and_stopping(client):
    assert client.get("/health/live").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    client.app.state.service.ready = False
    assert client.get("/health/live").status_code == 200
    failure(client.get("/health/ready"), "not_ready")
    failure(client.post("/v1/identify", content=b"x"), "not_ready")


def test_every_answer_has_the_headers_of_security(client):
    for path in ("/", "/page/page.js", "/v1/about", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert len(headers["x-request-id"]) == 16
    assert client.get("/v1/about").headers["cache-control"] == "no-store"
    assert "microphone=(self)" in client.get("/").headers["permissions-policy"]


def test_the_document_has_examples_that_fit_their_schemas(client):
    from mvector.serve import answers

    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for name in ("Failure", "Enrolled", "Verified", "Identified", "Compared", "Embedded", "People", "Removed", "About"):
        for example in schemas[name]["examples"]:
            model = getattr(answers, name)
            nulls = {field: None for field in model.model_fields if field not in example}  # FastAPI leaves them out
            assert model.model_validate({**nulls, **example}).model_dump().keys() >= example.keys()
    for path in ("enroll", "verify", "identify", "compare", "embeddings"):
        operation = document["paths"][f"/v1/{path}"]["post"]
        assert "multipart/form-data" in operation["requestBody"]["content"]
        assert ("audio/*" in operation["requestBody"]["content"]) == (path != "compare")
        assert {"401", "403", "413", "415", "422", "429", "503"} <= operation["responses"].keys()
        assert operation["security"]


def test_the_pages_catalogues_have_the_same_words_and_every_word_of_the_page():
    page = Path(__file__).parents[2] / "mvector" / "serve" / "page"
    text = (page / "words.js").read_text(encoding="utf-8")
    english, chinese = text.split("const CHINESE")[0], text.split("const CHINESE")[1].split("const KEPT")[0]
    names = [re.findall(r"^ +(\w+):", part, re.MULTILINE) for part in (english, chinese)]
    assert names[0] == names[1]
    used = re.findall(r'data-word="(\w+)"', (page / "index.html").read_text(encoding="utf-8"))
    used += re.findall(r'\bsay\("(\w+)"', (page / "page.js").read_text(encoding="utf-8"))
    assert set(used) <= set(names[0])
    holes = [
        {
            name: sorted(re.findall(r"\{(\w+)\}", line))
            for name, line in re.findall(r'^ +(\w+): "(.*)",$', part, re.MULTILINE)
        }
        for part in (english, chinese)
    ]
    assert holes[0] == holes[1]
    assert os.path.getsize(page / "page.js") < 40_000
