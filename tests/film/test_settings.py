"""The environment, and the message for a value that cannot work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from film.errors import SettingsError
from film.settings import settings


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("LONGREEL_", "PREFECT_")):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_nothing_needs_to_be_set() -> None:
    assert settings().effective_database_url == f"sqlite:///{Path.home()}/.longreel/longreel.db"
    assert settings().effective_store_url == (Path.home() / ".longreel" / "store").as_uri()


def test_the_defaults_follow_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LONGREEL_HOME", str(tmp_path / "my films"))
    assert settings().effective_database_url == f"sqlite:///{tmp_path}/my films/longreel.db"
    assert settings().effective_store_url == f"file://{tmp_path}/my%20films/store"


def test_urls_of_ones_own_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGREEL_DATABASE_URL", "postgresql://farm@db/longreel")
    monkeypatch.setenv("LONGREEL_STORE_URL", "s3://films/farm")
    assert settings().effective_database_url == "postgresql://farm@db/longreel"
    assert settings().effective_store_url == "s3://films/farm"


def test_prefect_s_own_variable_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect/api")
    assert settings().prefect_api_url == "http://prefect/api"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PREFECT_PORT", "5000", 5000),
        ("LEASE_SECONDS", "2.5", 2.5),
        ("SEGMENT_ATTEMPTS", "5", 5),
        ("MAX_FILM_SECONDS", "60", 60.0),
        ("THREADS", "4", 4),
        ("FFMPEG", "/opt/ffmpeg", "/opt/ffmpeg"),
        ("S3_ENDPOINT_URL", "http://minio:9000", "http://minio:9000"),
        ("S3_CHECKSUMS", "when_required", "when_required"),
    ],
)
def test_each_variable_is_read(
    name: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LONGREEL_{name}", value)
    assert getattr(settings(), name.lower()) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_PORT", "many"),
        ("PREFECT_PORT", "-1"),
        ("PREFECT_PORT", "65536"),
        ("LEASE_SECONDS", "soon"),
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "nan"),
        ("LEASE_SECONDS", "inf"),
        ("SEGMENT_ATTEMPTS", "2.5"),
        ("SEGMENT_ATTEMPTS", "0"),
        ("MAX_FILM_SECONDS", "long"),
        ("MAX_FILM_SECONDS", "-1"),
        ("MAX_FILM_SECONDS", "nan"),
        ("THREADS", "-1"),
    ],
)
def test_a_bad_value_names_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LONGREEL_{name}", value)
    with pytest.raises(SettingsError, match=f"^LONGREEL_{name} is '{value}', which cannot work: "):
        settings()


@pytest.mark.parametrize(
    "name", ["HOME", "PREFECT_PORT", "S3_CHECKSUMS", "LOG_FORMAT", "DATABASE_URL", "THREADS"]
)
def test_an_empty_variable_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    settings.cache_clear()
    monkeypatch.setenv(f"LONGREEL_{name}", "")
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert settings() == before


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGREEL_HOME", "~/films")
    monkeypatch.setenv("LONGREEL_FFMPEG", "~/bin/ffmpeg")
    assert settings().home == Path.home() / "films"
    assert settings().ffmpeg == str(Path.home() / "bin" / "ffmpeg")


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(SettingsError, match="set LONGREEL_HOME to a folder"):
        settings()
    settings.cache_clear()
    monkeypatch.setenv("LONGREEL_HOME", "/films")
    assert settings().home == Path("/films")
