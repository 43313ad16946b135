"""Providers are found by name, whoever wrote them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import Invalid
from gpuyard.providers.registry import load, names

CATALOGUE = load_catalogue()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that registers the providers `cellar`, `broken` and, cheekily, `fake`."""
    metadata = tmp_path / "cellar-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cellar\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[gpuyard.providers]\ncellar = cellar:make\nbroken = cellar:absent\nfake = cellar:make\n"
    )
    (tmp_path / "cellar.py").write_text(
        "from gpuyard.providers.fake import FakeProvider, FakeSettings\n"
        "def make(settings, catalogue):\n"
        "    return FakeProvider(catalogue, FakeSettings(name=settings.get('name', 'cellar')))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cellar", raising=False)


def test_our_own_providers_are_there() -> None:
    assert {"fake", "local"} <= set(names())
    assert load("fake", {"name": "pretend"}, CATALOGUE).name == "pretend"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(Invalid) as refusal:
        load("locale", {}, CATALOGUE)

    assert refusal.value.details["nearest"] == ["local"]
    assert "did you mean local?" in str(refusal.value.hint)


@pytest.mark.usefixtures("installed")
def test_another_package_can_register_a_provider() -> None:
    provider = load("cellar", {"name": "wine"}, CATALOGUE)

    assert provider.name == "wine"
    assert "cellar" in names()


@pytest.mark.usefixtures("installed")
def test_another_package_cannot_replace_ours() -> None:
    assert load("fake", {}, CATALOGUE).name == "fake"


@pytest.mark.usefixtures("installed")
def test_a_provider_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(Invalid, match="broken"):
        load("broken", {}, CATALOGUE)
