"""The person whom the actor of a request says it acts for."""

from typing import Any

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

from shared.contracts.values import Actor


class ClaimedPerson(BaseModel):
    """``behind``: as claimed. Absent from the message where there is none, and last, so that older workers read it as before."""

    behind: Actor | None = None

    @model_serializer(mode="wrap")
    def _behind_last(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        others = {name: value for name, value in handler(self).items() if name != "behind"}
        return others if self.behind is None else {**others, "behind": self.behind}
