"""The only reader of the environment: every `LONGREEL_…` variable, with its default."""

from __future__ import annotations

import re
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from film.errors import SettingsError
from film.flags import machine_flags
from film.logs import LEVELS, LogFormat
from film.types import RenderFlags

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """Folders, addresses and limits. Each field is read from `LONGREEL_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="LONGREEL_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    home: Path = Field(default_factory=lambda: Path.home() / ".longreel")
    """Folder of the embedded defaults: database, store, Prefect server, scratch files."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in `home`."""
    store_url: str = ""
    """`file:///folder` or `s3://bucket/prefix`; empty means a folder in `home`."""
    s3_endpoint_url: str | None = None
    """An S3-compatible server; empty means AWS."""
    s3_checksums: str = "when_supported"
    """`when_required` for servers that do not know the newer S3 checksums."""
    prefect_port: int = Field(default=4242, ge=0, le=65535)
    """Port of the embedded Prefect server; 0, or one that is taken, means any free port."""
    lease_seconds: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    """How long a segment stays with a worker that stopped renewing its lease, in seconds."""
    stall_seconds: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    """How long a rendering process may neither make a step nor use the processor."""
    step_seconds: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    """How long a rendering process may take for one step, or for encoding, before it is killed."""
    retakes: int = Field(default=2, ge=0)
    """How often a bad picture is rendered again, each time with another seed."""
    segment_attempts: int = Field(default=3, ge=1)
    """Attempts at a segment before it is failed."""
    max_film_seconds: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    """Longest film that is accepted."""
    ffmpeg: str = ""
    """An ffmpeg of one's own; empty means the one that came with the installation."""
    flags: str = ""
    """Flags that a worker chooses if a film does not, such as `attention=_flash_3 compile`."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of a rendering process; 0 means one per processor. Part of what decides bits."""
    log_level: str = ""
    """Least severe log records that commands print: `debug`, `info`, `warning` or `error`; empty
    means `info` for workers and `warning` for all other commands."""
    log_format: LogFormat = LogFormat.TEXT
    """`text`, or `json` for one object on a line."""
    server: str = ""
    """Address of a farm's service that `longreel.connect()` uses; empty means this machine."""
    key: str = ""
    """Key for that service."""
    api_models: str = ""
    """Other names of models in `/v1/videos`: `sora-2=wan2.2-5b,sora-2-pro=wan2.2-t2v-14b`."""
    lenient_fields: bool = False
    """True if `/v1/videos` ignores fields that it does not know, and says so, instead of refusing
    them."""
    sync_seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Longest that a request to `/v1/videos/sync` waits for its film, in seconds."""
    allowed_networks: str = ""
    """Networks besides the internet to which the service may send webhooks, and from which it may
    fetch pictures: `10.1.0.0/16`."""
    requests_a_minute: int = Field(default=6000, ge=0)
    """Requests that a key, or an address without one, may make to a copy of the service in a
    minute; 0 for no limit."""
    trusted_proxies: str = ""
    """Networks of proxies whose X-Forwarded-For is believed: `10.0.0.5/32`."""
    user_header: str = ""
    """Header in which these proxies name the user whom they signed in, such as `x-forwarded-user`;
    empty means that they sign nobody in."""
    user_scopes: str = ""
    """Comma-separated scopes of the key that a user gets who is signed in for the first time;
    empty means that only users with a key are let in."""
    gpu_hour_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What an hour of a GPU costs; estimates show money if it is set."""
    currency: str = "USD"
    """Of `gpu_hour_price`."""
    keep_films: str = ""
    """How long `longreel clean` keeps finished films: `90d`; empty means until they are removed."""
    keep_takes: str = ""
    """How long it keeps takes that only finished films have; empty means as long as the films."""
    keep_audit: str = "400d"
    """How long it keeps records of requests."""
    prefect_api_url: str | None = Field(default=None, validation_alias="PREFECT_API_URL")
    """A Prefect server of one's own; none means the embedded one is started and found again."""

    @field_validator("home", mode="after")
    @classmethod
    def _expanded(cls, path: Path) -> Path:
        return path.expanduser()

    @field_validator("ffmpeg", mode="after")
    @classmethod
    def _expanded_text(cls, path: str) -> str:
        return str(Path(path).expanduser()) if path else path

    @field_validator("flags")
    @classmethod
    def _readable(cls, text: str) -> str:
        machine_flags(text)
        return text

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, text: str) -> str:
        if text and text.lower() not in LEVELS:
            raise ValueError(f"choose from {', '.join(LEVELS)}.")
        return text.lower()

    @field_validator("user_scopes")
    @classmethod
    def _known_scopes(cls, text: str) -> str:
        unknown = [word for word in _words(text) if word not in SCOPES]
        if unknown:
            raise ValueError(f"choose from {', '.join(SCOPES)}.")
        return text

    @property
    def new_user_scopes(self) -> tuple[str, ...]:
        """`user_scopes`, read."""
        return _words(self.user_scopes)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """`trusted_proxies`, read."""
        return _read_networks(self.trusted_proxies)

    @field_validator("allowed_networks", "trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        _read_networks(text)
        return text

    @property
    def open_networks(self) -> tuple[Network, ...]:
        """`allowed_networks`, read."""
        return _read_networks(self.allowed_networks)

    @field_validator("api_models")
    @classmethod
    def _pairs(cls, text: str) -> str:
        if any(not name or not model for name, model in _names(text).items()):
            raise ValueError("write NAME=MODEL, with a comma between such pairs.")
        return text

    @property
    def api_model_names(self) -> dict[str, str]:
        """`api_models`, read: models by the names that clients may give."""
        return _names(self.api_models)

    @field_validator("keep_films", "keep_takes", "keep_audit")
    @classmethod
    def _is_time(cls, text: str) -> str:
        _keep_seconds(text)
        return text

    @property
    def keep_films_seconds(self) -> float | None:
        """`keep_films`, read."""
        return _keep_seconds(self.keep_films)

    @property
    def keep_takes_seconds(self) -> float | None:
        """`keep_takes`, read."""
        return _keep_seconds(self.keep_takes)

    @property
    def keep_audit_seconds(self) -> float | None:
        """`keep_audit`, read."""
        return _keep_seconds(self.keep_audit)

    @property
    def machine_flags(self) -> RenderFlags:
        """`flags`, read."""
        return machine_flags(self.flags)

    @property
    def effective_database_url(self) -> str:
        """`database_url`, or SQLite in `home`."""
        return self.database_url or f"sqlite:///{self.home / 'longreel.db'}"

    @property
    def effective_store_url(self) -> str:
        """`store_url`, or a folder in `home`."""
        return self.store_url or (self.home / "store").absolute().as_uri()


SCOPES = ("read", "submit", "steer", "admin")
"""What keys of the service may be allowed."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


_KEEP = re.compile(r"(\d{1,6})\s*(h|d)", re.ASCII)


def _keep_seconds(text: str) -> float | None:
    match = _KEEP.fullmatch(text.strip().lower())
    if match is None and text.strip():
        raise ValueError("write a time such as 12h or 90d.")
    return int(match[1]) * {"h": 3600.0, "d": 86400.0}[match[2]] if match else None


@cache
def _read_networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _names(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): model.strip() for name, _, model in pairs}


@cache
def settings() -> Settings:
    """The settings of this process, read once. Raises `SettingsError` naming the variable."""
    try:
        return Settings()
    except RuntimeError:
        raise SettingsError(
            "This user has no home folder; set LONGREEL_HOME to a folder that Longreel may use."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        name = f"LONGREEL_{str(first['loc'][0]).upper()}"
        why = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name} is {first['input']!r}, which cannot work: {why}") from None
