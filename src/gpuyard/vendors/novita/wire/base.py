"""How the Novita API writes things down: camelCase keys, numbers as strings, one object or an array of one, blanks for nothing.

Requests are strict about the documented limits. Replies are lenient, because the sources disagree on their types: a
number passes as text and text as a number, an unknown enum value stays the string it was.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SerializationInfo
from pydantic.alias_generators import to_camel

T = TypeVar("T")
MAX_NAME = 255


class Shape(BaseModel):
    """Attributes in snake_case, JSON keys in camelCase; either is accepted. Unknown keys are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, coerce_numbers_to_str=True, defer_build=True
    )

    def to_wire(self) -> dict[str, Any]:
        """The JSON object to send: by JSON key, without what is None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SnakeShape(BaseModel):
    """The same for the simple API, whose JSON keys are the attribute names."""

    model_config = ConfigDict(coerce_numbers_to_str=True, defer_build=True)

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def given(self) -> dict[str, Any]:
        """Only what the caller set, for partial updates."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def key(*names: str) -> Any:
    """A field whose JSON key does not follow the rule: written as the first name, read from any of them."""
    return Field(default=None, validation_alias=AliasChoices(*names), serialization_alias=names[0])


def required_key(*names: str) -> Any:
    return Field(validation_alias=AliasChoices(*names), serialization_alias=names[0])


def _blank_as_none(value: object) -> object:
    return None if value == "" else value


def _the_one(value: object) -> object:
    """An object, or the array of one object that some revisions of the API have in its place."""
    return (value[0] if value else None) if isinstance(value, list) else value


def _as_list(value: object) -> object:
    if value is None:
        return []
    return value if isinstance(value, list | tuple) else [value]


def _text_by_key(value: int | None, info: SerializationInfo) -> int | str | None:
    return str(value) if info.by_alias and value is not None else value


Maybe = Annotated[T | None, BeforeValidator(_blank_as_none)]
"""Missing, null and "" are all nothing."""
IntAsText = Annotated[int | None, BeforeValidator(_blank_as_none), PlainSerializer(_text_by_key)]
"""A number that some clients read as text only: by JSON key it is written as a decimal string."""
One = Annotated[T | None, BeforeValidator(_the_one)]
Sole = Annotated[T, BeforeValidator(_the_one)]
Many = Annotated[list[T], BeforeValidator(_as_list)]
Open = Annotated[T | str, Field(union_mode="left_to_right")]
"""A member of the enum where it is one, else the string as it came: a new status must not break a list."""


class Listing(Shape):
    """A reply that holds a list under a key. A bare array is taken for it, and `total` may be text or missing."""

    @classmethod
    def around(cls, value: Any, name: str) -> Self:
        return cls.model_validate({name: value} if isinstance(value, list) else value)
