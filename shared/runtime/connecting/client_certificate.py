"""A URL's client certificate is checked before it is used: a server that refuses it may close the connection without saying why."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

PARAMETERS: Final = ("certfile", "sslcert", "ssl_certfile")
"""The URL parameters that name its file: of RabbitMQ, PostgreSQL and Redis."""


class ClientCertificateError(OSError):
    """The certificate cannot be read, or is not valid now; the message names the file."""


def require_valid(url: str) -> None:
    """Raises ClientCertificateError. Nothing happens for a URL without a client certificate."""
    if "cert" not in url:
        return
    from cryptography import x509  # here, because few processes need it, and it takes a fifth of a second to import

    given = parse_qs(urlsplit(url).query)
    for path in (path for name in PARAMETERS for path in given.get(name, ())):
        try:
            certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise ClientCertificateError(f"the client certificate {path} cannot be read: {error}") from error
        begins, ends, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
        if now > ends:
            raise ClientCertificateError(f"the client certificate {path} expired at {ends.isoformat()}")
        if now < begins:
            raise ClientCertificateError(f"the client certificate {path} is not valid before {begins.isoformat()}")
