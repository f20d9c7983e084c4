"""Redis's users: the owner, for operators, one for each read model in Redis, the reader, which only reads, and the exporter, for metrics.

A read model's user may use its own keys and the commands that its store sends; the reader may read keys of read models. Neither may
configure, list or empty the server. The exporter sees no key, and nothing but the server's figures. ``deploy/redis/start.sh`` makes the
same users for docker compose.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from shared.read_models import READ_MODELS, StoreKind

OWNER: Final = "tidemark"
READER: Final = "reader"
EXPORTER: Final = "exporter"

_NAMES: Final = tuple(model.name for model in READ_MODELS if model.store is StoreKind.REDIS)
_SESSION: Final = "+@connection +@transaction"
_SCRIPTS: Final = "+eval +evalsha +script|load"
_READS: Final = (
    "+exists +hexists +hget +hgetall +hlen +hmget +hscan +scan +scard +sismember +smembers"
    " +zcard +zmscore +zrange +zrangebyscore +zscore"
)
_WRITES: Final = "+copy +del +hdel +hincrby +hset +sadd +unlink +zadd +zincrby +zrem +zremrangebyscore +zunionstore"


def _keys(name: str, kind: str) -> str:
    """Those of a read model's first generation, of its others, and of its registry (``shared.views.generations``)."""
    return f"{kind}{name}:* {kind}{name}_* {kind}{name}-registry"


RULES: Final[Mapping[str, str]] = {
    OWNER: "~* &* +@all",
    **{
        name: f"{_keys(name, '~')} resetchannels -@all {_SESSION} {_SCRIPTS} {_READS} {_WRITES} -@dangerous"
        for name in _NAMES
    },
    READER: f"{' '.join(_keys(name, '%R~') for name in _NAMES)} resetchannels -@all {_SESSION} +@read +time -@dangerous",
    EXPORTER: "resetchannels -@all +@connection -@dangerous +info +latency|latest +slowlog|len",
}
"""User → its rules, as in an ACL file."""

DEFAULT_USER: Final = "user default off resetpass ~* &* +@all"
"""Nobody can be it: it is off and has no password. It has every permission because Redis and Valkey load the append-only file as this user,
and silently leave out each transaction, and so each commit of a script, that it may not make (redis/redis#14541, valkey-io/valkey#3983)."""


def user_of(deployable: str) -> str:
    """The user of a deployable that uses Redis."""
    return deployable if deployable in _NAMES else READER


def acl(passwords: Mapping[str, str]) -> str:
    """The lines of an ACL file, with hashes of the passwords."""
    users = (f"user {user} on {hash_of(passwords[user])} {rules}" for user, rules in RULES.items())
    return "\n".join((DEFAULT_USER, *users, ""))


def hash_of(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()
