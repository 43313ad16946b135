"""What is derived from the yard's secret: different for everything, and only good for what it was made for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gpuyard.domain.ids import InstanceId
from gpuyard.services.secrets import YardSecret
from tests.world import MORNING

SECRET = YardSecret(b"k" * 32)
ONE, TWO = InstanceId("inst_1"), InstanceId("inst_2")


def test_every_instance_has_its_own_secret_and_password() -> None:
    derived = {f(i) for f in (SECRET.resident_secret, SECRET.app_password) for i in (ONE, TWO)}

    assert len(derived) == 4


def test_another_yard_derives_other_secrets() -> None:
    assert YardSecret(b"j" * 32).app_password(ONE) != SECRET.app_password(ONE)


def test_a_visit_is_good_until_its_time() -> None:
    token = SECRET.sign_visit("cookie", ONE, MORNING + timedelta(hours=1))

    assert SECRET.check_visit("cookie", ONE, token, MORNING)
    assert not SECRET.check_visit("cookie", ONE, token, MORNING + timedelta(hours=1))


@pytest.mark.parametrize(("purpose", "instance"), [("ticket", ONE), ("cookie", TWO)])
def test_a_visit_is_good_for_one_purpose_at_one_instance(purpose: str, instance: InstanceId) -> None:
    token = SECRET.sign_visit("cookie", ONE, MORNING + timedelta(hours=1))

    assert not SECRET.check_visit(purpose, instance, token, MORNING)


@pytest.mark.parametrize("change", [lambda t: "9" + t, lambda t: t + "x", lambda t: "", lambda t: ".", lambda t: "é.é"])
def test_a_changed_visit_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    token = SECRET.sign_visit("cookie", ONE, MORNING + timedelta(hours=1))

    assert not SECRET.check_visit("cookie", ONE, change(token), MORNING)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        YardSecret(b"short")
