"""Settings from flag, `LACONIC_*` variable or TOML file, in that order; the only reader of the environment."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from .names import is_loopback

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REDIS = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
UNUSABLE = (
    "no client can be made of this URL: it is redis://user:password@host:port/db, a sign such as # / ? @ in user or "
    "password as %23 %2F %3F %40, and options after ? are redis-py's, ssl_… ones with rediss:// only"
)
ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
ROOT = re.compile(r"(/[A-Za-z0-9._~-]+)+")
SECRET = 16  # bytes that a cache's secret has at least
OURS = ("compress", "docs", "livez", "metrics", "openapi.json", "playground", "readyz", "v1", "version")


def split(listed: str) -> list[str]:
    """The parts of a setting with commas between."""
    return [part for p in listed.split(",") if (part := p.strip())]


def config_file() -> Path:
    """`LACONIC_CONFIG`, else `laconic.toml` in the working folder (used if it exists)."""
    return Path(os.environ.get("LACONIC_CONFIG", "laconic.toml"))


def state_folder() -> Path:
    """Where this account keeps what is neither a setting nor can be made again: below `XDG_STATE_HOME`."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not base.is_absolute():  # as its specification has it
        base = Path("~/.local/state").expanduser()
    return base / "laconic"


def joined(value: Any) -> Any:
    """A list, as a TOML file may have it, as one text; variables and flags have no other kind."""
    return ",".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def legible(path: Path) -> Path:
    """A file that can be read now; raises ValueError, as a validator does."""
    try:
        path.read_bytes()
    except OSError as e:
        raise ValueError(f"the file cannot be read: {e.strerror}") from None
    return path


Listed = Annotated[str, BeforeValidator(joined)]
Legible = Annotated[FilePath, AfterValidator(legible)]


class SettingsError(ValueError):
    """Settings that cannot be served by: a line for each, `setting NAME: why`, without what was given."""


class Settings(BaseSettings):
    """One field, one flag, one variable: `max_documents` is `--max-documents` and `LACONIC_MAX_DOCUMENTS`."""

    model_config = SettingsConfigDict(env_prefix="LACONIC_", extra="forbid", env_ignore_empty=True)

    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 8000
    uds: Annotated[
        Path | None, Field(description="path of a Unix socket to listen on instead, for its owner and group")
    ] = None
    model: Annotated[str, Field(description="model that answers when a request names none")] = "laconic-mini"
    profile: Annotated[str, Field(description="numeric profile of the model's card")] = "cpu-int8"
    workers: Annotated[int | None, Field(ge=1, le=1024, description="forwards side by side; default: cores")] = None
    models_dir: Annotated[Path | None, Field(description="folder of further models")] = None
    readers_dir: Annotated[Path | None, Field(description="folder of readers: NAME/tokenizer.json or NAME.json")] = None
    tiktoken_cache: Annotated[Path | None, Field(description="folder of tiktoken's files")] = Field(
        default_factory=lambda: Path(p) if (p := os.environ.get("TIKTOKEN_CACHE_DIR")) else None
    )
    max_body_bytes: Annotated[int, Field(ge=1024, description="largest request body")] = 8 * 1024 * 1024
    max_values: Annotated[int, Field(ge=100, description="most JSON values of one request body")] = 100_000
    max_documents: Annotated[int, Field(ge=1, description="most documents of one request")] = 1000
    max_characters: Annotated[int, Field(ge=1, description="most characters of one request's documents")] = 2_000_000
    concurrency: Annotated[int, Field(ge=1, le=256, description="requests worked on side by side")] = 8
    timeout_ms: Annotated[int, Field(ge=1, le=600_000, description="longest a request may take")] = 30_000
    max_connections: Annotated[
        int, Field(ge=4, description="most connections; fewer where the limit of open files is low")
    ] = 8192
    head_seconds: Annotated[
        float, Field(gt=0, le=600, description="time for a connection's next request to arrive up to its body")
    ] = 20.0
    stall_seconds: Annotated[
        float, Field(gt=0, le=3600, description="how long a client may neither send its body nor read its answer")
    ] = 30.0
    batch_idle_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="the same for POST /v1/compress/batch, which its client paces")
    ] = 600.0
    api_keys_file: Annotated[
        Legible | None, Field(description="TOML file of API keys; without one, anyone may ask")
    ] = None
    admin_without_keys: Annotated[
        bool, Field(description="without API keys, whoever reaches the service is admin; else only on loopback")
    ] = False
    allowed_hosts: Annotated[
        Listed,
        Field(description="names answered to beside addresses, commas between; * any; default: docs/operating.md"),
    ] = ""
    cors_origins: Annotated[
        Listed, Field(description="origins whose pages may call the API, commas between; * any; none: no page may")
    ] = ""
    root_path: Annotated[str, Field(description="prefix that a proxy shows the service under, such as /laconic")] = ""
    tls_cert: Annotated[Legible | None, Field(description="certificate chain, PEM: serve TLS")] = None
    tls_key: Annotated[Legible | None, Field(description="the certificate's private key, PEM")] = None
    metrics_port: Annotated[
        int | None, Field(ge=0, le=65535, description="serve /metrics here instead of on the main port")
    ] = None
    cache_bytes: Annotated[int, Field(ge=0, description="memory for scores and codes of segments seen before")] = (
        64 * 1024 * 1024
    )
    redis_url: Annotated[SecretStr | None, Field(description="Redis behind that memory; see docs/operating.md")] = None
    cache_ttl_seconds: Annotated[int, Field(ge=1, description="how long Redis keeps a value")] = 7 * 24 * 3600
    cache_prefix: Annotated[str, Field(min_length=1, max_length=64, description="first part of every key in Redis")] = (
        "laconic"
    )
    cache_shared: Annotated[bool, Field(description="one cache for all API keys instead of one each")] = False
    cache_secret_file: Annotated[
        Legible | None,
        Field(description="secret that seals values in Redis, the same for all who share it; without: one made here"),
    ] = None
    latents: Annotated[Literal["float16", "int8"], Field(description="how latents are kept, and so answered")] = (
        "float16"
    )
    max_numbers: Annotated[int, Field(ge=1, description="most numbers of one answer's latents; a 16th as JSON")] = 2**26
    expand_ttl_seconds: Annotated[
        int, Field(ge=0, description="how long /v1/expand finds the texts of segments; 0: not at all")
    ] = 0
    upstream_url: Annotated[
        str | None,
        Field(description="OpenAI-compatible service, with its /v1, that POST /v1/chat/completions passes chats on to"),
    ] = None
    upstream_key_file: Annotated[
        Legible | None,
        Field(description="file of the key sent there; without one, and without API keys here, the caller's own"),
    ] = None
    upstream_chats: Annotated[
        int, Field(ge=1, le=100_000, description="most chats under way; of one API key as many as are still free")
    ] = 1000
    upstream_min_tokens: Annotated[
        int, Field(ge=0, description="context of a chat shorter than this is left alone")
    ] = 500
    upstream_rate: Annotated[float, Field(gt=0, le=1, description="share of the tokens kept of a chat's context")] = 0.5
    traces: Annotated[bool, Field(description="send OpenTelemetry traces, as the OTEL_* variables say")] = False
    drain_seconds: Annotated[
        float, Field(ge=0, le=600, description="after SIGTERM: time for load balancers to see /readyz turn")
    ] = 1.0
    log_format: Annotated[Literal["text", "json"], Field(description="lines for people or for machines")] = "text"
    grace_seconds: Annotated[int, Field(ge=0, description="time to finish accepted requests at shutdown")] = 20
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="least severe line")] = "info"

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return url
        if url.get_secret_value().partition("://")[0] not in REDIS:
            raise ValueError(f"a Redis URL begins with one of {', '.join(f'{k}://' for k in REDIS)}")
        from .cache.links import connect  # with redis-py, which only those who have a Redis need

        try:
            connect(url.get_secret_value(), 1)
        except Exception:  # its text may repeat a part of the password
            raise ValueError(UNUSABLE) from None
        return url

    @field_validator("cache_secret_file")
    @classmethod
    def _secret(cls, path: Path | None) -> Path | None:
        if path and len(path.read_bytes().strip()) < SECRET:
            raise ValueError(f"the file must hold {SECRET} bytes or more: openssl rand -hex 32 makes such")
        return path

    @field_validator("upstream_key_file")
    @classmethod
    def _key(cls, path: Path | None) -> Path | None:
        held = path.read_bytes().strip() if path else b"key"
        if not held or not held.isascii() or b"\n" in held:
            raise ValueError("the file must hold one line of ASCII, the key")
        return path

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, listed: str) -> str:
        for origin in split(listed):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError("an origin is http(s)://host[:port], as browsers send it: lower case, no path; or *")
        return listed

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, listed: str) -> str:
        for name in split(listed):
            if name != "*" and not HOST.fullmatch(name):
                raise ValueError("a host is a name without scheme and port, *.name for all below it, or *")
        return listed

    @field_validator("root_path")
    @classmethod
    def _root(cls, root: str) -> str:
        if root and (not ROOT.fullmatch(root) or root.split("/")[1] in OURS):
            raise ValueError(
                "a root path is /name or /name/name, without a slash at its end, and no path of laconic's own"
            )
        return root

    @field_validator("upstream_url")
    @classmethod
    def _upstream(cls, url: str | None) -> str | None:
        try:
            parts = urlsplit(url or "http://none")
            is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # its text may repeat the URL
            is_usable = False
        if not is_usable or parts.query or parts.fragment:
            raise ValueError("an upstream's URL is http(s)://host[:port]/path, most often with /v1 at its end")
        return url

    @model_validator(mode="after")
    def _pair(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both, or neither")
        return self

    @property
    def is_near(self) -> bool:
        """Whether callers are of this machine; what comes by a socket's file is most often a proxy's."""
        return self.uds is None and is_loopback(self.host)

    @property
    def opens_admin(self) -> bool:
        """Whether, where there are no API keys, whoever comes is admin."""
        return self.api_keys_file is None and (self.admin_without_keys or self.is_near)

    @property
    def names(self) -> list[str] | None:
        """What `Host` may say, addresses and localhost aside; None is anything."""
        if self.allowed_hosts:
            return split(self.allowed_hosts)
        # with keys, or beyond this machine, a page that points its name here gains nothing it did not have
        return [] if self.api_keys_file is None and self.is_near else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())


def load(**flags: Any) -> Settings:
    """Settings with `flags` (None means not given) over environment over file; raises SettingsError."""
    try:
        found = Settings(**{k: v for k, v in flags.items() if v is not None})
    except ValidationError as e:
        lines = []
        for problem in e.errors(include_input=False, include_url=False):
            why = problem["msg"].removeprefix("Value error, ")
            name = ".".join(map(str, problem["loc"]))
            lines.append(f"setting {name}: {why}" if name else f"settings: {why}")
        raise SettingsError("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"settings: {config_file()}: not TOML: {e}") from None
    except (OSError, UnicodeDecodeError) as e:
        cause = e.strerror if isinstance(e, OSError) else "not UTF-8"
        raise SettingsError(f"settings: {config_file()}: {cause}") from None
    for name in ("models_dir", "readers_dir"):
        folder: Path | None = getattr(found, name)
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"setting {name}: {folder} is not a folder")
    return found
