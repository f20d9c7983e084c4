"""What an operator may make of a dead command."""

from datetime import UTC, datetime
from typing import Any

import pytest

from projectors.dead_letters.actions.editing import edited_command
from projectors.dead_letters.actions.refusal import Refusal
from shared.messages.control import Edit

NOW = datetime(2026, 5, 1, tzinfo=UTC)
RENAME = {"id": "k1", "source": "shop", "type": "customers.rename-customer", "subject": "c-1", "data": {"name": "A"}}
ERASE = {"id": "k1", "source": "shop", "type": "privacy.erase-subject", "data": {"subject": "customers/c-1"}}


def edit(original: dict[str, Any], data: dict[str, Any], **changes: str) -> Any:
    return edited_command(Edit(letter_id=1, data=data, actor="ann", reason="x", **changes), original, NOW)


def test_an_edited_command_keeps_its_sender_and_gets_an_id_of_its_own() -> None:
    made = edit(RENAME, {"name": "B"})
    assert (made.source, made.type, made.subject, made.data) == ("shop", RENAME["type"], "c-1", {"name": "B"})
    assert made.id != "k1"


@pytest.mark.parametrize(("original", "changes"), [(RENAME, {"type": "privacy.erase-subject"}), (ERASE, {})])
def test_no_edit_has_anybody_erased(original: dict[str, Any], changes: dict[str, str]) -> None:
    with pytest.raises(Refusal, match="never edited"):
        edit(original, {"subject": "customers/c-2"}, **changes)
