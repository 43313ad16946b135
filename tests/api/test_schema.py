"""Whatever a caller sends, the API answers as its own description says: never with a bug, always in our shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

from tests.yards import RunningYard, start_yard

PER_ROUTE = 8
PROMISES = ("content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    env = {"GPUYARD_PROVIDERS": '{"fake": {}}', "GPUYARD_RATE_LIMIT__PER_SECOND": "0"}
    running = start_yard(tmp_path_factory.mktemp("y"), env=env)
    yield running
    running.kill()


def test_every_route_answers_as_described(yard: RunningYard) -> None:
    schema = schemathesis.openapi.from_url(f"{yard.url}/yard/v1/openapi.json")
    answered: Counter[int] = Counter()

    for found in schema.exclude(path_regex="/healthz|/readyz|/metrics").get_all_operations():
        target = {"gpus": [], "name": "target"}  # again for each: some of the routes end it
        httpx.post(f"{yard.url}/yard/v1/instances", json=target, headers=_as(yard.key), trust_env=False)
        _try(found.ok(), yard.key, answered)

    assert answered[200] and answered[404] and answered[422], answered


def _try(operation: Any, key: str, answered: Counter[int]) -> None:
    # A loop of our own: Schemathesis' pytest plugin does not know this pytest.
    @given(case=operation.as_strategy())
    @settings(
        max_examples=PER_ROUTE,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers_as_described(case: Any) -> None:
        if "ref" in case.path_parameters:
            case.path_parameters["ref"] = "target"
        response = case.call(headers=_as(key), timeout=20)
        answered[response.status_code] += 1
        assert response.status_code != 500, response.text
        case.validate_response(response, checks=CHECKS.get_by_names(list(PROMISES)))
        if response.status_code >= 400 and response.content:
            assert set(response.json()["error"]) >= {"code", "message", "request_id"}

    answers_as_described()


def _as(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
