"""Alerts that Alertmanager has sent, for the audit: each once when it fires, and once when it is over.

Runs within the request's transaction.
"""

import json

from projectors.dead_letters.actions.audit import Entry, record_all
from shared.messages.operator_requests import Alert, ReportAlerts
from shared.messaging.topology import SUBSCRIBERS
from shared.runtime.postgres import Connection
from shared.views.operations import Done


async def report_alerts(connection: Connection, act: ReportAlerts, request_id: str) -> Done:
    """``count``: those that were not known yet; Alertmanager sends what still fires again and again."""
    entries = [_entry(act.actor, alert, request_id) for alert in act.alerts]
    return Done(request_id=request_id, verb="alerts", count=await record_all(connection, entries))


def _entry(actor: str, alert: Alert, request_id: str) -> Entry:
    over = alert.status == "resolved"
    named = alert.labels.get("alertname", "an alert without a name")
    said = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    where = alert.labels.get("projection")
    return Entry(
        alert.ends_at if over and alert.ends_at is not None else alert.starts_at,
        actor,
        f"alert-{alert.status}",
        f"{named}: {said}" if said else named,
        projection=where if where in SUBSCRIBERS else None,
        request_id=request_id,
        details=json.dumps(alert.model_dump(mode="json"), ensure_ascii=False),
        once=f"alert/{alert.fingerprint}/{alert.starts_at.isoformat()}/{alert.status}",
    )
