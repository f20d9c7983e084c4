"""Operations of a RabbitMQ administrator."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.servers import programs
from tests.faults.cluster import Cluster


async def rabbitmqctl(cluster: Cluster, *arguments: str) -> str:
    """Run rabbitmqctl on the cluster's node; returns its output. It takes a second or two."""
    done = await asyncio.to_thread(
        subprocess.run,
        [str(programs.rabbitmq_server().with_name("rabbitmqctl")), *arguments],
        env=cluster.private.rabbitmq.environment(),
        check=True,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.stdout


@asynccontextmanager
async def limited_queues(cluster: Cluster, *queues: str, messages: int) -> AsyncIterator[None]:
    """Limit these queues to so many messages each; RabbitMQ rejects further ones."""
    pattern = f"^({'|'.join(map(re.escape, queues))})$"
    limits = json.dumps({"max-length": messages, "overflow": "reject-publish"})
    await rabbitmqctl(cluster, "set_policy", "short-of-room", pattern, limits, "--apply-to", "queues")
    try:
        yield
    finally:
        await rabbitmqctl(cluster, "clear_policy", "short-of-room")
