"""Commands as the worker has them."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec

from command_service.handling.parsing import Command, read
from shared.messaging.consuming import Delivery


def command(type_: str = "orders.pay-order", **attributes: Any) -> Command:
    envelope = {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "tests",
        "type": type_,
        "subject": "o-1",
        "data": {"amount": 5},
    }
    [part] = read(msgspec.json.encode(envelope | attributes), None).parts
    assert isinstance(part, Command), part
    return part


def delivery(**headers: Any) -> Delivery:
    found: Any = SimpleNamespace(headers=headers)
    return found  # type: ignore[no-any-return]
