"""The configuration of a Prometheus that scrapes these targets: as JSON, which is YAML as well."""

import json
from collections.abc import Iterable
from typing import Any, Final

from shared.observability.targets import Target

JOB: Final = "tidemark"
SCRAPE_EVERY: Final = "5s"


def configuration(targets: Iterable[Target], rules: str, *, every: str = SCRAPE_EVERY) -> str:
    """``rules``: the path of the rules. ``every``: between scrapes, and between evaluations."""
    by_name: dict[str, list[str]] = {}
    for each in targets:
        host = f"[{each.host}]" if ":" in each.host else each.host
        by_name.setdefault(each.name, []).append(f"{host}:{each.port}")
    document: dict[str, Any] = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [rules],
        "scrape_configs": [
            {
                "job_name": JOB,
                "scrape_timeout": every,
                "static_configs": [
                    {"targets": addresses, "labels": {"deployable": name}} for name, addresses in by_name.items()
                ],
            }
        ],
    }
    return json.dumps(document, indent=1) + "\n"
