"""Alerts on the way of a command: decided, published, applied, visible."""

from typing import Final

from deploy.observability.alerting.alert import SLOW_S, Alert, Case

FRESH: Final = 'max by (projection) (tidemark_query_projection_current{job="tidemark"})'
SUMMARY: Final = 'tidemark_query_projection_current{job="tidemark",projection="summary"}'


def _burn(window: str, factor: float) -> str:
    """Whether the budget of 0.1 % of the time is used ``factor`` times as fast as it may be."""
    return f"1 - avg by (projection) (avg_over_time(tidemark_query_projection_current[{window}])) > {factor} * 0.001"


ALERTS: Final = (
    Alert(
        name="TidemarkFreshnessBurnsFast",
        severity="page",
        expression=f"({_burn('1h', 14.4)}) and ({_burn('1m', 14.4)})",
        summary="{{ $labels.projection }} is not current: at this rate a month's budget of old answers is gone in two days",
        meaning="The objective: answers of every projection are current (at most 3 s old) for 99.9 % of the time. In the "
        "last hour, and still in "
        "the last minute, it was missed 14 times as often as the objective allows.",
        steps=(
            "See which step makes no progress, and why:",
            "$ tidemark status",
            "$ curl -s http://127.0.0.1:8080/freshness",
            "A process that is named as silent is not running or frozen: start it again. A store or RabbitMQ that "
            "does not answer: bring it "
            "back; nothing is lost, and everything goes on by itself.",
            "Where it is merely behind, compare arrivals with what is applied, and add processes up to the number of lanes:",
            "$ tidemark top",
        ),
        fires=Case({SUMMARY: "1+0x200 0+0x12"}, "52m45s", {"projection": "summary"}),
        silent=Case({SUMMARY: "1+0x100 0+0x2 1+0x120"}, "52m45s"),
    ),
    Alert(
        name="TidemarkFreshnessBurnsSlowly",
        severity="ticket",
        expression=f"({_burn('6h', 3)}) and ({_burn('30m', 3)})",
        lasts="5m",
        summary="{{ $labels.projection }} is often not current: the month's budget of old answers will not last",
        meaning="In the last six hours, and still in the last half hour, answers were older than 3 s for three times as "
        "long as the objective "
        "of 99.9 % allows.",
        steps=(
            "See whether it is one projection or all: all point to the relay, RabbitMQ or the worker, one to its store.",
            "$ tidemark status",
            "$ tidemark projections status",
            "A rebuild, an archive run or a backup at the same time explains it: a rebuild can be slowed down.",
            "$ tidemark projections rebuild --help",
        ),
        fires=Case({SUMMARY: "1+0x70 " + "0+0x0 1+0x3 " * 4}, "360m", {"projection": "summary"}),
        silent=Case({SUMMARY: "1+0x20 0+0x2 1+0x90"}, "360m"),
        every_s=SLOW_S,
    ),
    Alert(
        name="TidemarkOutboxOld",
        severity="page",
        expression="max(tidemark_outbox_oldest_seconds) > 30",
        lasts="30s",
        summary="events have waited in the outbox for more than 30 seconds",
        meaning="The commands are decided and committed, but their events do not reach RabbitMQ: no projection learns of them. "
        "Nothing is lost; the outbox is part of the write database. It is the relay that measures this: while the relay itself is down, "
        "TidemarkProcessDown fires instead, and this alert ends.",
        steps=(
            "The relay says why:",
            "$ tidemark health relay",
            "`nothing is bound to take it` or `refused`: the queue is missing, or full.",
            "$ tidemark migrate",
            "RabbitMQ under a memory or disk alarm takes nothing: free memory or disk there, and it goes on by itself.",
        ),
        fires=Case({'tidemark_outbox_oldest_seconds{job="tidemark",instance="r"}': "31+15x20"}, "2m"),
        silent=Case({'tidemark_outbox_oldest_seconds{job="tidemark",instance="r"}': "0 40 0 35 0+0x20"}, "2m"),
    ),
    Alert(
        name="TidemarkRelayCannotPublish",
        severity="page",
        expression='sum by (reason) (increase(tidemark_relay_publish_failures_total{reason=~"unroutable|refused"}[2m])) > 0',
        lasts="30s",
        summary="RabbitMQ takes events back from the relay: {{ $labels.reason }}",
        meaning="A lane of events is not published: its events stay in the outbox, in order, and are tried again once a "
        "second. Other lanes go on.",
        steps=(
            "$ tidemark health relay",
            "unroutable: a queue or binding is missing. It can be made again while everything runs:",
            "$ tidemark migrate",
            "refused: a queue is full (a policy with a maximum length), or a quorum queue has no majority. See what "
            "does not consume from it:",
            "$ tidemark status",
        ),
        fires=Case(
            {'tidemark_relay_publish_failures_total{job="tidemark",reason="unroutable"}': "0+4x20"},
            "3m",
            {"reason": "unroutable"},
        ),
        silent=Case({'tidemark_relay_publish_failures_total{job="tidemark",reason="unavailable"}': "0+4x20"}, "3m"),
    ),
    Alert(
        name="TidemarkCommandsFail",
        severity="page",
        expression='sum by (type, code) (increase(tidemark_commands_total{outcome="failed"}[5m])) > 0',
        summary="{{ $labels.type }} fails inside the service: {{ $labels.code }}",
        meaning="Our code, not the sender, is at fault: these commands have no outcome yet. Each is a dead letter, and "
        "its sender was answered with "
        "`command.pending`.",
        steps=(
            "See what failed, and where in the code:",
            "$ tidemark dead-letters groups --origin commands",
            "Deploy the fix, try a few, then all:",
            '$ tidemark dead-letters replay --origin commands --canary 5 --wait --reason "fixed in …"',
            "Or correct the command itself; the original is kept:",
            "$ tidemark dead-letters edit --help",
        ),
        fires=Case(
            {
                'tidemark_commands_total{job="tidemark",type="orders.pay-order",outcome="failed",code="handler-failed"}': "0+0x10 1+0x20"
            },
            "4m",
            {"type": "orders.pay-order", "code": "handler-failed"},
        ),
        silent=Case(
            {
                'tidemark_commands_total{job="tidemark",type="orders.pay-order",outcome="rejected",code="order-not-found"}': "0+5x20"
            },
            "4m",
        ),
    ),
    Alert(
        name="TidemarkNewDeadLetters",
        severity="page",
        expression="max by (projection) (tidemark_dead_letter_newest_group_timestamp_seconds) > time() - 3600",
        summary="something new has failed in {{ $labels.projection }}: dead letters with a cause that was not there before",
        meaning="In the last hour the first event (or command) failed for a new cause, after all retries. Its stream "
        "waits behind it in this projection alone; "
        "all other streams go on. It ends when these letters are replayed or discarded, or after an hour.",
        steps=(
            "$ tidemark dead-letters groups",
            "$ tidemark dead-letters show ID",
            "Events are never edited: fix the projection, deploy, then replay a few, and all:",
            '$ tidemark dead-letters replay --like ID --canary 5 --wait --reason "fixed in …"',
            "Only what can never be applied is given up; the audit keeps who did it, and why:",
            '$ tidemark dead-letters discard --like ID --reason "…"',
        ),
        fires=Case(
            {'tidemark_dead_letter_newest_group_timestamp_seconds{job="tidemark",projection="summary"}': "3000+0x20"},
            "60m",
            {"projection": "summary"},
        ),
        silent=Case(
            {'tidemark_dead_letter_newest_group_timestamp_seconds{job="tidemark",projection="summary"}': "3000+0x40"},
            "120m",
        ),
        every_s=SLOW_S,
    ),
    Alert(
        name="TidemarkDeadLettersWait",
        severity="ticket",
        expression='sum by (projection) (max by (projection, state) (tidemark_dead_letters{state="dead"})) > 0',
        lasts="12h",
        summary="dead letters of {{ $labels.projection }} have waited for half a day",
        meaning="Nobody has replayed or discarded them. Their streams do not advance in this projection.",
        steps=(
            "$ tidemark dead-letters groups",
            '$ tidemark dead-letters replay --like ID --canary 5 --wait --reason "fixed in …"',
        ),
        fires=Case(
            {'tidemark_dead_letters{job="tidemark",projection="search",state="dead"}': "2+0x200"},
            "13h",
            {"projection": "search"},
        ),
        silent=Case(
            {
                'tidemark_dead_letters{job="tidemark",projection="search",state="dead"}': "2+0x100 0+0x100",
                'tidemark_dead_letters{job="tidemark",projection="search",state="replaying"}': "2+0x200",
            },
            "13h",
        ),
        every_s=SLOW_S,
    ),
    Alert(
        name="TidemarkGapsStay",
        severity="page",
        expression='max by (projection) (tidemark_streams_held{state="gap"}) > 0',
        lasts="3m",
        summary="events of {{ $labels.projection }} are missing, and do not come although they were requested",
        meaning="A message was lost on the way. That heals within seconds: the projection requests it again from the "
        "event store. Here it does not.",
        steps=(
            "The relay answers such requests; is it well, and does its queue exist?",
            "$ tidemark health relay",
            "$ tidemark migrate",
            "Compare with the event store, and have what is missing sent again:",
            "$ tidemark verify --heal",
        ),
        fires=Case(
            {'tidemark_streams_held{job="tidemark",projection="summary",state="gap"}': "2+0x30"},
            "5m",
            {"projection": "summary"},
        ),
        silent=Case(
            {
                'tidemark_streams_held{job="tidemark",projection="summary",state="gap"}': "2+0x8 0+0x2 1+0x8 0+0x10",
                'tidemark_streams_held{job="tidemark",projection="summary",state="dead"}': "2+0x30",
            },
            "5m",
        ),
    ),
    Alert(
        name="TidemarkQueriesFail",
        severity="page",
        expression='sum(rate(tidemark_http_request_seconds_count{status="5xx",route!~"/health/.*"}[2m]))'
        ' / sum(rate(tidemark_http_request_seconds_count{route!~"/health/.*"}[2m])) > 0.01',
        lasts="30s",
        summary="more than 1 % of the requests over HTTP fail",
        meaning="Answers with a status of 500 or more: a store does not answer, or the service is at fault. What a client "
        "did wrong does not count.",
        steps=(
            "$ tidemark status",
            "Which routes:",
            "$ tidemark top",
            "`unexpected error` in the log of the query service or of http is a fault of ours, with the place in the code.",
        ),
        fires=Case(
            {
                'tidemark_http_request_seconds_count{job="tidemark",route="/orders",status="2xx"}': "0+97x30",
                'tidemark_http_request_seconds_count{job="tidemark",route="/orders",status="5xx"}': "0+3x30",
            },
            "4m",
        ),
        silent=Case(
            {
                'tidemark_http_request_seconds_count{job="tidemark",route="/orders",status="2xx"}': "0+97x30",
                'tidemark_http_request_seconds_count{job="tidemark",route="/orders",status="4xx"}': "0+30x30",
                'tidemark_http_request_seconds_count{job="tidemark",route="/health/ready",status="5xx"}': "0+30x30",
            },
            "4m",
        ),
    ),
)
