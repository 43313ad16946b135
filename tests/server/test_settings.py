"""Settings: three places, one order, and a word about each."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from gpuyard.server.loading import load_settings, misspelled
from gpuyard.server.settings import Settings


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("GPUYARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GPUYARD_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_an_option_outweighs_the_environment_and_that_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpuyard.yaml").write_text("port: 1\nhost: 127.0.0.2\ncurrency: USD\n")
    monkeypatch.setenv("GPUYARD_PORT", "2")
    monkeypatch.setenv("GPUYARD_HOST", "127.0.0.3")

    settings = load_settings({"port": "3"})

    assert (settings.port, settings.host, settings.currency) == (3, "127.0.0.3", "USD")


def test_one_number_of_a_section_can_be_set_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpuyard.yaml").write_text("rate_limit: {burst: 7}\n")
    monkeypatch.setenv("GPUYARD_RATE_LIMIT__PER_SECOND", "5")

    limit = load_settings({}).rate_limit

    assert (limit.burst, limit.per_second, limit.logins_per_minute) == (7, 5, 10)


def test_the_address_clients_use_is_no_setting_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_URL", "https://elsewhere.example")
    monkeypatch.setenv("GPUYARD_API_KEY", "sk_compute_of-somebody")

    assert load_settings({}).public_url is None
    assert list(misspelled()) == []


def test_a_misspelled_variable_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_SIMULAT", "nvidia-rtx-3090=1")

    assert list(misspelled()) == ["GPUYARD_SIMULAT sets nothing; did you mean GPUYARD_SIMULATE?"]


def test_data_and_database_live_in_the_home_unless_told_otherwise(tmp_path: Path) -> None:
    usual, moved = load_settings({}), load_settings({"data": "elsewhere"})

    assert usual.data_directory == tmp_path / "data"
    assert usual.database_url == f"sqlite:///{tmp_path}/data/yard.db"
    assert moved.data_directory == tmp_path / "elsewhere"


def test_secrets_are_not_shown_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_OWNER_KEY", "sk_compute_0123456789abcdefghij")

    assert "0123456789" not in repr(load_settings({}))


def test_every_setting_says_what_it_is_for() -> None:
    def silent(model: type[BaseModel], path: str = "") -> list[str]:
        found = [path + name for name, field in model.model_fields.items() if not field.description]
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found += silent(field.annotation, f"{path}{name}.")
        return found

    assert silent(Settings) == []
