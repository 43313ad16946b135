from __future__ import annotations

import pytest

from tests.vendors.novita.cloud import MANNERS


@pytest.fixture(params=MANNERS)
def manner(request: pytest.FixtureRequest) -> str:
    return str(request.param)
