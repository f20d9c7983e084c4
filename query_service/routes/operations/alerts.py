"""Alertmanager tells of alerts: they are in the audit, among acts and deployments. The dead-letter worker writes them down."""

from datetime import datetime
from typing import Any, Final

from litestar import Response, post
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from query_service.http import operators
from query_service.http.acting import invalid
from query_service.http.operator_openapi import NEVER_FORBIDDEN, ActionOperation
from query_service.http.requests import QueryRequest
from shared.contracts.validation_errors import describe
from shared.http.json_bodies import json_object
from shared.http.problems import FieldError
from shared.messages.operator_requests import MAX_ALERTS, ReportAlerts
from shared.views.operations import Done


class NotifiedAlert(BaseModel):
    """As Alertmanager sends it; further members are left out."""

    model_config = ConfigDict(extra="ignore")

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: datetime
    endsAt: datetime | None = None
    fingerprint: str


class Notification(BaseModel):
    """The body that Alertmanager's receiver ``webhook_configs`` posts, version 4; further members are left out."""

    model_config = ConfigDict(extra="ignore")

    alerts: list[NotifiedAlert] = Field(max_length=MAX_ALERTS)


class ReportOperation(ActionOperation):
    act = Notification


@post(
    "/audit/alerts",
    needs="operations:alerts",
    operation_class=ReportOperation,
    responses=NEVER_FORBIDDEN,
    status_code=200,
    tags=["operations"],
    summary="Report alerts",
)
async def report_alerts(request: QueryRequest) -> Response[Done]:
    """A receiver for Alertmanager's `webhook_configs`. Each alert is in `/audit` once when it fires, and once when it is over."""
    request_id = operators.request_id(request)
    try:
        told = Notification.model_validate(await json_object(request))
        act = ReportAlerts.model_validate(
            {"alerts": [_reported(one) for one in told.alerts], "actor": operators.acting(request)["actor"]}
        )
    except ValidationError as error:
        raise invalid([FieldError(one["field"], one["message"]) for one in describe(error, Notification)]) from error
    done = await request.operators.ask(act, request_id)
    return operators.answer(done.model_dump_json(exclude_none=True).encode(), request_id)


def _reported(one: NotifiedAlert) -> dict[str, Any]:
    """Of one that fires, Alertmanager has no end, or the year 1."""
    over = one.status == "resolved" and one.endsAt is not None
    return {
        "status": one.status,
        "labels": one.labels,
        "annotations": one.annotations,
        "starts_at": one.startsAt,
        "ends_at": one.endsAt if over else None,
        "fingerprint": one.fingerprint,
    }


ROUTES: Final = (report_alerts,)
