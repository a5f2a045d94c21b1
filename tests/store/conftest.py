"""Stores of every kind, empty, and made-up voices."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mvector.store import VoiceStore, open_store

SIZE = 16
FINGERPRINT = "a" * 32
KEY = "a key that nobody guesses"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MVECTOR_STORE_KEY", raising=False)


@pytest.fixture
def voice() -> Callable[..., np.ndarray]:
    """Embeddings [E] of unit length; with `near`, at that cosine to another one."""
    rng = np.random.default_rng(0)

    def make(to: np.ndarray | None = None, near: float = 0.9, size: int = SIZE) -> np.ndarray:
        x = rng.standard_normal(size)
        if to is not None:
            x -= (x @ to) * to
            x = near * to + np.sqrt(1 - near**2) * x / np.linalg.norm(x)
        return (x / np.linalg.norm(x)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def postgres_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))  # where pgserver keeps a lock
    try:
        import pgserver
        import psycopg  # noqa: F401
    except Exception as error:  # pgserver has wheels up to Python 3.12
        pytest.skip(f"needs the system package PostgreSQL with pgvector (here: pgserver and psycopg): {error}")
    try:
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    except Exception as error:
        pytest.skip(f"the system package PostgreSQL does not start here: {error}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres(postgres_address: str) -> Iterator[str]:
    """The address of a database without tables."""
    import psycopg

    yield postgres_address
    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture(params=["sqlite", "encrypted", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., VoiceStore]]:
    """Opens the same place again each time it is called."""
    kind, opened = request.param, []
    if kind == "encrypted":
        pytest.importorskip("cryptography")
    place = request.getfixturevalue("postgres") if kind == "postgres" else tmp_path / "声纹库"

    def make(**settings: Any) -> VoiceStore:
        defaults = {"fingerprint": FINGERPRINT, "embedding_size": SIZE, "key": KEY if kind == "encrypted" else None}
        opened.append(open_store(place, **{**defaults, **settings}))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., VoiceStore]) -> VoiceStore:
    return make_store()
