"""Keys, roles and scopes: who may do what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gpuyard.domain.accounts import (
    INSTANCE_KEY_SCOPES,
    ROLE_SCOPES,
    Caller,
    Key,
    Role,
    Scope,
    digest,
    hint_of,
    new_account_secret,
    new_instance_secret,
)
from gpuyard.domain.errors import Forbidden
from gpuyard.domain.ids import InstanceId, KeyId, MemberId
from tests.domain.builders import ACCOUNT, NOW

KEY = Key(
    id=KeyId("key_1"),
    account_id=ACCOUNT,
    member_id=MemberId("mem_1"),
    name="laptop",
    digest="…",
    hint="sk_compute_abcd…",
    scopes=frozenset({Scope.READ}),
    created_at=NOW,
)


def a_caller(*scopes: Scope, instance: str | None = None) -> Caller:
    return Caller(
        ACCOUNT, MemberId("mem_1"), KeyId("key_1"), frozenset(scopes), InstanceId(instance) if instance else None
    )


def test_every_role_has_its_scopes() -> None:
    assert set(ROLE_SCOPES) == set(Role)


def test_each_role_may_do_what_the_lesser_one_may() -> None:
    assert ROLE_SCOPES[Role.VIEWER] < ROLE_SCOPES[Role.MEMBER] < ROLE_SCOPES[Role.OWNER]


def test_no_role_alone_reaches_beyond_its_account() -> None:
    assert all(Scope.YARD not in scopes for scopes in ROLE_SCOPES.values())


def test_an_instance_key_can_neither_make_instances_nor_keys() -> None:
    assert INSTANCE_KEY_SCOPES.isdisjoint({Scope.WRITE, Scope.KEYS, Scope.MEMBERS, Scope.YARD})


def test_a_missing_scope_is_named_together_with_the_way_to_get_it() -> None:
    with pytest.raises(Forbidden) as refused:
        a_caller(Scope.READ).must(Scope.RUN)

    assert "'run'" in refused.value.message
    assert refused.value.hint is not None
    assert "gpuyard keys create --scope run" in refused.value.hint


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_one_has_is_no_obstacle(scope: Scope) -> None:
    a_caller(scope).must(scope)


def test_an_instance_key_sees_its_own_instance_alone() -> None:
    caller = a_caller(Scope.READ, instance="inst_1")

    assert caller.may_see(InstanceId("inst_1"))
    assert not caller.may_see(InstanceId("inst_2"))


def test_an_account_key_sees_every_instance_of_the_account() -> None:
    assert a_caller(Scope.READ).may_see(InstanceId("inst_2"))


def test_a_key_is_good_until_the_instant_it_expires() -> None:
    key = replace(KEY, expires_at=NOW)

    assert key.is_good(NOW - timedelta(microseconds=1))
    assert not key.is_good(NOW)


def test_a_revoked_key_is_not_good_even_before_it_expires() -> None:
    assert not replace(KEY, revoked_at=NOW, expires_at=NOW + timedelta(days=1)).is_good(NOW)


def test_the_two_kinds_of_keys_can_be_told_apart() -> None:
    assert new_account_secret().startswith("sk_compute_")
    assert new_instance_secret().startswith("sk_live_")


def test_no_two_keys_are_alike() -> None:
    assert len({new_account_secret() for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("make", [new_account_secret, new_instance_secret])
def test_a_hint_shows_the_kind_and_four_characters_of_a_key(make: Callable[[], str]) -> None:
    secret = make()

    hint = hint_of(secret)

    assert secret.startswith(hint.removesuffix("…"))
    assert len(secret) - len(hint) > 32


def test_what_we_keep_of_a_key_is_not_the_key() -> None:
    secret = new_account_secret()

    assert secret not in digest(secret)
    assert digest(secret) == digest(secret) != digest(new_account_secret())
