"""The command ``tidemark verify``: opens the stores, verifies, heals if requested, reports."""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from rich.console import Console

from deploy.cli.terminal import UNAVAILABLE, WRONG_USE, Output, fail, run
from deploy.compare.stores import open_store
from deploy.demo.display import Display, open_display
from deploy.errors import ServerUnavailableError
from deploy.verify import analytics
from deploy.verify.errors import server_errors
from deploy.verify.event_store import EventStore
from deploy.verify.healing import Healer
from deploy.verify.laws.process_commands import unanswered
from deploy.verify.models import Model, NoFiguresError
from deploy.verify.operations import open_operations, record
from deploy.verify.options import Options
from deploy.verify.postgres import open_postgres
from deploy.verify.report import Report, show
from deploy.verify.spill import open_spill
from deploy.verify.verifier import WORKERS, Verifier
from shared.messaging.broker import Publisher
from shared.privacy.key_database import KeyDatabase
from shared.read_models import NAMES, StoreKind, UnknownReadModelError, named
from shared.runtime.postgres import connect_pool
from shared.runtime.settings import Settings
from shared.views.generations import incomplete

FIGURES: Final[Mapping[str, Callable[[str, int | None], Awaitable[Model]]]] = {analytics.NAME: analytics.open_analytics}
"""The read models in Redis that can be verified: each computes its expected figures in its own way."""


def run_verify(
    settings: Settings,
    projections: Sequence[str],
    options: Options,
    output: Output,
    *,
    generation: int | None,
    heal: bool,
    limit: int,
) -> Report:
    """Progress goes to stderr, the report to stdout. Raises typer.Exit if a server is unavailable, or a read model cannot be verified."""
    try:
        with open_display() as display:
            if options.sample is not None:
                display.print_line(f"seed {options.seed}")
            work = verify(
                settings,
                options,
                display,
                projections=projections,
                generation=generation,
                heal=heal,
                limit=limit,
            )
            report = run(work)
    except (UnknownReadModelError, NoFiguresError) as error:
        raise fail(str(error), WRONG_USE) from error
    except ServerUnavailableError as error:
        raise fail(str(error), UNAVAILABLE) from error
    if output is Output.JSON:
        print(json.dumps(report.as_json(), indent=2, default=str))
    else:
        show(report, Console(highlight=False, markup=False, emoji=False, soft_wrap=True))
    return report


def random_seed() -> int:
    return random.randrange(2**31)  # noqa: S311 - to choose a sample


async def verify(
    settings: Settings,
    options: Options,
    display: Display,
    *,
    projections: Sequence[str] = NAMES,
    generation: int | None = None,
    heal: bool = False,
    limit: int = 100,
) -> Report:
    """Raises UnknownReadModelError, NoFiguresError, MissingSettingError, ServerUnavailableError, and with ``heal`` BrokerError."""
    openers = [(name, _opener(name)) for name in projections]
    async with AsyncExitStack() as stack:
        spill = stack.enter_context(open_spill())
        event_store = await stack.enter_async_context(_event_store(settings))
        operations = await open_operations(settings.operations_db_url)
        stack.push_async_callback(operations.close)
        models: list[Model] = []
        for name, opening in openers:
            model = await opening(settings.store_url(name), generation)
            stack.push_async_callback(model.close)
            models.append(model)
        verifier = Verifier(event_store, models, operations, spill, options, display)
        healed = None
        with server_errors("write database"):
            await verifier.run()
            if options.content:
                spill.add(await unanswered(settings, options))
            if heal:
                publisher = Publisher(settings.require("rabbitmq_url"), "tidemark verify")
                stack.push_async_callback(publisher.close)
                healed = await Healer(verifier, models, event_store, spill, publisher).heal(options.max_wait_s)
        report = Report(
            generations={model.name: model.generation for model in models},
            content=_content(options),
            tally=replace(verifier.tally),
            counts=spill.counts(),
            findings=spill.first(limit),
            healed=healed,
            incomplete=await _incomplete(settings, models),
        )
        if settings.operations_db_url:
            complete = options.content and options.sample is None and set(projections) >= set(NAMES) and not generation
            failed = await record(settings.operations_db_url, report, complete=complete)
            if failed is not None:
                display.print_line(f"the result could not be recorded for the metrics: {failed}")
        return report


async def _incomplete(settings: Settings, models: Sequence[Model]) -> dict[str, str]:
    """What is missing because a generation was built before its read model read some kind of stream: by name, and what to do."""
    found = {}
    for model in models:
        async with open_store(settings, model.name) as store:
            recorded = [one for one in await store.generations() if one.number == model.generation]
        for generation in recorded:
            lacking = incomplete(model.name, named(model.name).kinds, generation.kinds)
            if lacking is not None:
                found[model.name] = lacking.detail
    return found


def _opener(name: str) -> Callable[[str, int | None], Awaitable[Model]]:
    """The function that opens the read model at a URL, in one generation. Raises UnknownReadModelError, NoFiguresError."""
    if named(name).store is StoreKind.POSTGRES:
        return partial(open_postgres, name)
    if name not in FIGURES:
        raise NoFiguresError(name)
    return FIGURES[name]


@asynccontextmanager
async def _event_store(settings: Settings) -> AsyncIterator[EventStore]:
    keys = KeyDatabase(settings.require("keys_db_url"))
    with server_errors("write database"):
        pool = await connect_pool(settings.require("write_db_url"), read_only=True, max_size=WORKERS + 2)
    try:
        yield EventStore(pool, keys)
    finally:
        pool.terminate()
        await keys.close()


def _content(options: Options) -> str:
    if not options.content:
        return "none"
    return "all" if options.sample is None else f"a sample of {options.sample}, seed {options.seed}"
