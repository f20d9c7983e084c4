"""``tidemark contracts``: exports this version's contracts for other languages, and reports breaking changes between two versions."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deploy.cli.terminal import WRONG_USE, Output, OutputOption, fail
from deploy.contracts.compatibility import breaking_changes

app: Final = typer.Typer(help="What other services may send and read, for every language.", no_args_is_help=True)

Document = Annotated[
    str, typer.Argument(help="An exported asyncapi.json, or its folder; `current`: that of this program.")
]


@app.command()
def export(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write; left out: the AsyncAPI document to stdout.")
    ] = None,
) -> None:
    """Write an AsyncAPI 3 document and a JSON Schema for every command, event and outcome.

    The running command service serves the same document at /contracts.

    \b
    tidemark contracts export contracts/
    tidemark contracts export | jq '.channels.commands.messages | keys'
    """
    from command_service.http.asyncapi import document

    whole = document()
    if folder is None:
        print(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "asyncapi.json", whole)
        for name, message in whole["components"]["messages"].items():
            _write(folder / f"{name}.schema.json", _self_contained(message["payload"], whole))
    except OSError as error:
        raise fail(f"cannot write to {folder}: {error.strerror or error}", WRONG_USE) from error
    print(f"wrote asyncapi.json and {len(whole['components']['messages'])} schemas to {folder}")


@app.command()
def diff(old: Document, new: Document = "current", output: OutputOption = Output.TABLE) -> None:
    """Report changes between two exports that break a sender of commands, or a reader of events and outcomes.

    Exit code 0: no breaking change, 1: at least one, 2: an export cannot be read.
    """
    found = breaking_changes(_read(old), _read(new))
    if output is Output.JSON:
        rows = [{"breaks": one.party, "where": one.where, "what": one.what} for one in found]
        print(json.dumps({"compatible": not found, "breaks": rows}, ensure_ascii=False))
    else:
        print("\n".join(map(str, found)) or "nothing breaks")
    raise typer.Exit(1 if found else 0)


def _read(place: str) -> dict[str, Any]:
    if place == "current":
        from command_service.http.asyncapi import document

        return document()
    path = Path(place)
    try:
        found: dict[str, Any] = json.loads((path / "asyncapi.json" if path.is_dir() else path).read_text())
        _ = found["channels"]["commands"]["messages"], found["components"]["messages"], found["components"]["schemas"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise fail(f"{place} is no exported AsyncAPI document: {type(error).__name__}: {error}", WRONG_USE) from error
    return found


def _self_contained(payload: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A schema that needs no other file: the schemas that it references are in its ``$defs``."""
    needed: dict[str, Any] = {}

    def inside(value: Any) -> Any:
        if isinstance(value, list):
            return [inside(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$ref" not in value:
            return {key: inside(each) for key, each in value.items()}
        name = value["$ref"].rpartition("/")[2]
        if name not in needed:
            needed[name] = {}  # a placeholder, because a schema may reference itself
            needed[name] = inside(whole["components"]["schemas"][name])
        return {"$ref": f"#/$defs/{name}"}

    schema = inside(payload)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": needed}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
