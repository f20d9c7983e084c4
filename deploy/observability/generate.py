"""``python -m deploy.observability.generate``: writes rules, runbooks and dashboards from the tables of alerts and panels."""

from pathlib import Path
from typing import Final

from deploy.generated_files import write
from deploy.observability import dashboards
from deploy.observability.alerting import files

FOLDER: Final = Path(__file__).parent
OWNED: Final = ("runbooks/*.md", "grafana/dashboards/*.json")
"""The files that are made here, as patterns."""


def generated() -> dict[Path, str]:
    """Each file, and what it should contain."""
    return {FOLDER / name: text for name, text in (*files.files(), *dashboards.files())}


if __name__ == "__main__":
    write(generated(), FOLDER, OWNED)
