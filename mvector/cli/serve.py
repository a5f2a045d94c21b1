"""`python -m mvector.serve`, `tools/serve.py`, `mvector serve`: recognition over HTTP, with a web page."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mvector.cli import add_device_arguments, add_index_argument, add_model_argument, translate
from mvector.errors import ConfigError, MissingPackageError
from mvector.serve import Settings
from mvector.serve.keys import ALL, SCOPES, key_line, new_key, read_key_lines
from mvector.serve.settings import LOOPBACK

APPLICATION = "mvector.serve.app:from_environment"
KEEP_ALIVE_S = 20
MOST_CONNECTIONS = 1000  # of each process; requests with sound have their own, lower limit


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mvector.serve", description=translate("Enroll, verify and identify people over HTTP.")
    )
    add = parser.add_argument
    add_model_argument(parser)
    add("--audio_db_path", default="audio_db", help=translate("where enrolled voices are: a folder, or postgresql://…"))
    add(
        "--threshold",
        type=float,
        help=translate("score above which it counts as the same person (default: the model's)"),
    )
    add("--keep_audio", action="store_true", help=translate("keep the recordings of enrolled people"))
    add_index_argument(parser)
    add("--host", default="127.0.0.1", help=translate("address to listen on (default 127.0.0.1: this computer only)"))
    add("--port", type=int, default=8000, help=translate("port to listen on (default 8000)"))
    add("--workers", type=int, default=1, help=translate("processes that answer (default 1)"))
    add("--keys", metavar="FILE", help=translate("file of API keys; more may be in the environment's MVECTOR_API_KEYS"))
    add("--new_key", metavar="NAME", help=translate("make an API key, print it, put its hash into --keys, and end"))
    scopes = ",".join((*SCOPES, ALL))
    add(
        "--scopes",
        default=ALL,
        help=translate("what the new key may do, of {scopes} (default all)").format(scopes=scopes),
    )
    add(
        "--rate_limit",
        type=int,
        default=120,
        help=translate("requests a minute for each key (default 120; 0: any number)"),
    )
    add("--max_duration", type=float, default=60.0, help=translate("longest recording in seconds (default 60)"))
    add("--max_body", type=float, default=16.0, help=translate("largest request in MiB (default 16)"))
    add("--timeout", type=float, default=30.0, help=translate("seconds for a request (default 30)"))
    add(
        "--cors_origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help=translate("page of another address that may call the service, as https://example.org; may be repeated"),
    )
    add("--tls_cert", metavar="FILE", help=translate("certificate chain in PEM, for HTTPS"))
    add("--tls_key", metavar="FILE", help=translate("private key of the certificate in PEM"))
    add(
        "--spoofing_detector",
        metavar="PATH",
        help=translate("dotted path of a function (waveform, sample_rate_hz) that scores or refuses recordings"),
    )
    add_device_arguments(parser, exported=True)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    if arguments.new_key is not None:
        make_key(arguments.new_key, arguments.scopes.split(","), arguments.keys)
        return
    settings = checked_settings(arguments)
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except Exception as error:
        raise MissingPackageError(
            "the service needs fastapi, uvicorn, python-multipart and prometheus-client: "
            'pip install fastapi uvicorn python-multipart prometheus-client, or pip install -e ".[serve]"'
        ) from error
    scheme = "https" if arguments.tls_cert else "http"
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(translate("page and API: {address}").format(address=f"{scheme}://{host}:{arguments.port}/"), flush=True)
    if not settings.keys:
        print(translate("There are no API keys: only this computer is answered. --new_key NAME makes one."), flush=True)
    with tempfile.TemporaryDirectory(prefix="mvector-serve-") as shared:
        serve(settings, arguments, shared)


def make_key(name: str, scopes: Sequence[str], path: str | None) -> None:
    key = new_key()
    line = key_line(name, scopes, key)
    print(translate("The key, which is shown only now: {key}").format(key=key))
    if path is None:
        print(translate("Its line for a keys file or MVECTOR_API_KEYS: {line}").format(line=line))
        return
    try:
        before = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
        if any(kept.split()[:1] == [name] for kept in before.splitlines()):
            raise ConfigError(f"{path} has a key named {name!r} already; choose another name or delete its line.")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "a", encoding="utf-8") as file:
            file.write("\n" * (bool(before) and not before.endswith("\n")) + line + "\n")
    except OSError as error:
        raise ConfigError(f"{path}: the keys cannot be written ({error.strerror})") from error
    print(translate("Its hash is in {path}; a running service reads it when it is started again.").format(path=path))


def checked_settings(arguments: argparse.Namespace) -> Settings:
    """Raises ConfigError for what cannot be served, before anything is loaded."""
    keys = read_key_lines(arguments.keys)
    if not keys and arguments.host not in LOOPBACK:
        raise ConfigError(
            f"--host {arguments.host}: without API keys the service answers this computer only. Make a key with "
            "--new_key NAME --keys FILE, or leave --host out."
        )
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise ConfigError("--tls_cert and --tls_key belong together; give both for HTTPS, or none.")
    for path in (arguments.tls_cert, arguments.tls_key):
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"{path}: there is no such certificate or key file.")
    for name, least in (("workers", 1), ("rate_limit", 0), ("max_duration", 0.1), ("max_body", 0.01), ("timeout", 0.1)):
        if not getattr(arguments, name) >= least:
            raise ConfigError(f"--{name} must be at least {least:g}, found {getattr(arguments, name)}")
    return Settings(
        model_path=arguments.model_path,
        audio_db_path=arguments.audio_db_path,
        threshold=arguments.threshold,
        device=arguments.device if arguments.use_gpu is None else "cuda" if arguments.use_gpu else "cpu",
        keep_audio=arguments.keep_audio,
        index=arguments.index,
        keys=keys,
        max_duration_s=arguments.max_duration,
        max_body_bytes=round(arguments.max_body * 2**20),
        requests_per_minute=arguments.rate_limit,
        timeout_s=arguments.timeout,
        cors_origins=tuple(arguments.cors_origin),
        spoofing_detector=arguments.spoofing_detector,
    )


def serve(settings: Settings, arguments: argparse.Namespace, shared_dir: str) -> None:
    """Until SIGTERM or Ctrl-C, after which requests in flight are finished. `shared_dir`: of the worker processes."""
    from dataclasses import replace

    if arguments.workers > 1:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared_dir
        settings = replace(settings, shared_dir=shared_dir)
        # Each process by itself would take all cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // arguments.workers)))
    settings.to_environment()
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    from mvector.serve.logs import LOGGING

    config = uvicorn.Config(
        APPLICATION,
        factory=True,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(2 * settings.timeout_s + settings.decode_timeout_s),
        ssl_certfile=arguments.tls_cert,
        ssl_keyfile=arguments.tls_key,
    )
    if arguments.workers == 1:
        server = uvicorn.Server(config)
        with contextlib.suppress(SystemExit):  # with a status of its own, where it could not start
            server.run()
        started = server.started
    else:
        supervisor = Multiprocess(config, sockets=[config.bind_socket()])
        supervisor.run()
        started = all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)
    if not started:
        sys.exit(2)
