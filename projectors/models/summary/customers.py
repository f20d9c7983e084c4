"""Customers in the summary: a document of each."""

from typing import Final

from projectors.models.summary.documents import Documents, Rule, known
from projectors.stores.folding import Fields
from shared.contracts.customers import CustomerRegistered, CustomerRenamed, EmailChanged, RegionChanged

CREATE_CUSTOMERS: Final = """
INSERT INTO customers (customer_id, name, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[])
ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, version = excluded.version, doc = excluded.doc
"""

CHANGE_CUSTOMERS: Final = """
UPDATE customers SET
    name = coalesce(fields ->> 'name', customers.name),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (customer_id, fields)
WHERE customers.customer_id = changed.customer_id
RETURNING customers.customer_id
"""

ERASE_CUSTOMERS: Final = """
UPDATE customers SET name = '[erased]', doc = erased(doc, '{name,email}') WHERE customer_id = ANY ($1::text[])
"""


def _customer_registered(data: CustomerRegistered) -> Fields:
    return {
        "customer_id": data.customer_id,
        "name": data.name,
        "email": data.email,
        "registered_at": data.registered_at,
    } | known({"region": data.region})


def _customer_renamed(data: CustomerRenamed) -> Fields:
    return {"name": data.name}


def _email_changed(data: EmailChanged) -> Fields:
    return {"email": data.email}


def _region_changed(data: RegionChanged) -> Fields:
    return {"region": data.region}


DOCUMENTS: Final = Documents(
    name="customers",
    columns=("customer_id", "name", "version"),
    create=CREATE_CUSTOMERS,
    change=CHANGE_CUSTOMERS,
    erase=ERASE_CUSTOMERS,
    rules={
        CustomerRegistered: Rule("registered_at", _customer_registered, creates=True),
        CustomerRenamed: Rule("renamed_at", _customer_renamed),
        EmailChanged: Rule("changed_at", _email_changed),
        RegionChanged: Rule("changed_at", _region_changed),
    },
)
