"""How often one client may ask, counted over all processes of a service in one small SQLite file."""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

PERIOD_S = 60.0
FORGET_EVERY = 1000  # requests between removals of clients that have their full allowance again


class RateLimit:
    """`per_minute` requests a minute for each client, all at once if it was quiet before (GCRA, a leaky bucket).

    For each client one time is kept: when its allowance would be whole again. A request moves it by
    1 / per_minute of a minute, and is refused if it would then lie more than a minute ahead.
    """

    def __init__(self, per_minute: int, path: str | Path = ":memory:"):
        self.per_minute = per_minute
        self._step_s = PERIOD_S / per_minute if per_minute else 0.0
        self._lock, self._taken = threading.Lock(), 0
        # Statements commit on their own but for the transaction below; losing the file in a crash costs nothing.
        self._database = sqlite3.connect(path, timeout=10.0, check_same_thread=False, isolation_level=None)
        with contextlib.suppress(sqlite3.OperationalError):  # another process is doing the same
            self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE IF NOT EXISTS clients (who TEXT PRIMARY KEY, whole_at REAL NOT NULL)")

    def take(self, who: str, now_s: float | None = None) -> float:
        """0.0 if `who` may ask now, which counts; else the seconds to wait, and nothing is counted.

        now_s: seconds since 1970, by default the clock's.
        """
        if not self.per_minute:
            return 0.0
        now = time.time() if now_s is None else now_s
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                wait_s = self._take(who, now)
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
        return wait_s

    def _take(self, who: str, now: float) -> float:
        row = self._database.execute("SELECT whole_at FROM clients WHERE who = ?", (who,)).fetchone()
        # A clock that was set back must not lock anybody out for longer than a minute.
        whole_at = min(max(now, row[0]), now + PERIOD_S) if row else now
        wait_s = whole_at + self._step_s - PERIOD_S - now
        if wait_s > 1e-6:  # times since 1970 are kept to a quarter of a microsecond
            return wait_s
        self._database.execute("INSERT OR REPLACE INTO clients VALUES (?, ?)", (who, whole_at + self._step_s))
        self._taken += 1
        if self._taken % FORGET_EVERY == 0:
            self._database.execute("DELETE FROM clients WHERE whole_at < ?", (now,))
        return 0.0

    def close(self) -> None:
        self._database.close()
