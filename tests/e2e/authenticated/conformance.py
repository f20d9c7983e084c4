"""A service's answers beside its OpenAPI document: schemathesis makes requests from the document, and checks what comes back.

Valid requests and broken ones, for each documented operation, from one identity. No answer may be a server error, have a status, a media
type or a body that the document does not name, take what the document forbids, or be for somebody else's eyes.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from shared.http.identities.scopes import allows, of_command
from tests.e2e.authenticated.dataset import make_dataset
from tests.e2e.authenticated.secured import Secured, subject

CREDENTIAL: Final = "credential"
SERVICES: Final = ("query", "http")
OUTCOME_WITHIN_S: Final = 2
A_FEW: Final = ("customers.register-customer", "orders.place-order", "devices.record-telemetry")
SENDING: Final = "/commands/"
STREAM: Final = "/events"
"""Its answer has no end."""
OF_METHODS: Final = ("unsupported_method", "allow_header_conformance")
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    *OF_METHODS,
    "within_scope",
)
REJECTED: Final = [
    "400",
    "401",
    "403",
    "404",
    "405",
    "406",
    "408",
    "409",
    "412",
    "413",
    "414",
    "415",
    "421",
    "422",
    "431",
]
MAX_SAMPLE: Final = 1500


def with_a_path_for_each_command(document: Mapping[str, Any], types: Collection[str] | None = None) -> dict[str, Any]:
    """The document of the command service with an operation for each command, instead of one for all: with its own body, and its scope.

    ``types``: those alone.
    """
    found = json.loads(json.dumps(document))
    [path] = [path for path, item in found["paths"].items() if "post" in item and path.startswith(SENDING)]
    operation = found["paths"].pop(path)["post"]
    parameters = [each for each in operation["parameters"] if each["in"] != "path"]
    for body in operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]:
        name = body["title"]
        if types is None or name in types:
            content = {"application/json": {"schema": body}}
            found["paths"][f"{SENDING}{name}"] = {
                "post": operation
                | {"parameters": parameters, "operationId": name, "security": [{CREDENTIAL: [of_command(name)]}]}
                | {"requestBody": {"content": content, "required": True}}
            }
    return cast("dict[str, Any]", found)


@dataclass(frozen=True)
class Asker:
    """Who asks: the headers with the credential, the subject and the scopes that it has; nothing of all that: nobody."""

    headers: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    scopes: frozenset[str] = frozenset()


@dataclass
class Report:
    findings: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(operation, check, what is wrong) → a request that shows it."""
    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Operation → the statuses that it has answered with."""
    requests: int = 0

    def text(self) -> str:
        return "\n\n".join(f"{' | '.join(found)}\n{sample}" for found, sample in sorted(self.findings.items()))


def conform(
    document: Mapping[str, Any],
    url: str,
    asker: Asker,
    ids: Mapping[str, Sequence[str]],
    *,
    examples: int,
    seed: int,
    wait_s: int = 0,
    thorough: bool = False,
) -> Report:
    """The same seed makes the same requests.

    ``ids``: values of parameters, by place and name, that there are. ``examples``: at most so many requests of each operation;
    ``thorough``: and all those at the limits of its schemas. ``wait_s``: how long each may wait for an outcome, or for writes, which are
    made up.
    """

    def within_scope(_: Any, response: Any, case: Any) -> None:
        if not 200 <= response.status_code < 300 or case.method.upper() != case.operation.method.upper():
            return
        security = case.operation.definition.raw.get("security")
        if not security:
            return
        missing = [scope for scope in security[0][CREDENTIAL] if not allows(asker.scopes, scope)]
        assert asker.subject, "an answer without a credential"
        assert not missing, f"an answer without {missing}"
        foreign = set(_sources(response)) - {asker.subject}
        assert not foreign or allows(asker.scopes, "outcomes:read"), f"an answer about the commands of {foreign}"

    schemathesis.check(within_scope)
    schema = schemathesis.openapi.from_dict(
        dict(document), config=_config(url, asker, ids, examples, seed, wait_s, thorough)
    )
    report = Report()
    for event in from_schema(schema.exclude(path=STREAM)).execute():
        if isinstance(event, NonFatalError):
            report.findings[event.label, "error", str(event.value)] = ""
        if isinstance(event, ScenarioFinished):
            _note(report, event)
    return report


def _note(report: Report, event: ScenarioFinished) -> None:
    recorder = event.recorder
    for interaction in recorder.interactions.values():
        report.requests += 1
        if interaction.response is not None:
            report.statuses[recorder.label].add(interaction.response.status_code)
    # A path that sends a command is also that of an outcome, of a command whose id is that type: both methods are allowed at both.
    shared_path = f" {SENDING}" in recorder.label
    for checks in recorder.checks.values():
        for check in checks:
            if shared_path and check.name in OF_METHODS:
                continue
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                report.findings.setdefault(
                    (recorder.label, check.name, f"{failure.title}: {failure.message[:600]}"),
                    check.failure_info.code_sample[:MAX_SAMPLE],
                )


def _sources(response: Any) -> Iterator[str]:
    """The senders that an answer about commands names. Of an outcome, the ``source`` is the service that has decided."""
    if "json" not in response.headers.get("content-type", [""])[0]:
        return
    body = json.loads(response.content)
    for one in [body, *body.get("items", [])] if isinstance(body, dict) else ():
        name = "commandsource" if "specversion" in one else "source"
        yield from (one[name],) if name in one else ()


def _config(
    url: str, asker: Asker, ids: Mapping[str, Sequence[str]], examples: int, seed: int, wait_s: int, thorough: bool
) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "headers": dict(asker.headers),
            "cache": {"enabled": False},
            "continue-on-failure": True,
            "request-timeout": 60,
            "generation": {"max-examples": examples, "with-security-parameters": False, "no-shrink": True},
            "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": thorough}},
            "checks": {"enabled": False}
            | {name: {"enabled": True} for name in CHECKS}
            | {"negative_data_rejection": {"enabled": True, "expected-statuses": REJECTED}},
            "dictionaries": {name: {"values": list(values)} for name, values in ids.items()},
            "parameters": {name: {"dictionary": name, "probability": 0.6} for name in ids}
            | {"header.Prefer": f"wait={wait_s}"},
        }
    )


@dataclass(frozen=True)
class Examination:
    """A system with data, the documents of its services, and the askers by name: ``everyone`` may do everything."""

    urls: Mapping[str, str]
    documents: Mapping[str, Mapping[str, Any]]
    askers: Mapping[str, Asker]
    ids: Mapping[str, Sequence[str]]

    async def of(self, service: str, asker: str, *, examples: int, seed: int, thorough: bool = False) -> Report:
        """The seed is printed."""
        print(f"{service} asked by {asker}: {examples} examples, seed {seed}")
        return await asyncio.to_thread(
            conform,
            self.documents[service],
            self.urls[service],
            self.askers[asker],
            self.ids,
            examples=examples,
            seed=seed,
            wait_s=OUTCOME_WITHIN_S if service == "http" else 0,
            thorough=thorough,
        )


async def examination(system: Secured, *, every_command: bool = False) -> Examination:
    """``every_command``: an operation for each, instead of a few."""
    askers = {}
    for name, granted in (("everyone", ["*"]), ("customers", ["queries:customers", "commands:customers.*"])):
        who = subject(name)
        askers[name] = Asker(await system.headers(who, *granted), who, frozenset(granted))
    ids = await make_dataset(system, askers["everyone"].headers)
    clients = {"query": system.queries, "http": system.commands}
    documents = {name: (await each.get("/schema/openapi.json")).json() for name, each in clients.items()}
    documents["http"] = with_a_path_for_each_command(documents["http"], None if every_command else A_FEW)
    urls = {name: str(each.base_url).rstrip("/") for name, each in clients.items()}
    return Examination(urls, documents, {**askers, "nobody": Asker()}, ids)
