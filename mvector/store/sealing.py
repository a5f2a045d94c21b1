"""What protects a store's contents at rest: AES-256-GCM with a key from outside, or nothing but a keyed look-up.

With a key, names, embeddings, recordings and qualities are ciphertext in the file; what stays readable is how many
people and utterances there are, how large, when they were added, and the model's fingerprint. The key is stretched by
scrypt, so that a passphrase is not found by trying quickly. Everything sealed is bound to its place (`context`): a row
copied to another person does not open.
"""

import hashlib
import hmac
import os

from mvector.errors import MissingPackageError, StoreError

KEY_VARIABLE = "MVECTOR_STORE_KEY"
SALT_BYTES, NONCE_BYTES, LOOKUP_BYTES = 16, 12, 16
MIN_KEY_LENGTH = 12  # characters
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**15, 8, 1  # 32 MiB and about 0.1 s, once per opening (OWASP's smallest but one)
_KNOWN_TEXT = b"mvector store"


class Sealing:
    """No encryption: bytes pass as they are. Names are looked up by a hash either way."""

    def __init__(self, salt: bytes):
        self._lookup_key = salt

    def seal(self, data: bytes, context: bytes) -> bytes:
        return data

    def unseal(self, data: bytes, context: bytes) -> bytes:
        return data

    def digest(self, data: bytes) -> bytes:
        """16 bytes that nobody can compute, or undo by guessing, without the key (without a key: without the file)."""
        return hmac.digest(self._lookup_key, data, "sha256")[:LOOKUP_BYTES]

    def check(self) -> bytes | None:
        """What is kept in the store to recognise the right key by."""
        return None


class EncryptedSealing(Sealing):
    """AES-256-GCM with a random nonce for every piece."""

    def __init__(self, key: str, salt: bytes, location: str):
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except Exception as error:
            raise MissingPackageError(
                f"{location}: encryption needs the package cryptography, which cannot be imported ({error}). "
                "Install it with: pip install cryptography"
            ) from error
        if len(key) < MIN_KEY_LENGTH:
            raise StoreError(
                f"{KEY_VARIABLE}: the key has {len(key)} characters; it needs at least {MIN_KEY_LENGTH}, best made by: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        stretched = hashlib.scrypt(key.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=2**26, dklen=64)
        super().__init__(stretched[:32])
        self._cipher = AESGCM(stretched[32:])
        self._location = location

    def seal(self, data: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, context)

    def unseal(self, data: bytes, context: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], context)
        except InvalidTag as error:
            raise StoreError(
                f"{self._location}: a part of it does not open with this key: it was damaged or changed from outside. "
                "Restore the file from a backup."
            ) from error

    def check(self) -> bytes | None:
        return self.seal(_KNOWN_TEXT, b"check")


def new_sealing(location: str, key: str | None) -> tuple[bytes, Sealing]:
    """The salt and the sealing of a new store."""
    salt = os.urandom(SALT_BYTES)
    return salt, Sealing(salt) if key is None else EncryptedSealing(key, salt, location)


def open_sealing(location: str, salt: bytes, check: bytes | None, key: str | None) -> Sealing:
    """The sealing of a store that has `salt` and `check`; raises StoreError where `key` does not fit it."""
    if check is None:
        if key is not None:
            raise StoreError(
                f"{location} is not encrypted, but a key is given ({KEY_VARIABLE}). Leave the key out; or export the "
                "people, and import them into a new store that is opened with the key."
            )
        return Sealing(salt)
    if key is None:
        raise StoreError(f"{location} is encrypted; set its key in the environment variable {KEY_VARIABLE}.")
    sealing = EncryptedSealing(key, salt, location)
    try:
        sealing.unseal(check, b"check")
    except StoreError:
        raise StoreError(f"{location} is encrypted with another key than the one given ({KEY_VARIABLE}).") from None
    return sealing
