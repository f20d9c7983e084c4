"""``python -m deploy.observability.generate``: writes the rules, runbooks and dashboards that follow "
"from the tables of alerts and panels."""

from pathlib import Path
from typing import Final

from deploy.observability import dashboards
from deploy.observability.alerting import files

FOLDER: Final = Path(__file__).parent
OWNED: Final = ("runbooks/*.md", "grafana/dashboards/*.json")
"""Files of these are removed when nothing makes them any more."""


def generated() -> dict[Path, str]:
    """Each file, and what it should contain."""
    return {FOLDER / name: text for name, text in (*files.files(), *dashboards.files())}


def main() -> None:
    wanted = generated()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for pattern in OWNED:
        for path in FOLDER.glob(pattern):
            if path not in wanted:
                path.unlink()


if __name__ == "__main__":
    main()
