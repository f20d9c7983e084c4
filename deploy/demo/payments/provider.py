"""The port of a payment provider, and the local one: what becomes of a payment follows from its id and the settings alone. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final, Protocol

from shared.contracts.payments import PaymentRequested
from shared.runtime.settings import Settings

DECLINED: Final = "the card was declined"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider says of a payment, and how long it takes to say so."""

    after: timedelta
    failure: str | None = None
    """Why there is no money; None: it is captured."""


class PaymentProvider(Protocol):
    def answer(self, payment: PaymentRequested) -> Answer:
        """The same payment always gets the same answer: it may be asked about more than once."""


@dataclass(frozen=True, slots=True)
class LocalProvider:
    """``failed`` and ``late`` are shares of all payments, from 0 to 1. No payment is both; a late one is captured."""

    delay: timedelta
    late_after: timedelta
    failed: float
    late: float
    seed: int

    @classmethod
    def of(cls, settings: Settings) -> "LocalProvider":
        return cls(
            timedelta(seconds=settings.payment_delay_s),
            timedelta(seconds=settings.payment_late_s),
            settings.payment_failed_share,
            settings.payment_late_share,
            settings.payment_seed,
        )

    def answer(self, payment: PaymentRequested) -> Answer:
        drawn = self._draw(payment.payment_id)
        if drawn < self.failed:
            return Answer(self.delay, DECLINED)
        return Answer(self.late_after if drawn < self.failed + self.late else self.delay)

    def _draw(self, payment_id: str) -> float:
        """A number from 0 up to 1, evenly spread over ids."""
        digest = blake2b(payment_id.encode(), digest_size=8, key=str(self.seed).encode()).digest()
        return int.from_bytes(digest, "big") / 2**64
