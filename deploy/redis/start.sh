#!/bin/sh
# Starts Redis in docker compose with the users of deploy/servers/accounts/redis_users.py; arguments are further settings. The passwords come from the
# environment, and what is written down, in the ACL file, is their hashes.
set -eu

hash() {
  printf '%s' "$1" | sha256sum | cut -d ' ' -f 1
}

# The default user is off, so nobody can be it. It has every permission because the append-only file is loaded as this user, and each transaction
# that it may not make is silently left out.
acl="${TIDEMARK_ACL_FILE:-/tmp/users.acl}"
umask 077
cat > "$acl" <<ACL
user default off resetpass ~* &* +@all
user tidemark on #$(hash "$REDIS_PASSWORD") ~* &* +@all
user analytics on #$(hash "$REDIS_ANALYTICS_PASSWORD") ~analytics:* ~analytics_* ~analytics-registry resetchannels -@all +@connection +@transaction +eval +evalsha +script|load +exists +hexists +hget +hgetall +hlen +hmget +hscan +scan +scard +sismember +smembers +zcard +zmscore +zrange +zrangebyscore +zscore +copy +del +hdel +hincrby +hset +sadd +unlink +zadd +zincrby +zrem +zremrangebyscore +zunionstore -@dangerous
user reader on #$(hash "$REDIS_READER_PASSWORD") %R~analytics:* %R~analytics_* %R~analytics-registry resetchannels -@all +@connection +@transaction +@read +time -@dangerous
user exporter on #$(hash "$REDIS_EXPORTER_PASSWORD") resetchannels -@all +@connection -@dangerous +info +latency|latest +slowlog|len
ACL
unset REDIS_PASSWORD REDIS_ANALYTICS_PASSWORD REDIS_READER_PASSWORD REDIS_EXPORTER_PASSWORD

if [ "$(id -u)" = 0 ] && id redis > /dev/null 2>&1; then
  chown redis "$acl"
fi
# The image's entry point gives up root.
start="$(command -v docker-entrypoint.sh || true)"
exec ${start:+"$start"} redis-server --aclfile "$acl" "$@"
