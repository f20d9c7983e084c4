"""Tables of generations and of a comparison's result."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, computed_field
from rich.table import Table
from rich.text import Text

from deploy.cli import screen
from deploy.cli.projections.following import format_events
from deploy.cli.screen import cells, format_time
from deploy.compare.comparison import Comparison, Part, Sample
from deploy.compare.stores import GenerationProgress
from projectors.generations.registry import UNIX_EPOCH
from shared.read_models import named
from shared.views.generations import Generation, GenerationState, incomplete, stopped

_LONGEST_VALUE: Final = 120


class Status(BaseModel):
    """A generation and its progress."""

    projection: str
    generation: Generation
    progress: GenerationProgress | None
    lag_seconds: float | None
    """Age of ``as_of``; None while a generation is being built, or before the first heartbeat."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def events_per_second(self) -> float | None:
        """Average rate of applied history, from the beginning until now, or until it was ready."""
        one = self.generation
        seconds = ((one.ready_at or one.updated_at) - one.begun_at).total_seconds()
        return round(one.scanned / seconds, 1) if one.scanned and seconds > 0 else None


def status_of(projection: str, generation: Generation, progress: GenerationProgress | None, now: datetime) -> Status:
    as_of = progress.as_of if progress is not None else None
    return Status(
        projection=projection,
        generation=generation,
        progress=progress,
        lag_seconds=None if as_of is None else round((now - as_of.astimezone(UTC)).total_seconds(), 3),
    )


def statuses(found: Sequence[Status]) -> Table:
    table = screen.table(
        *("projection", "generation", "state", "history", "a second", "at most", "lag", "streams", "held"),
        *("begun", "ready", "activated", "epoch"),
        numeric=("generation", "a second", "at most", "lag", "streams", "held"),
    )
    for one in found:
        generation, progress = one.generation, one.progress or GenerationProgress()
        table.add_row(
            *cells(one.projection, generation.number),
            _state(generation),
            *cells(
                format_events(generation) if generation.scanned or generation.total else "",
                _number(one.events_per_second),
                _number(generation.rate),
                "" if one.lag_seconds is None else f"{one.lag_seconds:.2f} s",
                f"{progress.streams:,}",
                progress.held,
            ),
            *cells(_when(generation.begun_at), _when(generation.ready_at), _when(generation.activated_at)),
            *cells(generation.epoch),
        )
    return table


def generations(projection: str, found: Sequence[Generation]) -> Table:
    table = screen.table("projection", "generation", "state", "history", "begun", "ready", "activated")
    for one in found:
        table.add_row(
            *cells(projection, one.number),
            _state(one),
            *cells(format_events(one) if one.scanned or one.total else ""),
            *cells(_when(one.begun_at), _when(one.ready_at), _when(one.activated_at)),
        )
    return table


def comparison(found: Comparison) -> Iterable[Table | Text]:
    here, there = found.generations
    table = screen.table(
        "what",
        *(f"rows in {here}", f"rows in {there}", f"digest {here}", f"digest {there}"),
        *("missing", "extra", "different", "undecided", "verdict"),
        numeric=(f"rows in {here}", f"rows in {there}", "missing", "extra", "different", "undecided"),
    )
    for part in found.parts:
        table.add_row(
            *cells(part.name, f"{part.rows[0]:,}", f"{part.rows[1]:,}", *(part.digests or ("", ""))),
            *cells(part.missing, part.extra, part.different, part.undecided),
            _equality(part.equal),
        )
    positions = found.positions
    table.add_row(
        *cells("positions", f"{positions.streams[0]:,}", f"{positions.streams[1]:,}", "", ""),
        *cells(f"{positions.behind} behind", f"{positions.ahead} ahead", "", f"{positions.moving} moving"),
        _equality(positions.equal),
    )
    yield table
    yield from _samples(found)
    for line in notes(found):
        yield Text(screen.printable(line))
    yield _equality(found.equal).append(
        f": generation {here} of {found.projection}, held against {there}, in {found.seconds:.1f} s"
    )


def _samples(found: Comparison) -> Iterable[Table]:
    here, there = found.generations
    table = screen.table("where", "what", "how", "column", f"in {here}", f"in {there}")
    for part in found.parts:
        for sample in part.samples:
            _sample(table, part, sample)
    for stream in found.positions.samples:
        held = [
            f"{applied}" + (f" ({why})" if why else "")
            for applied, why in zip(stream.applied, stream.held, strict=True)
        ]
        table.add_row(*cells("positions", stream.stream, "apart", "applied", *held))
    if table.row_count:
        yield table


def _sample(table: Table, part: Part, sample: Sample) -> None:
    if not sample.differences:
        table.add_row(*cells(part.name, sample.key, sample.kind, "", "", ""))
    for one in sample.differences:
        values = ["–" if value is None else screen.printable(value, _LONGEST_VALUE) for value in one.values]
        table.add_row(*cells(part.name, sample.key, sample.kind, one.column, *values))


def notes(found: Comparison) -> list[str]:
    """Notes that are not differences: columns that only one generation has, held streams, the parts' own notes."""
    here, there = found.generations
    lines = [found.note] if found.note else []
    for part in found.parts:
        if part.note:
            lines.append(f"{part.name}: {part.note}")
        for number, columns in zip((here, there), part.columns_only, strict=True):
            if columns:
                lines.append(f"{part.name}: only generation {number} has {', '.join(columns)}")
    if any(found.positions.held):
        lines.append(f"{found.positions.held[0]} streams are held in {here}, {found.positions.held[1]} in {there}")
    return lines


def problems(found: Sequence[Status]) -> list[str]:
    """For each active generation that is stopped or incomplete: the reason, and what an operator can do."""
    lines = []
    for one in (one for one in found if one.generation.active):
        at = one.generation
        if why := stopped(one.projection, at.moving_to, at.ahead, at.examples):
            lines.append(f"{one.projection}: {why.detail}")
        if lacks := incomplete(one.projection, named(one.projection).kinds, at.kinds):
            lines.append(f"{one.projection}: {lacks.detail}")
    return lines


def _state(one: Generation) -> Text:
    state = "active" if one.active else one.state
    if one.moving_to is not None:
        return Text(f"{state}, {'stopped' if one.ahead else 'comparing'}", "bold red" if one.ahead else "yellow")
    if one.active:
        return Text(state, "green")
    return Text(state, "yellow" if one.state is GenerationState.BUILDING else "")


def _equality(equal: bool) -> Text:
    return Text("equal", "green") if equal else Text("DIFFERENT", "bold red")


def _when(time: datetime | None) -> str:
    return "" if time is None or time == UNIX_EPOCH else format_time(time)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
