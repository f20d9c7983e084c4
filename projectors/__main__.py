"""``python -m projectors summary|analytics|search|dead_letters|processes``: one each; several of a projector share its lanes."""

import sys

from projectors.dead_letters import worker as dead_letters
from projectors.process import run
from projectors.process_runtime import worker as processes
from shared.read_models import NAMES
from shared.runtime.process import execute
from shared.runtime.settings import Settings


def main(arguments: list[str]) -> None:
    others = {dead_letters.NAME: dead_letters.run, processes.NAME: processes.run}
    if len(arguments) != 1 or arguments[0] not in {*NAMES, *others}:
        print(f"usage: python -m projectors {'|'.join([*NAMES, *others])}", file=sys.stderr)
        sys.exit(2)
    name = arguments[0]

    async def projector(settings: Settings) -> int:
        return await run(name, settings)

    execute(name, others.get(name, projector))


if __name__ == "__main__":
    main(sys.argv[1:])
