"""The gate before the decision: what a delivery's user may not send is refused here, counted for the audit, and never decided."""

from collections.abc import Sequence

from command_service.handling.dead_commands import apply_mark
from command_service.handling.parsing import Message
from command_service.senders.directory import SenderDirectory
from command_service.senders.permission import NOT_PERMITTED, Checked, check
from shared.messaging.access import sent_by
from shared.messaging.consuming import Delivery
from shared.messaging.denials import Denials


class Gate:
    def __init__(self, directory: SenderDirectory, denials: Denials, own_user: str) -> None:
        """``own_user``: the worker's own on the broker."""
        self._directory = directory
        self._denials = denials
        self._own_user = own_user

    async def pass_through(
        self, deliveries: Sequence[Delivery], messages: Sequence[Message]
    ) -> tuple[list[Delivery], list[Message]]:
        """The same messages with what is refused in place of commands that are not permitted; marks of others than ours do not count."""
        senders = await self._directory.of(
            {sent_by(delivery.user_id, delivery.headers, self._own_user) for delivery in deliveries}
        )
        checked = [
            check(delivery, message, senders, self._own_user)
            for delivery, message in zip(deliveries, messages, strict=True)
        ]
        for each in checked:
            for denial in each.denials:
                scope = f"commands:{denial.action}"
                self._denials.note(denial.identity, denial.action, NOT_PERMITTED, scope=scope)
        return [each.delivery for each in checked], [_marked(each) for each in checked]


def _marked(checked: Checked) -> Message:
    return apply_mark(checked.message, checked.delivery.headers) if checked.trusted else checked.message


class NoGate:
    """``TIDEMARK_AUTH=off``: every user that the broker lets publish may send every command."""

    async def pass_through(
        self, deliveries: Sequence[Delivery], messages: Sequence[Message]
    ) -> tuple[list[Delivery], list[Message]]:
        return list(deliveries), [apply_mark(m, d.headers) for m, d in zip(messages, deliveries, strict=True)]
