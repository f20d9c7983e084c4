"""``tidemark codes``: the refusal codes and their meanings, for authors of senders."""

import json

from rich.console import Console
from rich.table import Table

from deploy.cli.terminal import Output
from shared.contracts.refusals import HTTP_REFUSALS
from shared.contracts.registry import REFUSALS


def show(output: Output) -> None:
    rows = [
        {"code": code, "meaning": refusal.meaning, "retry": refusal.retry.value, "over": over}
        for over, refusals in (("AMQP, HTTP", REFUSALS), ("HTTP", HTTP_REFUSALS))
        for code, refusal in sorted(refusals.items())
    ]
    if output is Output.JSON:
        print(json.dumps(rows))
        return
    table = Table()
    for column in ("code", "meaning", "retry", "over"):
        table.add_column(column, no_wrap=column != "meaning")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
