"""The GPU catalogue that ships with the package, and the owner's additions to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from gpuyard.domain.errors import Invalid
from gpuyard.domain.gpus import Gpu, GpuCatalogue

_SLUG = re.compile(r"[a-z0-9-]+")
_TEXTS = ("slug", "name", "vendor", "architecture")
_FIELDS = (*_TEXTS, "memory_gb", "compute_capability", "aliases")


def load_catalogue(extra: Path | None = None) -> GpuCatalogue:
    """Our cards, with the owner's file `extra` merged over them.

    Raises Invalid naming the file, the card and the field when a file is not readable as a catalogue.
    """
    cards = _read(files("gpuyard.catalogue").joinpath("gpus.yaml").read_text("utf-8"), "gpus.yaml")
    if extra is not None:
        try:
            written = extra.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(
                f"the GPU catalogue {extra} cannot be read: {error}",
                field="catalogue",
                hint="name a readable YAML file",
            ) from error
        for slug, fields in _read(written, str(extra)).items():
            ours = cards.get(slug, {})
            aliases = [*ours.get("aliases", []), *fields.get("aliases", [])]
            cards[slug] = {**ours, **fields, "aliases": aliases}
    return GpuCatalogue.of(_card(fields, extra) for fields in cards.values())


def _read(text: str, where: str) -> dict[str, dict[str, Any]]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"{where} is not YAML: {error}", field="catalogue", hint="mend the file") from error
    entries = document.get("gpus") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise Invalid(
            f"{where} has no list `gpus`", field="catalogue", hint="write `gpus:` and one `- slug: …` per card"
        )
    return {_checked(entry, where)["slug"]: dict(entry) for entry in entries}


def _checked(entry: Any, where: str) -> Mapping[str, Any]:
    """Raises Invalid for the first thing that is wrong about one entry."""
    slug = entry.get("slug") if isinstance(entry, Mapping) else None
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise _wrong(where, entry, "slug", "small letters, digits and dashes, as nvidia-rtx-3090")
    for name, value in entry.items():
        if name not in _FIELDS:
            raise _wrong(where, slug, name, f"a card has: {', '.join(_FIELDS)}")
        if name in _TEXTS and not isinstance(value, str):
            raise _wrong(where, slug, name, "a text")
        if name == "memory_gb" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise _wrong(where, slug, name, "a whole number of gigabytes")
        if name == "aliases" and not (isinstance(value, list) and all(isinstance(alias, str) for alias in value)):
            raise _wrong(where, slug, name, 'a list of texts; numbers in quotes, as "3090"')
    checked: Mapping[str, Any] = entry
    return checked


def _card(fields: Mapping[str, Any], extra: Path | None) -> Gpu:
    slug = fields["slug"]
    for name in ("name", "memory_gb"):
        if name not in fields:
            raise _wrong(str(extra), slug, name, "a new card needs it")
    capability = fields.get("compute_capability")
    return Gpu(
        slug=slug,
        name=fields["name"],
        memory_gb=fields["memory_gb"],
        vendor=fields.get("vendor", slug.partition("-")[0]),
        architecture=fields.get("architecture", ""),
        compute_capability=None if capability is None else str(capability),
        aliases=tuple(dict.fromkeys(fields.get("aliases", ()))),
    )


def _wrong(where: str, card: object, name: str, right: str) -> Invalid:
    return Invalid(f"{where}: the field {name!r} of {card!r} is missing or wrong", field="catalogue", hint=right)
