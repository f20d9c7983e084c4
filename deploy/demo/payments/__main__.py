"""``python -m deploy.demo.payments``: the local payment provider, answering over RabbitMQ until stopped."""

from deploy.demo.payments.provider import LocalProvider
from deploy.demo.payments.service import NAME, run
from shared.runtime.process import execute
from shared.runtime.settings import Settings


async def _run(settings: Settings) -> int:
    return await run(settings, LocalProvider.of(settings))


if __name__ == "__main__":
    execute(NAME, _run)
