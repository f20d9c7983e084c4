"""Every refusal code, its meaning, and whether to retry. Codes are stable and for programs; messages are for people.

Refusals of a context's own rules are declared with its contract; ``registry.REFUSALS`` has all.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Retry(StrEnum):
    """What the sender can do after this refusal."""

    NEW_ID = "new-id"
    """The outcome is kept: the same command gets it again. A retry, or another command, needs a new id."""
    SAME_ID = "same-id"
    """Nothing is kept under the id: correct the message and send it under the same one."""
    LATER = "later"
    """Send the same again, after ``Retry-After`` seconds where the response has it."""


class Refusal(NamedTuple):
    meaning: str
    retry: Retry


REFUSALS: Final[Mapping[str, Refusal]] = {
    "unknown-command": Refusal("There is no command of this type.", Retry.NEW_ID),
    "validation-failed": Refusal(
        "An attribute of the envelope or a field of the data is not what the contract allows; `errors` names each.",
        Retry.NEW_ID,
    ),
    "version-conflict": Refusal(
        "The stream is not at the `expectedversion`: read it again, and decide again.", Retry.NEW_ID
    ),
    "idempotency-key-reused": Refusal("The id was used before, for a command with another body.", Retry.NEW_ID),
    "malformed-message": Refusal(
        "Not JSON, or a command without a usable `id` and `source`; it is kept as a dead letter.", Retry.SAME_ID
    ),
    "message-too-large": Refusal(
        "The message has more than 1 MiB, or its batch more than 100 commands; none of them was taken.", Retry.SAME_ID
    ),
    "subject-erased": Refusal("The person has been erased: their data are not taken any more.", Retry.NEW_ID),
    "not-permitted": Refusal(
        "The user that published the command may not send it: its type, or its source; or the property `user-id` is missing.",
        Retry.SAME_ID,
    ),
    "cancelled": Refusal("The command was scheduled, and has been cancelled before its time.", Retry.NEW_ID),
    "discarded": Refusal("The service failed on the command, and an operator has given it up.", Retry.NEW_ID),
    "superseded": Refusal("The service failed on the command, and an operator has sent another one.", Retry.NEW_ID),
}
"""Of all commands, over AMQP and HTTP."""

HTTP_REFUSALS: Final[Mapping[str, Refusal]] = {
    "outcome-not-found": Refusal("No outcome is known for this id, or not yet.", Retry.LATER),
    "not-scheduled": Refusal("No scheduled command with this id waits for its time.", Retry.NEW_ID),
    "source-needed": Refusal(
        "Several services have sent a command with this id; name one in `?source=`.", Retry.SAME_ID
    ),
    "broker-unavailable": Refusal("RabbitMQ did not confirm the command in time; it may be kept.", Retry.LATER),
    "store-unavailable": Refusal("The database with outcomes and streams cannot be reached.", Retry.LATER),
    "unknown-kind": Refusal("There is no such kind of stream.", Retry.SAME_ID),
    "stream-not-found": Refusal("There is no stream of this name, or not yet.", Retry.LATER),
    "state-unreadable": Refusal("The stream's state is of older code, and replaying its events failed.", Retry.LATER),
    "unauthorised": Refusal("There is no credential, or none that is valid.", Retry.SAME_ID),
    "forbidden": Refusal("The credential lacks a scope; `scopes` names it.", Retry.SAME_ID),
    "read-only": Refusal("An administrator has forbidden operators' acts; the message says who and why.", Retry.LATER),
    "credentials-unchecked": Refusal("Whether the credential is valid cannot be checked at the moment.", Retry.LATER),
    "not-ready": Refusal("Something that commands depend on makes no progress; the message says what.", Retry.LATER),
    "not-serving": Refusal("No command can be accepted at the moment; the message says why.", Retry.LATER),
    "internal-error": Refusal("An error inside the service; it has been logged.", Retry.LATER),
    "unsupported-media-type": Refusal("The body is not the data of a command, as application/json.", Retry.SAME_ID),
    "invalid-parameter": Refusal("A parameter of the query string is not what it may be.", Retry.SAME_ID),
    "invalid-request": Refusal("The request cannot be read.", Retry.SAME_ID),
    "no-such-route": Refusal("There is nothing at this path.", Retry.SAME_ID),
    "method-not-allowed": Refusal("The path does not have this method.", Retry.SAME_ID),
    "request-refused": Refusal("The request is refused for the reason that its status gives.", Retry.SAME_ID),
}
"""Of the HTTP ingress only, as the ``code`` of a problem, like the codes of commands there."""
