"""The parameters that several analytics routes take."""

from typing import Annotated, Final

from litestar.params import QueryParameter

from query_service.http.parameters import TIME_FORMAT

_EDGE: Final = "a date or an RFC 3339 time at the start of a bucket, UTC; default: as far as there is data"
From = Annotated[str | None, QueryParameter(name="from", max_length=40, description=f"Inclusive: {_EDGE}.")]
To = Annotated[str | None, QueryParameter(name="to", max_length=40, description=f"Exclusive: {_EDGE}.")]
FromTime = Annotated[str | None, QueryParameter(name="from", max_length=40, description=f"Inclusive: {TIME_FORMAT}.")]
Currency = Annotated[
    str | None,
    QueryParameter(
        pattern="^[A-Z]{3}$",
        description="ISO 4217. Default: the service's own (`TIDEMARK_CURRENCY`), else the currency of the first order seen; if there are"
        " several, each of them is also under `by_currency`.",
    ),
]
