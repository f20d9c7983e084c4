"""Payments in the summary: a document of each."""

from typing import Final

from projectors.models.summary.documents import Documents, Rule
from projectors.stores.folding import Fields
from shared.contracts.payments import (
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    PaymentStatus,
)

CREATE_PAYMENTS: Final = """
INSERT INTO payments (payment_id, order_id, status, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[])
ON CONFLICT (payment_id) DO UPDATE SET
    order_id = excluded.order_id,
    status = excluded.status,
    version = excluded.version,
    doc = excluded.doc
"""

# The order is left out: no event changes it.
CHANGE_PAYMENTS: Final = """
UPDATE payments SET
    status = coalesce(fields ->> 'status', payments.status),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (payment_id, fields)
WHERE payments.payment_id = changed.payment_id
RETURNING payments.payment_id
"""


def _requested(data: PaymentRequested) -> Fields:
    return {
        "payment_id": data.payment_id,
        "order_id": data.order_id,
        "status": PaymentStatus.REQUESTED.value,
        "amount": data.amount,
        "currency": data.currency,
        "refunded": 0,
        "failure_reason": None,
        "requested_at": data.requested_at,
        "captured_at": None,
        "failed_at": None,
    }


def _captured(data: PaymentCaptured) -> Fields:
    return {"status": PaymentStatus.CAPTURED.value, "captured_at": data.captured_at}


def _failed(data: PaymentFailed) -> Fields:
    return {"status": PaymentStatus.FAILED.value, "failure_reason": data.reason, "failed_at": data.failed_at}


def _refunded(data: PaymentRefunded) -> Fields:
    return {"refunded": data.refunded}


DOCUMENTS: Final = Documents(
    name="payments",
    columns=("payment_id", "order_id", "status", "version"),
    create=CREATE_PAYMENTS,
    change=CHANGE_PAYMENTS,
    rules={
        PaymentRequested: Rule("requested_at", _requested, creates=True),
        PaymentCaptured: Rule("captured_at", _captured),
        PaymentFailed: Rule("failed_at", _failed),
        PaymentRefunded: Rule("refunded_at", _refunded),
    },
)
