"""The read models: one line each. Everything that has to know which there are derives it from here.

A read model of this name has, by convention: its projector in ``projectors/models/<name>/``, the shapes that it is read in at
``shared/views/<name>.py``, and its routes in a module of ``query_service/routes/``. README, "A new read model", has the recipe.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.contracts.registry import KINDS

ERASURES: Final = "subjects"
"""The kind of the streams that say who is erased."""


class StoreKind(StrEnum):
    POSTGRES = "postgres"
    """A schema named after the read model, in the database of ``TIDEMARK_READ_DB_URL`` or ``TIDEMARK_<NAME>_DB_URL``."""
    REDIS = "redis"
    """Keys that begin with the read model's name, in the Redis of ``TIDEMARK_<NAME>_REDIS_URL``."""


@dataclass(frozen=True)
class ReadModel:
    name: str
    store: StoreKind
    kinds: Sequence[str]
    """The kinds of stream that it reads. Events of others are not decoded, applied or recorded. One that is added needs a rebuild."""

    @property
    def has_personal_data(self) -> bool:
        """Whether it reads who is erased: then it may open what is sealed, and overwrites its rows of those who are."""
        return ERASURES in self.kinds

    @property
    def setting(self) -> str:
        """The setting that has its store's URL: ``<name>_db_url`` or ``<name>_redis_url``."""
        return f"{self.name}_{'db' if self.store is StoreKind.POSTGRES else 'redis'}_url"

    @property
    def variable(self) -> str:
        """That setting's name in the environment."""
        return f"TIDEMARK_{self.setting.upper()}"


READ_MODELS: Final = (
    ReadModel(
        "summary",
        StoreKind.POSTGRES,
        ("orders", "products", "customers", "doctors", "patients", "bookings", "users", "payments", ERASURES),
    ),
    ReadModel("analytics", StoreKind.REDIS, ("orders", "products")),
    ReadModel("search", StoreKind.POSTGRES, ("orders", "products", "customers", "doctors", ERASURES)),
    ReadModel("telemetry", StoreKind.POSTGRES, ("devices",)),
)

NAMES: Final = tuple(model.name for model in READ_MODELS)
IN_POSTGRES: Final = tuple(model for model in READ_MODELS if model.store is StoreKind.POSTGRES)
_BY_NAME: Final[Mapping[str, ReadModel]] = {model.name: model for model in READ_MODELS}


def check(models: Sequence[ReadModel]) -> None:
    """Raises TypeError for a name that is there twice, and for a kind of stream that no context has."""
    for model in models:
        if [each.name for each in models].count(model.name) > 1:
            raise TypeError(f"there are two read models {model.name!r} in shared/read_models.py")
        if unknown := [kind for kind in model.kinds if kind not in KINDS]:
            raise TypeError(
                f"the read model {model.name!r} reads {', '.join(unknown)}, a kind that no context has;"
                f" there are {', '.join(KINDS)}"
            )


check(READ_MODELS)


def packing_groups(models: Sequence[ReadModel]) -> Mapping[str, str]:
    """Kind of stream → its group, named after one of its kinds. Two kinds are in one group if any read model reads both.

    A read model reads kinds of one group only: a message with kinds of one group is read by all or some of that group's read models,
    and is of no interest to any other.
    """
    group = {kind: kind for kind in KINDS}
    for model in models:
        joined = {group[kind] for kind in model.kinds}
        group = {kind: min(joined) if own in joined else own for kind, own in group.items()}
    return group


PACKING_GROUPS: Final = packing_groups(READ_MODELS)


class UnknownReadModelError(LookupError):
    """There is no read model of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no read model {name!r}; there are {', '.join(NAMES)}")


def is_of(kinds: Collection[str], stream: str) -> bool:
    """Whether a stream, ``<kind>/<id>``, is of one of these kinds. True also for a text that is no stream name."""
    kind, slash, _ = stream.partition("/")
    return kind in kinds or not slash


def named(name: str) -> ReadModel:
    """Raises UnknownReadModelError, which says which there are."""
    try:
        return _BY_NAME[name]
    except KeyError as error:
        raise UnknownReadModelError(name) from error
