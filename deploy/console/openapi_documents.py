"""Writes the OpenAPI documents of both HTTP services, without servers, for the types of the console's source.

python -m deploy.console.openapi_documents FOLDER     makes FOLDER/queries.json and FOLDER/commands.json
"""

import json
import sys
from pathlib import Path

from command_service.http import scheduled
from command_service.http.ingress import create_app as command_app
from query_service.app import create_app as query_app
from query_service.http.requests import Stores


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A document needs no stores: they are for requests.
    for name, app in (
        ("queries", query_app(Stores())),
        ("commands", command_app(None, None, scheduled.ROUTES)),  # type: ignore[arg-type]
    ):
        (folder / f"{name}.json").write_text(json.dumps(app.openapi_schema.to_schema(), default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
