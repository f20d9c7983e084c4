"""``python -m projectors summary|analytics|search|dead_letters``: one each; several of a projector share its lanes."""

import sys

from projectors.dead_letters import worker as dead_letters
from projectors.process import run
from shared.read_models import NAMES
from shared.runtime.process import execute
from shared.runtime.settings import Settings


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in {*NAMES, dead_letters.NAME}:
        print(f"usage: python -m projectors {'|'.join([*NAMES, dead_letters.NAME])}", file=sys.stderr)
        sys.exit(2)
    name = arguments[0]

    async def projector(settings: Settings) -> int:
        return await run(name, settings)

    execute(name, dead_letters.run if name == dead_letters.NAME else projector)


if __name__ == "__main__":
    main(sys.argv[1:])
