"""Every metric of Tidemark: its name, type, labels and meaning are declared here and nowhere else.

Names follow Prometheus's conventions: ``tidemark_``, base units, ``_total`` for counters. No label has the value of a stream, an id, a
person or a customer; a command's type and a route that the code does not know are ``other``. ``of`` are the deployables that expose it
from their start. A process has at most MAX_SERIES series.
"""

from importlib.metadata import version
from platform import python_version
from typing import Final

from prometheus_client import GCCollector, ProcessCollector

from shared.observability.families import FAMILIES, REGISTRY, Counter, Gauge, Histogram
from shared.processes import NAMES as PROCESS_MANAGERS
from shared.read_models import NAMES

MAX_SERIES: Final = 2000

WORKER: Final = ("worker",)
RELAY: Final = ("relay",)
PROJECTORS: Final = (*NAMES, "processes")
READ_MODELS: Final = NAMES
PROCESSES: Final = ("processes",)
OPERATIONS: Final = ("dead_letters",)
QUERY: Final = ("query",)
HTTP: Final = ("query", "http")

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FEW_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

# Every process
BUILD_INFO: Final = Gauge("tidemark_build_info", "1; the versions are its labels.", "version", "python")
READY: Final = Gauge("tidemark_process_ready", "1 while no component of the process reports a problem, else 0.")
SAMPLED_AT: Final = Gauge(
    "tidemark_process_sampled_timestamp_seconds",
    "When the event loop of the process last set its gauges, once a second: an old time means that the process is stuck.",
)
UNHEALTHY: Final = Gauge(
    "tidemark_component_unhealthy_seconds",
    "For how long a component of the process has had a problem, as in its health file; 0: it has none.",
    "component",
    most=80,
)
CONNECTED: Final = Gauge(
    "tidemark_broker_connected", "1 while this connection to RabbitMQ is open.", "connection", most=40
)
INBOX: Final = Gauge(
    "tidemark_inbox_messages",
    "Messages that RabbitMQ has delivered and the process has not taken yet.",
    "connection",
    most=40,
)
POOL: Final = Gauge(
    "tidemark_pool_connections", "Connections to PostgreSQL and Redis, in_use or idle.", "pool", "state", most=40
)
REPEATED: Final = Counter("tidemark_log_lines_suppressed_total", "Log lines that were left out because they repeated.")

# Commands
COMMANDS: Final = Counter(
    "tidemark_commands_total",
    "Commands by what became of them: accepted, rejected (with its code), scheduled, or failed (no outcome yet, with the reason).",
    "type",
    "outcome",
    "code",
    of=WORKER,
    most=900,
)
COMMAND_SECONDS: Final = Histogram(
    "tidemark_command_seconds",
    "Seconds from when the worker takes a command out of its inbox until its outcome is committed, sent, and acknowledged.",
    of=WORKER,
    buckets=SECONDS,
)

# Outbox and relay
OUTBOX: Final = Gauge("tidemark_outbox_pending_events", "Events in the outbox, counted up to 100,000.", of=RELAY)
OUTBOX_AGE: Final = Gauge(
    "tidemark_outbox_oldest_seconds",
    "Age of the oldest event in the outbox, by the database's clock; 0: it is empty.",
    of=RELAY,
)
LEADING: Final = Gauge("tidemark_relay_leading", "1 while this relay publishes, 0 while it stands by.", of=RELAY)
PUBLISHED: Final = Counter(
    "tidemark_relay_published_events_total", "Events that RabbitMQ has confirmed, and that left the outbox.", of=RELAY
)
CONFIRM_SECONDS: Final = Histogram(
    "tidemark_relay_confirm_seconds",
    "Seconds that a round of the relay takes to publish its messages until all are confirmed or refused.",
    of=RELAY,
    buckets=SECONDS,
)
PUBLISH_FAILURES: Final = Counter(
    "tidemark_relay_publish_failures_total",
    "Messages of the relay that were not confirmed: unroutable, refused, or unavailable (the connection was lost, or too slow).",
    "reason",
    of=RELAY,
)
RESENT: Final = Counter(
    "tidemark_resent_events_total",
    "Events sent again, to one projection, at its request.",
    "projection",
    most=20,
    of=RELAY,
)

# Projections, and process managers as readers of events
APPLIED: Final = Counter(
    "tidemark_events_applied_total", "Events committed to a projection's store.", "projection", most=20, of=PROJECTORS
)
VISIBLE_SECONDS: Final = Histogram(
    "tidemark_command_visible_seconds",
    "Seconds from the decision of a command, the time of its events, until an event is committed to the projection's store. Two clocks.",
    "projection",
    of=PROJECTORS,
    most=20,
    buckets=SECONDS,
)
LAG: Final = Gauge(
    "tidemark_projection_lag_seconds",
    "Age of the time up to which everything committed in the lane is applied or held; heartbeats come once a second.",
    "projection",
    "lane",
    of=PROJECTORS,
    most=520,
)
HELD: Final = Gauge(
    "tidemark_streams_held", "Streams that wait: gap, retrying or dead.", "projection", "state", most=60, of=PROJECTORS
)
GAPS: Final = Counter(
    "tidemark_gaps_total", "Streams in which an event was found missing.", "projection", most=20, of=PROJECTORS
)
FAILURES: Final = Counter(
    "tidemark_event_failures_total",
    "Attempts at an event that failed: it is retrying, or dead.",
    "projection",
    "result",
    most=40,
    of=PROJECTORS,
)
RESENDS: Final = Counter(
    "tidemark_resends_requested_total",
    "Streams of which events were requested again.",
    "projection",
    most=20,
    of=PROJECTORS,
)
STOPPED: Final = Gauge(
    "tidemark_projection_stopped",
    "1 while the projection applies nothing because the write database has lost events or begun a new epoch.",
    "projection",
    most=20,
    of=PROJECTORS,
)
REBUILT: Final = Counter(
    "tidemark_rebuild_events_total",
    "Events of history applied to new generations.",
    "projection",
    most=20,
    of=READ_MODELS,
)
REBUILD_LEFT: Final = Gauge(
    "tidemark_rebuild_remaining_events",
    "Events of history that a rebuild still has to apply.",
    "projection",
    most=20,
    of=READ_MODELS,
)
REBUILD_TIME_LEFT: Final = Gauge(
    "tidemark_rebuild_remaining_seconds",
    "The same in seconds, at the rate of the last minute.",
    "projection",
    most=20,
    of=READ_MODELS,
)

# Operations: letters, jobs, verify, queues
LETTERS: Final = Gauge(
    "tidemark_dead_letters", "Live dead letters: dead, or replaying.", "projection", "state", of=OPERATIONS
)
LETTER_GROUPS: Final = Gauge(
    "tidemark_dead_letter_groups",
    "Causes (fingerprints) of live dead letters.",
    "projection",
    of=OPERATIONS,
)
NEWEST_GROUP: Final = Gauge(
    "tidemark_dead_letter_newest_group_timestamp_seconds",
    "When the first live letter of the newest group failed first; absent without live letters.",
    "projection",
    of=OPERATIONS,
)
JOBS: Final = Gauge("tidemark_replay_jobs", "Replay jobs that are not finished.", "state", of=OPERATIONS)
VERIFIED_AT: Final = Gauge(
    "tidemark_verify_last_success_timestamp_seconds",
    "When `tidemark verify` last compared all projections and found them equal; absent if never.",
    of=OPERATIONS,
)
VERIFY_RAN_AT: Final = Gauge(
    "tidemark_verify_last_run_timestamp_seconds",
    "When `tidemark verify` last finished; absent if never.",
    of=OPERATIONS,
)
VERIFY_DIFFERENCES: Final = Gauge(
    "tidemark_verify_differences", "Findings of the last `tidemark verify` that are wrong.", of=OPERATIONS
)
QUEUE_MESSAGES: Final = Gauge(
    "tidemark_queue_messages",
    "Messages that wait in a queue; of a projector's lanes, in the longest.",
    "queue",
    of=OPERATIONS,
)
UNCONSUMED: Final = Gauge(
    "tidemark_queues_without_consumer",
    "Queues that should have a consumer and have none; of a projector's lanes, how many.",
    "queue",
    of=OPERATIONS,
)
MISSING_QUEUES: Final = Gauge("tidemark_queues_missing", "Queues that do not exist.", of=OPERATIONS)

# Process managers
PROCESS_COUNT: Final = Gauge(
    "tidemark_processes",
    "Processes that are not finished: awaiting-start, running or failed.",
    "process",
    "state",
    of=PROCESSES,
)
TIMERS_OVERDUE: Final = Gauge(
    "tidemark_process_timers_overdue", "Timers that have been due for more than 5 seconds.", "process", of=PROCESSES
)
PROCESS_COMMANDS: Final = Gauge(
    "tidemark_process_commands",
    "Commands of processes: unsent, unanswered, or overdue (sent more than once, without an outcome).",
    "process",
    "state",
    of=PROCESSES,
)

# HTTP
REQUEST_SECONDS: Final = Histogram(
    "tidemark_http_request_seconds",
    "Seconds until a response begins, by the route's template and the class of the status (2xx, 3xx, 4xx, 5xx).",
    "route",
    "status",
    of=HTTP,
    most=140,
    buckets=FEW_SECONDS,
)
CURRENT: Final = Gauge(
    "tidemark_query_projection_current",
    "1 while the query service sees that a projection is current, 0 while it is behind, stalled, or its store does not answer.",
    "projection",
    of=QUERY,
)
AGE: Final = Gauge(
    "tidemark_query_projection_age_seconds", "The age of what the query service answers from.", "projection", of=QUERY
)
OWN_WRITE_WAITS: Final = Counter(
    "tidemark_own_write_waits_total",
    "Queries that required a write of their own: at-once, waited, timeout, held, failed (the store did not answer), incomplete or "
    "epoch-changed.",
    "projection",
    "result",
    of=QUERY,
)
OWN_WRITE_SECONDS: Final = Histogram(
    "tidemark_own_write_wait_seconds", "Seconds that these queries waited.", of=QUERY, buckets=FEW_SECONDS
)
READERS: Final = Gauge("tidemark_event_stream_readers", "Open event streams (SSE and WebSocket).", of=QUERY)


def begin(deployable: str) -> None:
    """Expose what this deployable has, from its start: so that a rate is known from the first event on."""
    for family in FAMILIES:
        if deployable in family.of or family in (READY, SAMPLED_AT, REPEATED):
            family.begin()
    BUILD_INFO.set(1, version("tidemark"), python_version())
    names = PROCESS_MANAGERS if deployable == "processes" else (deployable,) if deployable in NAMES else ()
    for name in names:
        VISIBLE_SECONDS.observe_all((), name)
        for counter in (APPLIED, GAPS, RESENDS, *((REBUILT,) if name in NAMES else ())):
            counter.add(0, name)
        for result in ("retrying", "dead"):
            FAILURES.add(0, name, result)
    if deployable == "relay":
        for reason in ("unroutable", "refused", "unavailable"):
            PUBLISH_FAILURES.add(0, reason)


ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
