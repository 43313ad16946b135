"""Which yard and which key: the nearest word counts, and a key goes only to its own yard."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gpuyard import Client
from gpuyard.sdk.credentials import Credentials, credentials_path, load, resolve, save
from gpuyard.sdk.errors import Invalid, NotConfigured


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"GPUYARD_HOME": str(tmp_path / "home")}


def test_without_anything_the_remedy_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(NotConfigured, match=r"gpuyard up.*gpuyard login"):
        resolve(environ=environ)


def test_what_was_saved_is_found(environ: dict[str, str]) -> None:
    save(Credentials("http://yard:1", "k"), environ)

    assert resolve(environ=environ) == Credentials("http://yard:1", "k")


def test_the_environment_comes_before_the_file_and_arguments_before_both(environ: dict[str, str]) -> None:
    save(Credentials("http://file", "file-key"), environ)
    environ |= {"GPUYARD_URL": "http://env", "GPUYARD_API_KEY": "env-key"}

    assert resolve(environ=environ) == Credentials("http://env", "env-key")
    assert resolve("http://arg", "arg-key", environ) == Credentials("http://arg", "arg-key")


def test_the_key_of_one_yard_is_not_sent_to_another(environ: dict[str, str]) -> None:
    save(Credentials("http://mine", "k"), environ)

    with pytest.raises(NotConfigured, match="http://other"):
        resolve("http://other", environ=environ)
    assert resolve("http://mine/", environ=environ).api_key == "k"


def test_the_file_is_for_its_owner_alone(environ: dict[str, str]) -> None:
    path = save(Credentials("http://yard", "k"), environ)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": "http://yard", "key": "k"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"url": "http://x"}', "null"])
def test_a_file_that_says_something_else_is_named(environ: dict[str, str], content: str) -> None:
    path = credentials_path(environ)
    path.parent.mkdir()
    path.write_text(content)

    with pytest.raises(Invalid, match=r"credentials\.json.*gpuyard login"):
        load(environ)


@pytest.mark.parametrize("url", ["yard", "ftp://yard", "127.0.0.1:80"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="not the address of a yard"):
        Client(url, "k")


@pytest.mark.parametrize("key", [" ", "two words", "naïve", "a\nb"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises((Invalid, NotConfigured)) as caught:
        Client("http://yard", key)

    assert key.strip() == "" or key not in str(caught.value)


def test_a_key_is_not_shown() -> None:
    with Client("http://yard", "sk_compute_secret") as client:
        assert "secret" not in repr(client) + repr(Credentials("http://yard", "sk_compute_secret"))
