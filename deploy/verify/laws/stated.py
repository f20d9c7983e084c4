"""What the rows of a read model must state by the conservation laws, whatever its projection makes of the events. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projectors.stores.port import Advance
from projectors.stores.tables import Table
from shared.contracts.laws import Law, totals
from shared.contracts.registry import LAWS


def misstated(
    table: Table[Any], rows: Iterable[Mapping[str, Any]], advances: Sequence[Advance], laws: Sequence[Law] = LAWS
) -> dict[str, list[Mapping[str, Any]]]:
    """Row id → what the row states against a law. ``rows`` are those that follow from ``advances``.

    A stream of which an operator has discarded events is left out: they may have stated amounts.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for law in laws:
        if not law.stated or law.kind != table.kind:
            continue
        whole = [
            advance for advance in advances if advance.events and advance.events[-1].version == len(advance.events)
        ]
        by_key = totals(law, (event.data for advance in whole for event in advance.events))
        ids = set(table.ids([advance.stream for advance in whole]))
        for row in rows:
            key, fields = str(row[table.stream]), {**row, **(row.get("doc") or {})}
            if key not in ids:
                continue
            for name, value in law.stated.items():
                expected, stated = value(by_key.get(key, {})), fields.get(name)
                if stated is not None and stated != expected:
                    problem = {
                        "table": table.name,
                        "law": law.name,
                        "field": name,
                        "expected": expected,
                        "found": stated,
                    }
                    found.setdefault(key, []).append(problem)
    return found
