"""Certificates of erasure: a signed statement of what was searched for a person, when, and that nothing was left.

    {"certificate": {...}, "algorithm": "Ed25519", "public_key": base64, "signature": base64}

The signature (RFC 8032) is over the certificate as JSON with sorted keys, without spaces, in UTF-8. The private key is in the key database.
"""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.privacy.key_database import CERTIFICATES, KeyDatabase


async def signed(document: dict[str, Any], keys: KeyDatabase) -> dict[str, Any]:
    key = await _key(keys)
    certificate = document | {"issued_at": datetime.now(UTC).isoformat(), "issuer": "tidemark"}
    return {
        "certificate": certificate,
        "algorithm": "Ed25519",
        "public_key": _text(key.public_key().public_bytes_raw()),
        "signature": _text(key.sign(_canonical(certificate))),
    }


async def public_key(keys: KeyDatabase) -> str:
    """Base64 of its 32 bytes."""
    return _text((await _key(keys)).public_key().public_bytes_raw())


def is_genuine(document: dict[str, Any], public: str) -> bool:
    """Whether a certificate was signed by the holder of this key, and not changed since."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    try:
        key.verify(base64.b64decode(document["signature"]), _canonical(document["certificate"]))
    except InvalidSignature:
        return False
    return True


async def _key(keys: KeyDatabase) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(await keys.secret(CERTIFICATES))


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
