"""Alerts on what the flow runs on: processes, queues, epochs, verification, process managers, disks."""

from typing import Final

from deploy.observability.alerting.alert import SLOW_S, Alert, Case

DAY_AND_AN_HOUR: Final = 90_000
VERIFIED: Final = "tidemark_verify_last_success_timestamp_seconds"

ALERTS: Final = (
    Alert(
        name="TidemarkProcessDown",
        severity="page",
        expression='up{job="tidemark"} == 0',
        lasts="30s",
        summary="{{ $labels.deployable }} does not answer at {{ $labels.instance }}",
        meaning="Prometheus cannot read the metrics of this process: it is not running, or frozen. Nothing is lost: what "
        "it has not acknowledged is delivered again. What only this process measures is unknown meanwhile: without the relay, how long "
        "events have waited in the outbox.",
        steps=(
            "$ tidemark health DEPLOYABLE",
            "Start it again; its last lines say why it ended (`core task … ended`, or an error in one line).",
            "$ tidemark status",
        ),
        fires=Case(
            {'up{job="tidemark",instance="h:1",deployable="relay"}': "1+0x4 0+0x20"},
            "3m",
            {"deployable": "relay", "instance": "h:1", "job": "tidemark"},
        ),
        silent=Case({'up{job="tidemark",instance="h:1",deployable="relay"}': "1+0x4 0+0x0 1+0x20"}, "3m"),
    ),
    Alert(
        name="TidemarkProcessStuck",
        severity="page",
        expression='max by (deployable, instance) (time() - tidemark_process_sampled_timestamp_seconds{job="tidemark"}) > 20',
        summary="{{ $labels.deployable }} at {{ $labels.instance }} answers, but its event loop does not turn",
        meaning="The thread that serves metrics is alive; what does the work has done nothing for 20 seconds: a call "
        "blocks, or the process has no CPU.",
        steps=(
            "Where it is (py-spy is not part of Tidemark):",
            "$ py-spy dump --pid PID",
            "Kill it: its work is taken over, and nothing is lost.",
            "$ tidemark status",
        ),
        fires=Case(
            {
                'tidemark_process_sampled_timestamp_seconds{job="tidemark",instance="h:1",deployable="worker"}': "0+15x4 60+0x20"
            },
            "3m",
            {"deployable": "worker", "instance": "h:1"},
        ),
        silent=Case(
            {
                'tidemark_process_sampled_timestamp_seconds{job="tidemark",instance="h:1",deployable="worker"}': "0+15x20"
            },
            "3m",
        ),
    ),
    Alert(
        name="TidemarkComponentUnhealthy",
        severity="page",
        expression='max by (deployable, component) (tidemark_component_unhealthy_seconds{job="tidemark",component!="kinds"}) > 30',
        summary="{{ $labels.deployable }} makes no progress: {{ $labels.component }}",
        meaning="The process itself reports the problem, and why, in its health file and in its log. During an outage of "
        "a store or of RabbitMQ it "
        "waits, loses nothing, and goes on by itself.",
        steps=(
            "Why, in words:",
            "$ tidemark health DEPLOYABLE",
            "consumer, publisher, news, replies: RabbitMQ. store, database, inbox: PostgreSQL or Redis. queues: a "
            "queue is missing or has other "
            "arguments. lanes: the relay sends nothing. epoch: see TidemarkEpochStopped.",
            "$ tidemark status",
        ),
        fires=Case(
            {
                'tidemark_component_unhealthy_seconds{job="tidemark",deployable="summary",component="store"}': "0+0x4 0+15x20"
            },
            "4m",
            {"deployable": "summary", "component": "store"},
        ),
        silent=Case(
            {
                'tidemark_component_unhealthy_seconds{job="tidemark",deployable="summary",component="store"}': "0 15 30 0 15 0+0x20",
                'tidemark_component_unhealthy_seconds{job="tidemark",deployable="summary",component="kinds"}': "0+15x20",
            },
            "4m",
        ),
    ),
    Alert(
        name="TidemarkQueueWithoutConsumer",
        severity="page",
        # The label lets Alertmanager hold it back while that very process is down.
        expression='label_replace(max by (queue) (tidemark_queues_without_consumer) > 0, "deployable", "$1", "queue", "(.+) lanes")',
        lasts="45s",
        summary="nothing consumes from {{ $labels.queue }}",
        meaning="A lane of a projection, or another queue, has no consumer: what it carries waits. A projector that runs "
        "subscribes again within seconds.",
        steps=(
            "Is the process that reads it running, and well? (`summary lanes`: the projector summary; `commands`: the "
            "worker; `control.resend`, "
            "`control.history`: the relay; `*.dead`, `control.operations`: dead_letters; `control.processes`, "
            "`replies.processes`: processes)",
            "$ tidemark health DEPLOYABLE",
            "`LANES` must be the same for all processes: a lane that nobody knows has no consumer.",
        ),
        fires=Case(
            {'tidemark_queues_without_consumer{job="tidemark",queue="summary lanes"}': "0+0x4 1+0x20"},
            "4m",
            {"queue": "summary lanes", "deployable": "summary"},
        ),
        silent=Case(
            {'tidemark_queues_without_consumer{job="tidemark",queue="summary lanes"}': "0+0x8 4+0x1 0+0x20"}, "4m"
        ),
    ),
    Alert(
        name="TidemarkQueueMissing",
        severity="page",
        expression="max(tidemark_queues_missing) > 0",
        lasts="30s",
        summary="a queue of Tidemark does not exist in RabbitMQ",
        meaning="It was deleted, or never made: what is meant for it stays where it is (the outbox, the sender), and nothing is lost.",
        steps=("It can be made again while everything runs:", "$ tidemark migrate", "$ tidemark status"),
        fires=Case({'tidemark_queues_missing{job="tidemark"}': "0+0x4 1+0x20"}, "4m"),
        silent=Case({'tidemark_queues_missing{job="tidemark"}': "0+0x20"}, "4m"),
    ),
    Alert(
        name="TidemarkQueueLong",
        severity="page",
        expression="max by (queue) (tidemark_queue_messages) > 80000",
        lasts="1m",
        summary="{{ $labels.queue }} is near its limit: more than 80,000 messages wait in it",
        meaning="Tidemark gives its queues no maximum length; 100,000 messages is what a broker of modest size should "
        "have to keep. If you have set a policy with "
        "a maximum, change the rule to four fifths of it. A full queue refuses: events then stay in the outbox.",
        steps=(
            "Does anything consume from it?",
            "$ tidemark status",
            "Events: add processes of that projection, up to the number of lanes. Commands: one worker decides at a "
            "time; slow down the senders.",
            "$ tidemark top",
        ),
        fires=Case(
            {'tidemark_queue_messages{job="tidemark",queue="commands"}': "70000+5000x20"}, "4m", {"queue": "commands"}
        ),
        silent=Case(
            {'tidemark_queue_messages{job="tidemark",queue="commands"}': "70000+0x4 90000+0x2 70000+0x20"}, "4m"
        ),
    ),
    Alert(
        name="TidemarkEpochStopped",
        severity="page",
        expression="max by (projection) (tidemark_projection_stopped) == 1",
        lasts="1m",
        summary="{{ $labels.projection }} is stopped: the write database is in another epoch",
        meaning="The write database was restored, promoted or copied. Where it has lost events that the projection has "
        "applied, the projection applies nothing until "
        "an operator decides. Comparing takes some seconds for each million streams, and ends by itself where nothing was lost.",
        steps=(
            "Which streams are ahead of the write database:",
            "$ tidemark projections status",
            "Make it equal to the write database (queries are answered meanwhile):",
            "$ tidemark projections rebuild NAME",
            "$ tidemark projections activate NAME",
            "Or keep what the write database has lost; for a process manager `tidemark processes adopt-epoch`:",
            "$ tidemark projections adopt-epoch NAME",
        ),
        fires=Case(
            {'tidemark_projection_stopped{job="tidemark",projection="search"}': "0+0x2 1+0x20"},
            "4m",
            {"projection": "search"},
        ),
        silent=Case({'tidemark_projection_stopped{job="tidemark",projection="search"}': "0+0x2 1+0x2 0+0x20"}, "4m"),
    ),
    Alert(
        name="TidemarkVerifyStale",
        severity="ticket",
        expression=f"time() - max({VERIFIED}) > {DAY_AND_AN_HOUR}"
        f' or (absent({VERIFIED}) and on () max(time() - process_start_time_seconds{{job="tidemark"}}) > {DAY_AND_AN_HOUR})',
        summary="for more than a day nothing has proved that all read stores equal the event store",
        meaning="`tidemark verify`, of all projections with all their content, has not succeeded for 25 hours. Run it every night.",
        steps=("$ tidemark verify", "If it fails: see TidemarkVerifyDiffers."),
        fires=Case({f'{VERIFIED}{{job="tidemark"}}': "1000+0x400"}, "26h"),
        silent=Case({f'{VERIFIED}{{job="tidemark"}}': "1000+0x180 50000+0x250"}, "26h"),
        every_s=SLOW_S,
    ),
    Alert(
        name="TidemarkVerifyDiffers",
        severity="page",
        expression="max(tidemark_verify_differences) > 0",
        summary="the last verification found that something is missing, different or held",
        meaning="`tidemark verify` compared the read stores with the event store, and they are not equal, or a conservation law is broken.",
        steps=(
            "What, stream by stream:",
            "$ tidemark verify",
            "missing or behind: have the events sent again.",
            "$ tidemark verify --heal",
            "different or stray: only a rebuild repairs it; queries are answered meanwhile.",
            "$ tidemark projections rebuild NAME",
            "held: see TidemarkNewDeadLetters. law: compensate with commands, and fix what decided it.",
        ),
        fires=Case({'tidemark_verify_differences{job="tidemark"}': "3+0x20"}, "2m"),
        silent=Case({'tidemark_verify_differences{job="tidemark"}': "3+0x2 0+0x20"}, "2m"),
    ),
    Alert(
        name="TidemarkProcessFailed",
        severity="page",
        expression='max by (process) (tidemark_processes{state="failed"}) > 0',
        summary="processes of {{ $labels.process }} have failed",
        meaning="The code of the process manager raised: the inputs of these processes are kept in order, their timers "
        "are held, all other processes go on.",
        steps=(
            "$ tidemark processes list --state failed",
            "$ tidemark processes show PROCESS_MANAGER ID",
            "Deploy the fix, then:",
            '$ tidemark processes retry PROCESS_MANAGER ID --reason "fixed in …"',
        ),
        fires=Case(
            {'tidemark_processes{job="tidemark",process="fulfilment",state="failed"}': "1+0x20"},
            "2m",
            {"process": "fulfilment"},
        ),
        silent=Case(
            {
                'tidemark_processes{job="tidemark",process="fulfilment",state="failed"}': "0+0x20",
                'tidemark_processes{job="tidemark",process="fulfilment",state="running"}': "9+0x20",
            },
            "2m",
        ),
    ),
    Alert(
        name="TidemarkProcessOverdue",
        severity="page",
        expression="max by (process) (tidemark_process_timers_overdue) > 0"
        ' or max by (process) (tidemark_process_commands{state="overdue"}) > 0',
        lasts="1m",
        summary="processes of {{ $labels.process }} wait for longer than they should",
        meaning="Timers that are due do not fire, or commands that processes have sent have no outcome although they were sent again.",
        steps=(
            "$ tidemark health processes",
            "$ tidemark processes list",
            "Commands without an outcome: is the worker well, and is the command a dead letter?",
            "$ tidemark status",
            "$ tidemark dead-letters groups --origin commands",
        ),
        fires=Case(
            {'tidemark_process_commands{job="tidemark",process="fulfilment",state="overdue"}': "0+0x2 2+0x20"},
            "4m",
            {"process": "fulfilment"},
        ),
        silent=Case(
            {
                'tidemark_process_timers_overdue{job="tidemark",process="fulfilment"}': "0 3 0+0x20",
                'tidemark_process_commands{job="tidemark",process="fulfilment",state="unanswered"}': "9+0x20",
            },
            "4m",
        ),
    ),
    Alert(
        name="TidemarkDiskFills",
        severity="page",
        expression='node_filesystem_avail_bytes{fstype!~"tmpfs|overlay"} / node_filesystem_size_bytes < 0.1',
        lasts="1m",
        summary="{{ $labels.mountpoint }} of {{ $labels.instance }} is more than nine tenths full",
        meaning="A store or RabbitMQ without disk takes nothing more: commands are refused, projections wait. Nothing "
        "that was accepted is lost. (By node_exporter, on the "
        "hosts of PostgreSQL, Redis and RabbitMQ.)",
        steps=(
            "Old events into the archive, whose table may be on another disk; ended generations take as much as the active one:",
            "$ tidemark archive --before 90d --dry-run",
            "$ tidemark projections status",
            "$ tidemark projections drop NAME NUMBER",
        ),
        fires=Case(
            {
                'node_filesystem_avail_bytes{instance="db:9100",mountpoint="/data",fstype="ext4"}': "5+0x20",
                'node_filesystem_size_bytes{instance="db:9100",mountpoint="/data",fstype="ext4"}': "100+0x20",
            },
            "3m",
            {"instance": "db:9100", "mountpoint": "/data", "fstype": "ext4"},
        ),
        silent=Case(
            {
                'node_filesystem_avail_bytes{instance="db:9100",mountpoint="/data",fstype="ext4"}': "50+0x20",
                'node_filesystem_size_bytes{instance="db:9100",mountpoint="/data",fstype="ext4"}': "100+0x20",
                'node_filesystem_avail_bytes{instance="db:9100",mountpoint="/run",fstype="tmpfs"}': "1+0x20",
                'node_filesystem_size_bytes{instance="db:9100",mountpoint="/run",fstype="tmpfs"}': "100+0x20",
            },
            "3m",
        ),
    ),
)
