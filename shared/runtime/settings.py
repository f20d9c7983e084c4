"""Settings, all from the environment with the prefix ``TIDEMARK_``. A deployable reads only those it needs.

Each may be in a file instead, which ``TIDEMARK_<NAME>_FILE`` names (``setting_values``).
"""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, create_model, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared import read_models
from shared.read_models import READ_MODELS, StoreKind
from shared.runtime.setting_values import FileSource, MissingSettingError, SettingError, SettingUrl, require_url
from shared.views.search import Language

__all__ = ["MissingSettingError", "SettingError", "Settings"]

LONGEST_WAIT_S: Final = 30
LISTENERS: Final = 5_000
LISTENERS_PER_CLIENT: Final = 2_500
RATE_LIMIT: Final = 1_000.0
RATE_BURST: Final = 2_000


if TYPE_CHECKING:
    _ReadModelUrls = BaseSettings
else:
    _ReadModelUrls = create_model(
        "_ReadModelUrls", __base__=BaseSettings, **{model.setting: (str, "") for model in READ_MODELS}
    )
    """The URL of each read model's own store: ``TIDEMARK_SUMMARY_DB_URL``, ``TIDEMARK_ANALYTICS_REDIS_URL`` …"""


def _languages(text: str) -> str:
    for name in filter(None, text.split(",")):
        Language(name)  # its ValueError says which value is none
    return text


class Settings(_ReadModelUrls):
    """``TIDEMARK_RABBITMQ_URL``, ``TIDEMARK_WRITE_DB_URL`` … A missing URL is the empty string; ``require`` fails with its name."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", frozen=True)

    build: Annotated[str, Field(max_length=100)] = ""
    """What is deployed, as those who deploy it name it: a commit, the tag of an image. It is part of the version in the audit."""

    rabbitmq_url: str = ""
    rabbitmq_management_url: str = ""
    """The administrator's, of RabbitMQ's management API, for ``tidemark migrate`` and ``tidemark services``."""
    write_db_url: str = ""
    operations_db_url: str = ""
    keys_db_url: str = ""
    """The database with the keys of persons."""
    read_db_url: str = ""
    """The database of all PostgreSQL read models that have no URL of their own: each has a schema there."""

    processes_db_url: str = ""
    """The database of the process managers, each with a schema there; empty: that of ``read_db_url``."""
    command_resend_after_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """After how many seconds without an outcome a process's command is sent again, under the same id; then at doubling intervals."""

    fulfilment_pay_within_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 900.0
    """How many seconds after it was placed a managed order has to be paid (``projectors/processes/fulfilment``)."""

    payment_provider: Literal["", "local"] = ""
    """``local``: `tidemark up` also starts the payment provider for demos and tests (``deploy/demo/payments``), with the settings below."""
    payment_delay_s: Annotated[float, Field(ge=0, le=86400)] = 1.0
    payment_late_s: Annotated[float, Field(ge=0, le=7 * 86400)] = 1200.0
    """After how many seconds it captures a late payment."""
    payment_failed_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    payment_late_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Shares of all payments, chosen by their ids and ``payment_seed``."""
    payment_seed: int = 0

    lanes: Annotated[int, Field(ge=1, le=256)] = 4
    query_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    command_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    console_port: Annotated[int, Field(ge=0, le=65535)] = 8082
    gateway_port: Annotated[int, Field(ge=0, le=65535)] = 8088
    gateway_certificate: str = ""
    """A PEM file, or folder, with the certificate chain and the key of the gateway (``deploy/gateway``); empty: no TLS."""
    host: str = "127.0.0.1"

    command_batch: Annotated[int, Field(ge=1, le=2000)] = 200
    """Maximum number of commands decided in one transaction."""
    log_level: str = "INFO"
    log_levels: str = ""
    """Levels of single modules, with what is below them: ``projectors.runtime=DEBUG,shared.messaging=WARNING``."""
    log_format: Literal["text", "json"] = "text"
    """``json``: each line of the log is a JSON object (``shared/observability/logs.py``)."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """The port on which this process serves ``/metrics`` for Prometheus; 0: it serves none. Each process of a host has its own."""
    metrics_host: str = "127.0.0.1"
    metrics_targets: str = ""
    """Where each process serves its metrics, for `tidemark top` and `tidemark up --observe` (``shared/observability/targets.py``)."""
    traces: Literal["on", "off"] = "off"
    """``on``: record traces and send them by OTLP over HTTP (``shared/observability/tracing.py``); needs the extra ``telemetry``."""
    traces_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The share of the traces that begin here which are recorded; one that a sender began is recorded if the sender says so."""
    poison: str = ""
    """For tests and drills only: which events a projection fails on (``projectors/runtime/poison.py``), or which commands kill the worker
    (``command_service/handling/poison.py``)."""
    failpoint: str = ""
    """For tests and drills only: where a process is killed, see ``shared/runtime/failpoints.py``."""
    longest_wait_s: Annotated[int, Field(ge=0, le=3600)] = LONGEST_WAIT_S
    """The longest that a query waits for the writes it requires, whatever its ``Prefer: wait``."""
    query_nice: Annotated[int, Field(ge=0, le=19)] = 0
    """How far the query service steps back where CPU is short (``shared/runtime/priority.py``); 0: it is equal to the path of commands."""
    cache: bool = True
    """Whether the query service keeps answers that were costly to read (``query_service/stores/answer_cache.py``)."""
    console: bool = True
    """Whether the query service serves the console, under ``/console``."""
    console_commands: str = ""
    """The origin of the command service for the console's page, ``http://127.0.0.1:8081``; empty: the page's own, as behind the gateway."""
    currency: Annotated[str, Field(pattern="^([A-Z]{3})?$")] = ""
    """The currency (ISO 4217) of analytics for queries that name none; empty: the currency of the first order seen."""
    search_languages: Annotated[str, AfterValidator(_languages)] = ""
    """The languages in which the search projector indexes products by stems, separated by commas (``shared.views.search.Language``)."""
    listeners: Annotated[int, Field(ge=1)] = LISTENERS
    """Maximum number of event streams (SSE and WebSocket) of a query service; fewer where file descriptors allow fewer connections."""
    listeners_per_client: Annotated[int, Field(ge=1)] = LISTENERS_PER_CLIENT
    """Maximum number of these per identity, or per client address for those without one."""
    allowed_hosts: str = ""
    """The names that the HTTP services answer to, besides ``host`` and loopback names: ``shop.example.org``, ``*.example.org``, ``*``."""
    cors_origins: str = ""
    """The origins whose pages may use the HTTP services from a browser: ``https://shop.example.org``, separated by commas; empty: none."""
    trusted_proxies: str = ""
    """The addresses and networks of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed; empty: none."""
    rate_limit: Annotated[float, Field(ge=0, le=1_000_000)] = RATE_LIMIT
    """Requests a second that an identity may make of each HTTP service; 0: any number."""
    rate_burst: Annotated[int, Field(ge=1, le=1_000_000)] = RATE_BURST
    """How many of them at once."""
    auth: Literal["on", "off"] = "on"
    """``off``: every HTTP request is anonymous and may do everything; only on a loopback address (``shared/http/identities``)."""
    operator_key: str = ""
    """One key for all operators of both HTTP services, as the identity ``operator``; empty: there is none. API keys tell them apart."""
    jwt_issuer: str = ""
    """Whose tokens both HTTP services accept (``iss``); empty: tokens are not accepted."""
    jwt_audience: str = ""
    """What these tokens must be for (``aud``)."""
    jwt_jwks_url: str = ""
    """Where the issuer publishes its keys: an http or https URL, a file URL, or a path."""
    jwt_algorithms: str = "RS256,ES256,EdDSA"
    """The algorithms that tokens may be signed with, separated by commas."""
    jwt_leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    """By how many seconds the issuer's clock may differ."""
    oidc_client_id: str = ""
    """As what the console is registered with the issuer, for people to sign in with it; empty: they sign in with API keys."""
    oidc_client_secret: str = ""
    """Of a confidential client; empty: it is a public one."""
    oidc_scope: str = "openid"
    """What the console asks for: ``openid``, and whatever makes the issuer give access tokens for this service."""
    runtime_dir: str = ""
    """The directory of the health files; empty: none is written."""

    @field_validator("*")
    @classmethod
    def _keeps_its_setting(cls, value: object, info: ValidationInfo) -> object:
        """So that connections by any URL from here see what its file has then, whether or not it was read by ``require``."""
        name = info.field_name or ""
        return SettingUrl(name, value) if isinstance(value, str) and name.endswith("_url") else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, FileSource(settings_cls), env_settings

    @property
    def stemmed_languages(self) -> list[Language]:
        return [Language(name) for name in self.search_languages.split(",") if name]

    def require(self, name: str) -> str:
        """The URL with that name. Raises MissingSettingError, or SettingError for what is no URL, with the variable's name."""
        value: str = getattr(self, name)
        if not value:
            raise MissingSettingError(f"TIDEMARK_{name.upper()} is not set")
        return require_url(name, value)

    def store_url(self, name: str) -> str:
        """The URL of a read model's store. Raises UnknownReadModelError, or MissingSettingError with the variable's name."""
        model = read_models.named(name)
        if model.store is StoreKind.POSTGRES and not getattr(self, model.setting):
            if not self.read_db_url:
                raise MissingSettingError(f"{model.variable} is not set, and neither is TIDEMARK_READ_DB_URL")
            return self.require("read_db_url")
        return self.require(model.setting)

    def processes_url(self) -> str:
        """The URL of the process managers' database. Raises MissingSettingError with the variable's name."""
        if not (self.processes_db_url or self.read_db_url):
            raise MissingSettingError("TIDEMARK_PROCESSES_DB_URL is not set, and neither is TIDEMARK_READ_DB_URL")
        return self.require("processes_db_url" if self.processes_db_url else "read_db_url")
