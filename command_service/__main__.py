"""``python -m command_service worker|relay|http``: one deployable each."""

import sys
from typing import Final

from command_service.handling import worker
from command_service.http import server
from command_service.publishing import relay
from shared.runtime.process import execute

DEPLOYABLES: Final = {"worker": worker.run, "relay": relay.run, "http": server.run}


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in DEPLOYABLES:
        print(f"usage: python -m command_service {'|'.join(DEPLOYABLES)}", file=sys.stderr)
        sys.exit(2)
    execute(arguments[0], DEPLOYABLES[arguments[0]])


if __name__ == "__main__":
    main(sys.argv[1:])
