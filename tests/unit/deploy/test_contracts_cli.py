"""``tidemark contracts``: files that stand alone, and exit codes for scripts."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from command_service.http.asyncapi import document
from deploy.cli.contracts import app

PAY = {"specversion": "1.0", "id": "i", "source": "s", "type": "orders.pay-order", "data": {"amount": 5}}


def test_an_exported_schema_needs_no_other_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path / "new" / "folder")])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "new" / "folder"
    assert json.loads((folder / "asyncapi.json").read_text()) == document()
    assert len(list(folder.glob("*.schema.json"))) == len(document()["components"]["messages"])
    schema = json.loads((folder / "orders.pay-order.schema.json").read_text())
    schema["$defs"]["CommandEnvelope"]["properties"].pop("id")  # its pattern is none of Python's
    assert Draft202012Validator(schema).is_valid(PAY)
    assert not Draft202012Validator(schema).is_valid(PAY | {"data": {"amount": -1}})


def test_without_a_folder_the_document_is_printed() -> None:
    assert json.loads(CliRunner().invoke(app, ["export"]).stdout) == document()


def test_diff_says_what_breaks_and_exits_with_one(tmp_path: Path) -> None:
    old = document()
    old["channels"]["commands"]["messages"]["orders.gone"] = {"$ref": "#/components/messages/orders.pay-order"}
    old["components"]["messages"]["orders.gone"] = old["components"]["messages"]["orders.pay-order"]
    (tmp_path / "asyncapi.json").write_text(json.dumps(old))
    done = CliRunner().invoke(app, ["diff", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "breaks senders: orders.gone: is no longer there\n")
    done = CliRunner().invoke(app, ["diff", str(tmp_path), "--output", "json"])
    assert json.loads(done.stdout)["breaks"] == [
        {"breaks": "sender", "where": "orders.gone", "what": "is no longer there"}
    ]
    done = CliRunner().invoke(app, ["diff", "current", "current"])
    assert (done.exit_code, done.stdout) == (0, "nothing breaks\n")


def test_what_is_no_document_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for place in (tmp_path / "other.json", tmp_path / "missing.json"):
        done = CliRunner().invoke(app, ["diff", str(place)])
        assert done.exit_code == 2
        assert str(place) in done.stderr.replace("\n", "")
