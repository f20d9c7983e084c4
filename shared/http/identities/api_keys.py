"""API keys: ``tmk_<id>_<secret>``. The id finds the key; the secret, 256 random bits, proves it; only the secret's SHA-256 is stored.

A fast hash is right here. Slow ones (Argon2, scrypt) are for passwords, which people choose and attackers guess; nobody guesses 256 random
bits, however fast the hash, and a slow one would cost each request what it is meant to cost an attacker.
"""

import hmac
import re
import secrets
from hashlib import sha256
from typing import Final, NamedTuple

PREFIX: Final = "tmk_"
ID_LENGTH: Final = 12
SECRET_BYTES: Final = 32
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_KEY: Final = re.compile(rf"{PREFIX}([a-z0-9]{{{ID_LENGTH}}})_([A-Za-z0-9_-]{{43}})", re.ASCII)


class ApiKey(NamedTuple):
    id: str
    secret: str

    def __str__(self) -> str:
        """The key as it is handed out."""
        return f"{PREFIX}{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"ApiKey({self.id})"

    @property
    def digest(self) -> bytes:
        """What is stored of it."""
        return sha256(self.secret.encode()).digest()

    def matches(self, stored: bytes) -> bool:
        """Whether this is the key with the stored digest; takes as long whatever it differs in."""
        return hmac.compare_digest(self.digest, stored)


def generate() -> ApiKey:
    """A new key, from the operating system's randomness."""
    return ApiKey("".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH)), secrets.token_urlsafe(SECRET_BYTES))


def parse(text: str) -> ApiKey | None:
    """The key; None: the text is none."""
    found = _KEY.fullmatch(text)
    return ApiKey(found[1], found[2]) if found else None
