"""Grafana's dashboards, as JSON, from the table of panels: three panels in a row, for Grafana 9 and later."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from deploy.observability.panels import DASHBOARDS, Panel

WIDTH: Final = 24
PANEL_WIDTH: Final = 8
PANEL_HEIGHT: Final = 8
STAT_WIDTH: Final = 4
STAT_HEIGHT: Final = 4
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def files() -> Iterator[tuple[str, str]]:
    """Path below ``deploy/observability``, and content."""
    for title, panels in DASHBOARDS.items():
        name = title.lower().replace(" ", "-")
        document = dashboard(f"Tidemark: {title}", f"tidemark-{name}", panels)
        yield f"grafana/dashboards/{name}.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def dashboard(title: str, uid: str, panels: Sequence[Panel]) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": title,
        "tags": ["tidemark"],
        "schemaVersion": 38,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "links": [{"type": "dashboards", "tags": ["tidemark"], "title": "Tidemark", "asDropdown": True}],
        "panels": list(_placed(panels)),
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    """From left to right, in rows as high as their highest panel."""
    x = y = row = 0
    for number, panel in enumerate(panels, start=1):
        width, height = (STAT_WIDTH, STAT_HEIGHT) if panel.kind == "stat" else (PANEL_WIDTH, PANEL_HEIGHT)
        if x + width > WIDTH:
            x, y, row = 0, y + row, 0
        yield _panel(number, panel) | {"gridPos": {"x": x, "y": y, "w": width, "h": height}}
        x, row = x + width, max(row, height)


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "legendFormat": legend or panel.title}
            | ({"instant": True, "format": "table"} if panel.kind == "table" else {})
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }
    return made | ({"description": panel.description} if panel.description else {})
