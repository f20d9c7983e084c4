"""The panels of all dashboards, in one table: what each shows, as PromQL. ``dashboards`` makes Grafana's JSON of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

RATE: Final = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """``queries``: legend → PromQL. ``unit``: Grafana's name for it. ``kind``: stat, timeseries, bargauge or table."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    description: str = ""
    red_from: float | None = None


def _rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[{RATE}]))" if where else f"sum by ({by}) (rate({metric}[{RATE}]))"


def _quantile(q: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[{RATE}])))"


OVERVIEW: Final = (
    Panel(
        "Projections that are not current",
        {"": "count(max by (projection) (tidemark_query_projection_current) == 0) or vector(0)"},
        kind="stat",
        red_from=1,
    ),
    Panel(
        "Live dead letters",
        {"": "sum(max by (projection, state) (tidemark_dead_letters)) or vector(0)"},
        kind="stat",
        red_from=1,
    ),
    Panel("Oldest event in the outbox", {"": "max(tidemark_outbox_oldest_seconds)"}, "s", kind="stat", red_from=30),
    Panel(
        "Processes that are not ready", {"": "count(tidemark_process_ready == 0) or vector(0)"}, kind="stat", red_from=1
    ),
    Panel(
        "Since the last equal verification",
        {"": "time() - max(tidemark_verify_last_success_timestamp_seconds)"},
        "s",
        kind="stat",
        red_from=90000,
    ),
    Panel(
        "Projections that are stopped",
        {"": "sum(max by (projection) (tidemark_projection_stopped))"},
        kind="stat",
        red_from=1,
    ),
    Panel("Commands a second, by outcome", {"{{outcome}}": _rate("tidemark_commands_total", "outcome")}, "ops"),
    Panel("Events applied a second", {"{{projection}}": _rate("tidemark_events_applied_total", "projection")}, "ops"),
    Panel(
        "From decision to visible, 99 %",
        {"{{projection}}": _quantile(0.99, "tidemark_command_visible_seconds", "projection")},
        "s",
    ),
    Panel("Age of the answers", {"{{projection}}": "max by (projection) (tidemark_query_projection_age_seconds)"}, "s"),
    Panel(
        "Unhealthy components",
        {"{{deployable}} {{component}}": "max by (deployable, component) (tidemark_component_unhealthy_seconds) > 0"},
        "s",
    ),
)

COMMANDS: Final = (
    Panel("Commands a second, by type", {"{{type}}": f"topk(15, {_rate('tidemark_commands_total', 'type')})"}, "ops"),
    Panel(
        "Rejections a second, by code",
        {"{{code}}": _rate("tidemark_commands_total", "code", 'outcome="rejected"')},
        "ops",
    ),
    Panel(
        "Commands without an outcome, a second",
        {"{{type}} {{code}}": _rate("tidemark_commands_total", "type, code", 'outcome="failed"')},
        "ops",
    ),
    Panel(
        "From taken to acknowledged",
        {"50 %": _quantile(0.5, "tidemark_command_seconds"), "99 %": _quantile(0.99, "tidemark_command_seconds")},
        "s",
    ),
    Panel("Commands that wait in the queue", {"": 'max(tidemark_queue_messages{queue="commands"})'}),
    Panel("Events in the outbox", {"": "max(tidemark_outbox_pending_events)"}),
    Panel("Oldest event in the outbox", {"": "max(tidemark_outbox_oldest_seconds)"}, "s"),
    Panel("Events published a second", {"": f"sum(rate(tidemark_relay_published_events_total[{RATE}]))"}, "ops"),
    Panel("A round of the relay, 99 %", {"": _quantile(0.99, "tidemark_relay_confirm_seconds")}, "s"),
    Panel(
        "Messages not confirmed, a second",
        {"{{reason}}": _rate("tidemark_relay_publish_failures_total", "reason")},
        "ops",
    ),
    Panel("Relays that lead", {"": "sum(tidemark_relay_leading)"}, description="Exactly one."),
)

PROJECTIONS: Final = (
    Panel("Events applied a second", {"{{projection}}": _rate("tidemark_events_applied_total", "projection")}, "ops"),
    Panel(
        "Lag by lane", {"{{projection}} {{lane}}": "max by (projection, lane) (tidemark_projection_lag_seconds)"}, "s"
    ),
    Panel(
        "From decision to visible, 50 %",
        {"{{projection}}": _quantile(0.5, "tidemark_command_visible_seconds", "projection")},
        "s",
    ),
    Panel("Held streams", {"{{projection}} {{state}}": "max by (projection, state) (tidemark_streams_held)"}),
    Panel("Gaps found, a second", {"{{projection}}": _rate("tidemark_gaps_total", "projection")}, "ops"),
    Panel(
        "Streams requested again, a second",
        {"{{projection}}": _rate("tidemark_resends_requested_total", "projection")},
        "ops",
    ),
    Panel(
        "Events sent again, a second", {"{{projection}}": _rate("tidemark_resent_events_total", "projection")}, "ops"
    ),
    Panel(
        "Failed attempts, a second",
        {"{{projection}} {{result}}": _rate("tidemark_event_failures_total", "projection, result")},
        "ops",
    ),
    Panel("Stopped", {"{{projection}}": "max by (projection) (tidemark_projection_stopped)"}),
    Panel(
        "Rebuild: events of history a second",
        {"{{projection}}": _rate("tidemark_rebuild_events_total", "projection")},
        "ops",
    ),
    Panel("Rebuild: events left", {"{{projection}}": "max by (projection) (tidemark_rebuild_remaining_events)"}),
    Panel("Rebuild: time left", {"{{projection}}": "max by (projection) (tidemark_rebuild_remaining_seconds)"}, "s"),
)

DEAD_LETTERS: Final = (
    Panel("Live dead letters", {"{{projection}} {{state}}": "max by (projection, state) (tidemark_dead_letters) > 0"}),
    Panel("Causes", {"{{projection}}": "max by (projection) (tidemark_dead_letter_groups) > 0"}),
    Panel(
        "Since the newest cause",
        {"{{projection}}": "time() - max by (projection) (tidemark_dead_letter_newest_group_timestamp_seconds)"},
        "s",
    ),
    Panel("Replay jobs", {"{{state}}": "max by (state) (tidemark_replay_jobs)"}),
    Panel(
        "Messages in queues of dead letters",
        {"{{queue}}": 'max by (queue) (tidemark_queue_messages{queue=~".*\\\\.dead"})'},
    ),
    Panel(
        "Messages in retry tiers",
        {"{{queue}}": 'max by (queue) (tidemark_queue_messages{queue=~".*\\\\.retry\\\\..*"})'},
    ),
    Panel("Differences of the last verification", {"": "max(tidemark_verify_differences)"}, kind="stat", red_from=1),
    Panel(
        "Since the last verification",
        {"": "time() - max(tidemark_verify_last_run_timestamp_seconds)"},
        "s",
        kind="stat",
    ),
)

PROCESSES: Final = (
    Panel("Unfinished processes", {"{{process}} {{state}}": "max by (process, state) (tidemark_processes)"}),
    Panel("Failed", {"{{process}}": 'max by (process) (tidemark_processes{state="failed"})'}, kind="stat", red_from=1),
    Panel(
        "Timers overdue", {"{{process}}": "max by (process) (tidemark_process_timers_overdue)"}, kind="stat", red_from=1
    ),
    Panel("Commands", {"{{process}} {{state}}": "max by (process, state) (tidemark_process_commands)"}),
)

QUERIES: Final = (
    Panel(
        "Requests a second, by status", {"{{status}}": _rate("tidemark_http_request_seconds_count", "status")}, "reqps"
    ),
    Panel(
        "Requests a second, by route",
        {"{{route}}": f"topk(15, {_rate('tidemark_http_request_seconds_count', 'route')})"},
        "reqps",
    ),
    Panel(
        "Until the response begins, 99 %",
        {"{{route}}": f"topk(15, {_quantile(0.99, 'tidemark_http_request_seconds', 'route')})"},
        "s",
    ),
    Panel(
        "Waits for own writes, by how they ended",
        {"{{projection}} {{result}}": _rate("tidemark_own_write_waits_total", "projection, result")},
        "ops",
    ),
    Panel("Waits for own writes, 99 %", {"": _quantile(0.99, "tidemark_own_write_wait_seconds")}, "s"),
    Panel("Open event streams", {"{{instance}}": "sum by (instance) (tidemark_event_stream_readers)"}),
    Panel("Projections current", {"{{projection}}": "min by (projection) (tidemark_query_projection_current)"}),
)

SERVERS: Final = (
    Panel(
        "CPU",
        {"{{deployable}}": "sum by (deployable) (rate(process_cpu_seconds_total[$__rate_interval]))"},
        "percentunit",
    ),
    Panel("Memory", {"{{deployable}}": "max by (deployable) (process_resident_memory_bytes)"}, "bytes"),
    Panel("Open files", {"{{deployable}}": "max by (deployable) (process_open_fds)"}),
    Panel(
        "Connections to PostgreSQL and Redis",
        {"{{deployable}} {{pool}} {{state}}": "sum by (deployable, pool, state) (tidemark_pool_connections)"},
    ),
    Panel(
        "Connections to RabbitMQ that are closed",
        {"{{deployable}} {{connection}}": "min by (deployable, connection) (tidemark_broker_connected) == 0"},
    ),
    Panel("Messages delivered and not taken", {"{{connection}}": "sum by (connection) (tidemark_inbox_messages)"}),
    Panel("Longest queues", {"{{queue}}": "topk(15, max by (queue) (tidemark_queue_messages))"}),
    Panel("Queues without a consumer", {"{{queue}}": "max by (queue) (tidemark_queues_without_consumer) > 0"}),
    Panel("Queues that are missing", {"": "max(tidemark_queues_missing)"}, kind="stat", red_from=1),
    Panel(
        "Since the gauges were set",
        {"{{deployable}}": "max by (deployable) (time() - tidemark_process_sampled_timestamp_seconds)"},
        "s",
    ),
    Panel(
        "Log lines left out, a second",
        {"{{deployable}}": _rate("tidemark_log_lines_suppressed_total", "deployable")},
        "ops",
    ),
    Panel(
        "Versions",
        {"{{deployable}} {{version}}, Python {{python}}": "max by (deployable, version, python) (tidemark_build_info)"},
        kind="table",
    ),
)

DASHBOARDS: Final[Mapping[str, Sequence[Panel]]] = {
    "Overview": OVERVIEW,
    "Commands": COMMANDS,
    "Projections": PROJECTIONS,
    "Dead letters": DEAD_LETTERS,
    "Processes": PROCESSES,
    "Queries": QUERIES,
    "Servers": SERVERS,
}
