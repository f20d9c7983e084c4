"""``python -m deploy.checks``: carries out verifications and comparisons until it is stopped. It needs what ``tidemark verify`` needs."""

from deploy.checks.program import NAME
from deploy.checks.runner import Runner
from shared.runtime.process import Process, execute
from shared.runtime.settings import Settings


async def _run(settings: Settings) -> int:
    runner = Runner(settings.require("operations_db_url"))
    process = Process(NAME, runtime_dir=settings.runtime_dir)
    return await process.run(
        {"runner": lambda: runner.run(process.stopping)},
        background={},
        probes={"database": lambda: runner.trouble},
        starts_without={"database"},
    )


if __name__ == "__main__":
    execute(NAME, _run)
