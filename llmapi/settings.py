"""Every setting: name, type, default, meaning. The only reader of the environment and of llmapi.toml.

`LLMAPI_CACHE_TTL=60` sets `cache_ttl`, `LLMAPI_TEXT_MAX_TOKENS=99` sets `text.max_tokens`; in llmapi.toml the same
names are keys and tables. The environment wins. A name nobody knows stops the start. A secret may come from a file:
`OPENAI_API_KEY_FILE=/run/secrets/openai` is read once and stripped.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError
from pydantic import field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from llmapi.core.errors import BadSetting
from llmapi.providers.rows import VENDORS
from llmapi.setting_tables import Limits, ModelRow, Price, QuotaSettings, RouteRow, SemanticSettings, TaskSettings
from llmapi.setting_tables import Vendor, knob
from llmapi.tenants.tenants import GOOD_ID

PREFIX = "LLMAPI_"
CONFIG = "LLMAPI_CONFIG"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def vendors_own(default: Any, meaning: str, *names: str) -> Any:
    """Declare a setting read under the names its vendor gave it."""
    return Field(default, description=meaning, validation_alias=AliasChoices(*names))


class Settings(BaseSettings):
    """All settings of the service; `load_settings()` makes one."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        nested_model_default_partial_update=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    host: str = knob("127.0.0.1", "address to listen on")
    port: int = knob(8000, "port to listen on", ge=0, le=65_535)
    workers: int = knob(1, "gunicorn worker processes", ge=1, le=64)
    threads: int = knob(768, "requests one worker serves at once", ge=4, le=4096)
    grace: float = knob(30.0, "seconds running requests get to finish after SIGTERM", ge=0, le=600)
    data_dir: Path = knob(Path("data"), "folder of every file we write")
    log_level: Literal["debug", "info", "warning", "error"] = knob("info", "least level that is logged")
    docs: bool = knob(True, "serve /docs and /openapi.json")

    auth: Literal["off", "required"] = knob("off", "required, or off (only while listening on a loopback address)")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = knob(
        (), "the operator's own keys, comma separated, each `key` or `tenant:key`; others are made by `flask keys`"
    )
    key_pepper: SecretStr = knob(
        SecretStr(""), "secret that keys are hashed with; empty: made once, in the file key_pepper of the data folder"
    )
    audit_key: SecretStr = knob(
        SecretStr(""), "secret of the audit chain's hashes; empty: made once, in the file audit_key of the data folder"
    )
    secret_key: Annotated[tuple[SecretStr, ...], NoDecode] = knob(
        (), "Fernet keys, comma separated, newest first, that encrypt tenants' provider keys and signing secrets"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = knob(
        (), "further Host names served while auth is off"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = knob((), "exact origins browsers may call from")
    trusted_proxies: int = knob(0, "proxies in front whose X-Forwarded-For is believed", ge=0, le=5)
    max_body: int = knob(1_048_576, "most bytes of a request body", ge=1024, le=64 * 1_048_576)

    text: TaskSettings = TaskSettings(max_tokens=512)
    code: TaskSettings = TaskSettings(temperature=0.2, max_tokens=1024, timeout=120.0)
    classify: TaskSettings = TaskSettings(temperature=0.0, max_tokens=64, timeout=30.0)
    chat: TaskSettings = TaskSettings(model="default", max_tokens=4096, timeout=120.0)
    embed: TaskSettings = TaskSettings(timeout=120.0)
    votes: int = knob(
        5, "samples a classification asks of a model without logprobs; 0: compare embeddings", ge=0, le=25
    )
    limits: Limits = Limits()
    quotas: QuotaSettings = QuotaSettings()
    limit_store: Literal["auto", "shared", "memory"] = knob(
        "auto", "count in a file all workers share, or in memory; auto: in memory while there is one worker"
    )
    limit_url: str = vendors_own(
        "",
        "count at redis://host:6379/0, postgresql://… or `database` (DATABASE_URL); empty: as limit_store says",
        "LLMAPI_LIMIT_URL",
        "REDIS_URL",
    )
    limit_key: str = knob("", "requests of one key over all routes, e.g. 600/minute; empty: no limit")
    limit_user: str = knob("", "requests of one user (X-User-ID) over all routes; empty: no limit")
    limit_tenant: str = knob("", "requests of one tenant over all routes; empty: no limit")
    prices: dict[str, Price] = knob({}, "own prices by `provider/model`; they win over the bundled ones")

    routes: dict[str, RouteRow] = knob({}, "names for several models with rules among them, by name")
    tenants: dict[str, dict[str, str]] = knob(
        {}, "by tenant: the model or route of a task (or of `default`) when the caller names none"
    )
    models: dict[str, ModelRow] = knob({}, "further models, by `provider/model`")
    aliases: dict[str, str] = knob({}, "names for models; `default text code classify embed` can be set here too")
    vendors: dict[str, Vendor] = knob({}, "further vendors that speak OpenAI's format, by name")
    gemini_model: str = knob("gemini-flash-latest", "Gemini model behind the default alias once a Google key is set")
    openai_model: str = knob("gpt-5-mini", "OpenAI model behind the default alias when only an OpenAI key is set")
    anthropic_model: str = knob("claude-haiku-4-5", "Anthropic model behind the default alias when only its key is set")
    gemini_base_url: str = knob("", "another address for Gemini's API")
    openai_base_url: str = knob("", "another address for OpenAI's API")
    anthropic_base_url: str = knob("", "another address for Anthropic's API")
    google_api_key: SecretStr = vendors_own(SecretStr(""), "key of Gemini's API", "GOOGLE_API_KEY", "GEMINI_API_KEY")
    openai_api_key: SecretStr = vendors_own(SecretStr(""), "key of OpenAI's API", "OPENAI_API_KEY")
    anthropic_api_key: SecretStr = vendors_own(SecretStr(""), "key of Anthropic's API", "ANTHROPIC_API_KEY")
    local: bool = knob(True, "offer the embedded model")
    local_slots: int = knob(4, "answers the embedded model writes at once", ge=1, le=64)
    local_threads: int = knob(0, "threads of the embedded model; 0: one less than the cores", ge=0, le=256)

    requests_kept: float = knob(
        0.0, "seconds requests are kept with how often they came, for asking the most asked ahead; 0: none", ge=0
    )
    cache_url: str = knob("memory://", "where answers are kept: memory://, or redis://host:6379/0 under that")
    cache_entries: int = knob(128, "most answers kept by a worker", ge=1, le=1_000_000)
    cache_ttl: float = knob(3600.0, "seconds an answer stays good", gt=0)
    cache_bytes: int = knob(64 * 1_048_576, "most bytes of answers a worker keeps", ge=65_536)
    cache_grace: float = knob(
        600.0, "seconds an answer is kept past its time, for requests that take stale ones", ge=0, le=604_800
    )
    semantic: SemanticSettings = SemanticSettings()
    retry_attempts: int = knob(3, "most tries of one call at one provider", ge=1, le=10)
    retry_ratio: float = knob(0.2, "most retries as a share of first attempts, over a minute", ge=0, le=1)
    breaker_ratio: float = knob(0.8, "share of failures at which a model is not asked for a while", gt=0, le=1)
    breaker_calls: int = knob(20, "outcomes within 30 s before a breaker may open", ge=1)
    breaker_rest: float = knob(5.0, "seconds between two probes of a model whose breaker is open", gt=0)
    in_flight: int = knob(640, "most calls a worker has under way at one provider; it finds its own limit below", ge=1)
    queue_wait: float = knob(0.05, "seconds a call waits for a place among them before it is refused", ge=0, le=1)
    heartbeat: float = knob(10.0, "seconds of silence after which a stream sends a comment", gt=0, le=15)

    database_url: str = vendors_own("", "SQLAlchemy URL; empty: a SQLite file in the data folder", "DATABASE_URL")
    idempotency_lease: float = knob(30.0, "seconds until a dead worker's idempotency keys are judged", ge=0.3, le=600)
    idempotency_retry_unknown: Annotated[tuple[str, ...], NoDecode] = knob(
        (), "tenants, comma separated, whose requests with an unknown outcome are sent again, and perhaps paid twice"
    )
    jobs_url: str = knob("threads://", "what runs jobs: threads://, Celery in memory:// or on redis://host:6379/0")
    job_workers: int = knob(4, "jobs one worker process runs at once", ge=0, le=256)
    job_lease: float = knob(30.0, "seconds after which the jobs of a dead process are taken up again", ge=1, le=3600)
    job_timeout: float = knob(600.0, "seconds an attempt of a job may take", gt=0, le=86_400)
    job_attempts: int = knob(3, "most attempts of a job whose failure may pass", ge=1, le=20)
    job_backoff: float = knob(2.0, "seconds before a job's second attempt, doubled before each next", gt=0, le=300)
    job_ageing: float = knob(60.0, "seconds after which waiting jobs rise by one priority", gt=0, le=86_400)
    job_tenant_running: int = knob(0, "jobs of one tenant that run at once, over all workers; 0: any number", ge=0)
    jobs_kept: float = knob(7 * 86_400.0, "seconds an ended job can be read", gt=0)
    batch_concurrency: int = knob(8, "lines of one batch that are asked at once", ge=1, le=256)
    max_file: int = knob(33_554_432, "most bytes of an uploaded file", ge=1024, le=512 * 1_048_576)
    files_kept: float = knob(30 * 86_400.0, "seconds until a file is deleted", ge=3600)
    ledger_kept: float = knob(
        400 * 86_400.0, "seconds each call can be found in the ledger, and what a user did by day", ge=86_400
    )
    usage_hours_kept: float = knob(100 * 86_400.0, "seconds use can be asked by the hour; days are kept", ge=86_400)
    budget_lease: float = knob(
        30.0, "seconds after a call's time until the money a dead worker holds for it is judged", ge=0.3, le=3600
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = knob(
        (), "`host` or `host:port` webhooks may reach though private, on another port or without TLS, comma separated"
    )
    webhook_key: SecretStr = knob(SecretStr(""), "Fernet key that encrypts webhook secrets in the database")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = TomlConfigSettingsSource(settings_cls, Path(os.environ.get(CONFIG, "llmapi.toml")))
        return init_settings, InitSettingsSource(settings_cls, secrets_in_files()), env_settings, file

    @field_validator(
        "api_keys",
        "secret_key",
        "allowed_hosts",
        "cors_origins",
        "webhook_allow",
        "idempotency_retry_unknown",
        mode="before",
    )
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _guarded(self) -> "Settings":
        if self.auth == "off" and not self.loopback:
            raise ValueError(f"auth: off is refused while listening on {self.host}; set LLMAPI_AUTH=required")
        if not all(key.get_secret_value().rpartition(":")[2] for key in self.api_keys):
            raise ValueError("api_keys: a key is empty, which would let everybody in; write `key` or `tenant:key`")
        tenants = (key.get_secret_value().rpartition(":")[0] for key in self.api_keys)
        if not all(GOOD_ID.fullmatch(tenant) for tenant in tenants if tenant):
            raise ValueError("api_keys: a tenant is 1 to 64 of a-z, 0-9, _, . and -; write `key` or `tenant:key`")
        return self

    @property
    def loopback(self) -> bool:
        """Say whether the server can be reached from this machine alone."""
        return self.host in LOOPBACK or self.host.startswith("127.")

    def secrets(self) -> list[str]:
        """Return every secret value there is, for the log to leave out."""
        vendors = (self.google_api_key, self.openai_api_key, self.anthropic_api_key)
        own = (*vendors, self.webhook_key, self.key_pepper, self.audit_key, *self.secret_key)
        known = [each.get_secret_value() for each in own]
        known += [each.get_secret_value().rpartition(":")[2] for each in self.api_keys]  # a tenant's name is no secret
        names = [*(each.key_name for each in VENDORS), *(each.key_name for each in self.vendors.values())]
        known += [self.secret(name) for name in names if name]
        return [value for value in dict.fromkeys(known) if len(value) >= 8]

    def secret(self, name: str) -> str:
        """Return the value of a vendor's key variable, e.g. GROQ_API_KEY, or "" """
        return from_environment(name)


def from_environment(name: str) -> str:
    """Return a variable's value, or the stripped content of the file that NAME_FILE names, or "" """
    if not (path := os.environ.get(f"{name}_FILE")):
        return os.environ.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{name}_FILE cannot be read: {type(error).__name__}") from error


def secrets_in_files() -> dict[str, str]:
    """Return the secret settings whose NAME_FILE variable is set."""
    named = [(field, name) for field, names in secret_names().items() for name in names]
    return {field: from_environment(name) for field, name in named if f"{name}_FILE" in os.environ}


def secret_names() -> dict[str, list[str]]:
    """Return the variables each secret setting is read from."""
    return {
        field: environment_names(field)
        for field, info in Settings.model_fields.items()
        if "SecretStr" in str(info.annotation)
    }


def environment_names(field: str) -> list[str]:
    """Return the variables a top-level setting is read from, its own name first."""
    alias = Settings.model_fields[field].validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [PREFIX + field.upper()]


def known_names() -> set[str]:
    """Return every LLMAPI_ variable that means something."""
    names = {CONFIG, *(f"{name}_FILE" for names in secret_names().values() for name in names)}
    for field, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            names.update(f"{PREFIX}{field}_{inner}".upper() for inner in info.annotation.model_fields)
        else:
            names.update(environment_names(field))
    return names


def refuse_unknown_names(environment: Mapping[str, str]) -> None:
    """Raise BadSetting for an LLMAPI_ variable nobody reads: a typing error must not pass in silence."""
    known = known_names()
    free = tuple(f"{PREFIX}{table}_" for table in ("ALIASES", "PRICES", "VENDORS", "ROUTES", "TENANTS", "MODELS"))
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not name.startswith(free):
            close = get_close_matches(name, known, n=1)
            raise BadSetting(f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else ""))


def load_settings(**given: Any) -> Settings:
    """Read all settings; `given` ones win. Raises BadSetting naming what is wrong, never showing a value."""
    refuse_unknown_names(os.environ)
    path = os.environ.get(CONFIG)
    if path and not Path(path).is_file():
        raise BadSetting(f"{CONFIG} names a file that is not there")
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ") for each in error.errors())
        raise BadSetting("; ".join(wrong)) from None
    except (ValueError, SettingsError) as error:  # llmapi.toml that is no TOML, JSON in a variable that is none
        raise BadSetting(f"the settings cannot be read: {error}") from error
