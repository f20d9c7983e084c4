"""``python -m projectors summary|analytics|search``: one projector each; several of one share its lanes."""

import sys

from projectors.consumer import run
from projectors.registry import STORES
from shared.process import execute
from shared.settings import Settings


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in STORES:
        print(f"usage: python -m projectors {'|'.join(STORES)}", file=sys.stderr)
        sys.exit(2)
    name = arguments[0]

    async def projector(settings: Settings) -> int:
        return await run(name, STORES[name](settings), settings)

    execute(name, projector)


if __name__ == "__main__":
    main(sys.argv[1:])
