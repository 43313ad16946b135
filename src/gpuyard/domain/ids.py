"""Identifiers: one NewType and one prefix per noun."""

from __future__ import annotations

import re
import secrets
from typing import NewType

AccountId = NewType("AccountId", str)
MemberId = NewType("MemberId", str)
KeyId = NewType("KeyId", str)
InstanceId = NewType("InstanceId", str)
IntervalId = NewType("IntervalId", str)
ExecutionId = NewType("ExecutionId", str)

_RANDOM_HEX = 24
_SHORT_HEX = 8


def new_account_id() -> AccountId:
    return AccountId(_new("acct"))


def new_member_id() -> MemberId:
    return MemberId(_new("mem"))


def new_key_id() -> KeyId:
    return KeyId(_new("key"))


def new_instance_id() -> InstanceId:
    return InstanceId(_new("inst"))


def new_interval_id() -> IntervalId:
    return IntervalId(_new("use"))


def new_execution_id() -> ExecutionId:
    return ExecutionId(_new("exec"))


def short_id(instance_id: InstanceId) -> str:
    """The first eight hex digits after the prefix: unique in a yard, and short enough to say aloud."""
    return instance_id.removeprefix("inst_")[:_SHORT_HEX]


def looks_like_instance_id(text: str) -> bool:
    return re.fullmatch(rf"inst_[0-9a-f]{{{_RANDOM_HEX}}}", text) is not None


def looks_like_short_id(text: str) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{_SHORT_HEX}}}", text) is not None


def _new(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(_RANDOM_HEX // 2)}"
