"""What the service was told at its start, in a form that its worker processes receive through the environment."""

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Any

ENVIRONMENT = "MVECTOR_SERVE_SETTINGS"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Everything but address, TLS and the number of processes, which are uvicorn's.

    model_path: None: the model that the package carries
    index: how enrolled people are searched: exact, ivf, or with PostgreSQL hnsw
    keys: lines of a keys file, with hashes; none: whoever reaches the service on this computer may do everything
    max_duration_s, max_body_bytes: of one recording, of one request
    requests_per_minute: for each key (or address without one), over all processes; 0: no limit
    max_requests: so many requests with sound at once in each process; further ones are told to come back
    timeout_s: for receiving a request, and again for answering it. decode_timeout_s: for each recording
    decoders, decoder_memory_mib: processes for untrusted bytes for each worker process, and what each may take
    batch_wait_s: how long a recording waits for others to share a batch; None: 0 on a CPU, else 4 ms
    cors_origins: pages of other addresses that may call the service from a browser
    spoofing_detector: dotted path, see mvector.serve.spoofing
    shared_dir: where the processes of one service keep rates and metrics; None: a single process needs none
    """

    model_path: str | None
    audio_db_path: str = "audio_db"
    threshold: float | None = None
    device: str = "auto"
    keep_audio: bool = False
    index: str = "exact"
    keys: tuple[str, ...] = ()
    max_duration_s: float = 60.0
    max_body_bytes: int = 16 << 20
    requests_per_minute: int = 120
    max_requests: int = 32
    timeout_s: float = 30.0
    decode_timeout_s: float = 10.0
    decoders: int = 2
    decoder_memory_mib: int = 512
    batch_wait_s: float | None = None
    cors_origins: tuple[str, ...] = ()
    spoofing_detector: str | None = None
    shared_dir: str | None = None

    def to_environment(self) -> None:
        """For worker processes, which start from nothing. Keys are in it as hashes only."""
        os.environ[ENVIRONMENT] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> "Settings":
        values: dict[str, Any] = json.loads(os.environ[ENVIRONMENT])
        sequences = {field.name for field in fields(cls) if field.default == ()}
        for name in sequences:
            values[name] = tuple(values[name])
        return cls(**values)
