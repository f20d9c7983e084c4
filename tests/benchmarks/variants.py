"""The variants that ``tests.benchmarks.costs`` compares: the same system and the same commands, with one thing switched on.

Each names the variant that it is compared with, and how much it may cost.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from deploy.run import deployables
from deploy.run.child import Program
from deploy.run.metrics_ports import HOST, TARGETS
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.observability import targets
from shared.read_models import READ_MODELS
from tests.benchmarks.pipelines import Tidemark
from tests.benchmarks.yardstick import ROLES
from tests.shop import WITH_ORDERS

ON: Final = {"TIDEMARK_AUTH": "on"}
WITH_CUSTOMERS: Final = tuple(model.name for model in READ_MODELS if "customers" in model.kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """``cpu_at_most``, ``rate_at_least``: the bars, as ratios to ``beside``. ``altered``: see ``tests.benchmarks.altered``."""

    name: str
    beside: str = ""
    cpu_at_most: float | None = None
    rate_at_least: float | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    altered: str = ""
    scraped: bool = False
    over_http: bool = False
    customers: bool = False
    """It registers customers instead of placing orders."""

    @property
    def identified(self) -> bool:
        return self.environ == ON

    @property
    def roles(self) -> Sequence[str]:
        projectors = WITH_CUSTOMERS if self.customers else WITH_ORDERS
        return (
            *(role for role in ROLES if role not in WITH_ORDERS),
            *(("http",) if self.over_http else ()),
            *projectors,
        )

    @property
    def stores(self) -> Sequence[str]:
        return WITH_CUSTOMERS if self.customers else WITH_ORDERS


def _traces(ratio: str) -> dict[str, str]:
    """Sent often enough for what a run costs to be spent in it."""
    return {"TIDEMARK_TRACES": "on", "TIDEMARK_TRACES_RATIO": ratio, "OTEL_BSP_SCHEDULE_DELAY": "1000"}


VARIANTS: Final = (
    Variant(name="unrecorded", altered="unrecorded"),
    Variant(name="bare", beside="unrecorded", cpu_at_most=1.01),
    Variant(name="metrics", beside="bare", cpu_at_most=1.02, scraped=True),
    Variant(name="authentication", beside="bare", rate_at_least=0.97, environ=ON),
    Variant(name="traces-1", beside="bare", cpu_at_most=1.03, environ=_traces("0.01")),
    Variant(name="traces-100", beside="bare", environ=_traces("1")),
    Variant(name="http", over_http=True),
    Variant(name="http-key", beside="http", rate_at_least=0.97, over_http=True, environ=ON),
    Variant(name="clear", customers=True, altered="clear"),
    Variant(name="personal", beside="clear", rate_at_least=0.9, customers=True, altered="three"),
)
BY_NAME: Final = {variant.name: variant for variant in VARIANTS}


class Varied(Tidemark):
    """The system as a variant starts it. ``environ``: further settings of all its processes."""

    def __init__(self, servers: Servers, variant: Variant, environ: Mapping[str, str]) -> None:
        super().__init__(servers)
        self.name = variant.name
        self.variant = variant
        self.targets = targets.unparse(targets.Target(role, HOST, free_port()) for role in variant.roles)
        own = {"TIDEMARK_LOG_LEVEL": "WARNING"} | ({TARGETS: self.targets} if variant.scraped else {})
        self._environ = {**os.environ, **own, **environ, **variant.environ}

    def programs(self) -> Sequence[Program]:
        programs = [deployables.program(role, self._servers, self._environ) for role in self.variant.roles]
        return [_altered(program, self.variant.altered) for program in programs]


def _altered(program: Program, what: str) -> Program:
    if not what:
        return program
    arguments = deployables.DEPLOYABLES[program.name].arguments
    return replace(program, argv=(sys.executable, "-m", "tests.benchmarks.altered", what, *arguments))
