"""The service as people run it: start, several processes, stopping while a request is in flight, command line."""

import datetime
import ipaddress
import json
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mvector.cli.serve import build_parser, checked_settings, main
from mvector.errors import ConfigError, StoreError
from mvector.serve import Settings
from mvector.serve.keys import ENVIRONMENT, parse_key
from mvector.serve.service import Service
from tests.serve.processes import ROOT, answering, running_service


def post(address: str, data: bytes, **headers: str) -> tuple[int, dict]:
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "audio/wav", **headers})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


# ---------------------------------------------------------------- real processes


@pytest.mark.slow
def test_a_request_in_flight_is_finished_when_the_service_is_stopped(served_model, tmp_path, clip):
    slow = tmp_path / "slow_detector.py"
    slow.write_text("import time\ndef detect(waveform, rate):\n    time.sleep(3)\n    return 0.5\n", encoding="utf-8")
    detector = ("--spoofing_detector", "slow_detector.detect")
    with running_service(served_model, tmp_path, *detector, PYTHONPATH=f"{ROOT}{_separator()}{tmp_path}") as service:
        answers: list[tuple[int, dict]] = []
        asking = threading.Thread(target=lambda: answers.append(post(f"{service.address}/v1/embeddings", clip)))
        asking.start()
        time.sleep(1.0)
        started = time.monotonic()
        status = service.stop()
        asking.join(30)
        assert answers
        assert answers[0][0] == 200
        assert answers[0][1]["spoofing_score"] == 0.5
        assert time.monotonic() - started < 30
        assert status in (0, -15)
    text = "\n".join(service.lines)
    assert "only this computer is answered" in text
    for line in service.lines:
        if line.startswith("{"):
            json.loads(line)
    assert '"event": "stopped"' in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_several_processes_share_the_store_the_rates_and_the_metrics(served_model, tmp_path, clip):
    allowed = 12
    arguments = ("--workers", "2", "--rate_limit", str(allowed))
    with running_service(served_model, tmp_path, *arguments) as service:
        status, answer = post(f"{service.address}/v1/enroll?name=anna", clip)
        assert (status, answer["name"]) == (200, "anna")
        outcomes: list[int] = []

        def ask() -> None:
            outcomes.append(post(f"{service.address}/v1/verify?name=anna", clip)[0])

        threads = [threading.Thread(target=ask) for _ in range(20)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        earned = (time.monotonic() - started) * allowed / 60 + 1
        assert set(outcomes) == {200, 429}  # never 404: every process sees who was enrolled by another
        assert allowed - 1 <= outcomes.count(200) <= allowed - 1 + earned
        deadline = time.monotonic() + 60
        while (reply := _metrics(service.address)) is None and time.monotonic() < deadline:
            time.sleep(1.0)
        assert reply is not None
        counted = re.findall(r'mvector_requests_total\{.*?route="/v1/verify".*?\} ([\d.]+)', reply)
        assert sum(map(float, counted)) == 20  # of both processes, whichever is asked
        deadline = time.monotonic() + 60  # which of them takes a connection is up to the system
        while len(answering(service.lines)) < 2 and time.monotonic() < deadline:
            asking = [threading.Thread(target=_about, args=(service.address,)) for _ in range(20)]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
        assert len(answering(service.lines)) == 2
        assert service.stop() == 0
    text = "\n".join(service.lines)
    assert "Traceback" not in text


def _about(address: str) -> None:
    with urllib.request.urlopen(f"{address}/v1/about", timeout=60) as response:
        response.read()


def _metrics(address: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=60) as response:
            return response.read().decode()
    except urllib.error.HTTPError:
        return None


@pytest.fixture
def certificate(tmp_path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test of mvector")])
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        # What Python 3.13 asks of a certificate that signs itself.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(x509.KeyUsage(True, key_cert_sign=True, encipher_only=False, decipher_only=False, **uses), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    chain, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


@pytest.mark.slow
def test_https(served_model, tmp_path, certificate):
    chain, key = map(str, certificate)
    with running_service(served_model, tmp_path, "--tls_cert", chain, "--tls_key", key) as service:
        assert service.address.startswith("https://")
        service.trusted.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
        with service.ask("/health/live") as response:
            assert response.status == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{service.address}/health/live", timeout=60)  # with the system's certificates
        assert any(f"page and API: {service.address}/" in line for line in service.lines)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_cannot_start_says_why_and_ends(tmp_path, workers):
    command = [sys.executable, "-m", "mvector.serve", "--model_path", str(tmp_path / "none"), "--port", "0"]
    done = subprocess.run(
        [*command, "--audio_db_path", str(tmp_path / "db"), "--workers", workers],
        capture_output=True, encoding="utf-8", timeout=240, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


def _separator() -> str:
    return ";" if sys.platform == "win32" else ":"


# ---------------------------------------------------------------- command line


def settings(*arguments: str) -> Settings:
    return checked_settings(build_parser().parse_args(list(arguments)))


def test_what_is_asked_for_is_what_the_processes_get(monkeypatch):
    asked = settings("--max_duration", "10", "--max_body", "2", "--cors_origin", "https://a.example", "--keep_audio",
                     "--rate_limit", "7", "--threshold", "0.4", "--use_gpu", "False", "--index", "ivf")  # fmt: skip
    assert (asked.max_duration_s, asked.max_body_bytes, asked.requests_per_minute) == (10.0, 2 << 20, 7)
    assert (asked.cors_origins, asked.keep_audio, asked.threshold) == (("https://a.example",), True, 0.4)
    assert (asked.device, asked.index, settings().index) == ("cpu", "ivf", "exact")
    monkeypatch.setenv("MVECTOR_SERVE_SETTINGS", "")
    asked.to_environment()
    assert Settings.from_environment() == asked


def test_the_index_is_that_of_the_settings(served_model, tmp_path):
    with pytest.raises(StoreError, match="there is no index named 'hnsw'; there are: exact, ivf"):
        Service(Settings(str(served_model), str(tmp_path / "db"), index="hnsw"))  # PostgreSQL has it


def test_without_keys_it_listens_on_this_computer_only(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for host in ("0.0.0.0", "::", "192.168.1.7"):
        with pytest.raises(ConfigError, match=r"without API keys the service answers this computer only.*--new_key"):
            settings("--host", host)
    for host in ("127.0.0.1", "localhost", "::1"):
        settings("--host", host)
    path = tmp_path / "密钥.txt"
    main(["--new_key", "phone", "--scopes", "verify,identify", "--keys", str(path)])
    shown = capsys.readouterr().out
    key = re.search(r"mv_[\w-]{43}", shown)[0]
    assert key not in path.read_text(encoding="utf-8")
    assert settings("--host", "0.0.0.0", "--keys", str(path)).keys == (path.read_text(encoding="utf-8").strip(),)
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="has a key named 'phone' already"):
        main(["--new_key", "phone", "--keys", str(path)])
    main(["--new_key", "admin", "--keys", str(path)])
    assert len(settings("--keys", str(path)).keys) == 2
    main(["--new_key", "printed"])
    line = capsys.readouterr().out.strip().splitlines()[-1].partition(": ")[2]
    assert parse_key(line, "here").name == "printed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tls_cert", "a.pem"), "belong together"),
        (("--tls_cert", "none.pem", "--tls_key", "none.pem"), r"none\.pem: there is no such"),
        (("--workers", "0"), "--workers must be at least 1, found 0"),
        (("--max_duration", "nan"), "--max_duration must be at least 0.1, found nan"),
        (("--keys", "none.txt"), r"none\.txt: the keys cannot be read"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_is_loaded(arguments, says):
    with pytest.raises(ConfigError, match=says):
        settings(*arguments)


def test_a_spoofing_detector_that_is_none_is_told():
    from mvector.serve.spoofing import load_detector

    for path, says in (
        ("nothing", "cannot be imported"),
        ("os.nothing", "cannot be imported"),
        ("os.sep", "not a function"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_detector(path)


WITHOUT = """
import sys
sys.modules["fastapi"] = None
from mvector.cli import run
from mvector.cli.serve import main
run(main, [])
"""


def test_without_the_packages_the_sentence_names_them():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 2
    assert "pip install fastapi uvicorn" in done.stderr
    assert "Traceback" not in done.stderr
