"""API keys: what is kept of them, what may be in a file, and what the mistakes say."""

import hashlib

import pytest

from mvector.errors import ConfigError
from mvector.serve.keys import ENVIRONMENT, SCOPES, KeyRing, key_line, new_key, parse_key, read_key_lines


def test_a_key_is_found_by_its_hash_alone():
    key, other = new_key(), new_key()
    line = key_line("phone", ["verify", "identify"], key)
    assert key not in line
    assert hashlib.sha256(key.encode()).hexdigest() in line
    ring = KeyRing([line, key_line("admin", ["all"], other)])
    assert ring.find(key).name == "phone"
    assert ring.find(key).scopes == {"verify", "identify"}
    assert ring.find(other).scopes == set(SCOPES)
    for wrong in ("", key[:-1], key + "x", key.upper(), line, "密钥", "\udcff"):
        assert ring.find(wrong) is None
    assert len(ring) == 2
    assert KeyRing([]).find(key) is None


def test_keys_are_long_and_never_the_same():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("mv_") and len(key) == 46 for key in keys)  # 43 characters of 6 bits hold 256 bits


def test_a_file_and_the_environment_are_read_together(tmp_path, monkeypatch):
    path = tmp_path / "密钥.txt"
    lines = [key_line(name, ["verify"], new_key()) for name in ("a", "b", "c")]
    path.write_text(f"\ufeff# the phones\n\n{lines[0]}\n", encoding="utf-8")
    assert read_key_lines(path) == (lines[0],)
    monkeypatch.setenv(ENVIRONMENT, f"{lines[1]}; {lines[2]}\n")
    assert read_key_lines(path) == tuple(lines)
    assert read_key_lines(None) == tuple(lines[1:])
    monkeypatch.setenv(ENVIRONMENT, lines[0])
    with pytest.raises(ConfigError, match="two keys named 'a'"):
        read_key_lines(path)


def test_mistakes_are_named_and_never_repeat_a_key(tmp_path):
    key = new_key()
    digest = hashlib.sha256(key.encode()).hexdigest()
    for line, says in (
        (key, "found 1 words"),
        (f"phone verify {key}", "holds hashes, never the keys"),
        (f"phone verfy {digest}", "unknown scope 'verfy'.*Did you mean 'verify'"),
        (f"pho/ne verify {digest}", "name of a key"),
        (f"phone verify {digest.upper()}", "64 hexadecimal digits"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            parse_key(line, "keys.txt:3")
        assert str(caught.value).startswith("keys.txt:3: ")
        assert key not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key_lines(tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no key in it"):
        read_key_lines(tmp_path / "empty.txt")
    with pytest.raises(ConfigError, match="unknown scope"):
        key_line("phone", ["everything"], key)
