"""`docs/moving-from-novita.md` is true."""

from __future__ import annotations

import inspect
import re

import pytest

from gpuyard.vendors.novita import NovitaClient, core
from tests.house.reading import code_blocks
from tests.vendors.novita.calls import CALLS
from tests.vendors.novita.cloud import said
from tests.vendors.novita.published import ROOT, recording
from tests.vendors.novita.test_published import DIFFERENCES
from tests.vendors.novita.test_resources import called

PAGE = ROOT / "docs" / "moving-from-novita.md"
ROWS = {
    name: (request, differs)
    for name, request, differs in re.findall(r"^\| `(\w+\.\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
}
SIMPLE = dict(re.findall(r"^\| `(\w+)` \| ([A-Z]+ `\S+`) \|$", PAGE.read_text(), re.MULTILINE))


def methods(thing: object) -> set[str]:
    return {name for name, _ in inspect.getmembers(thing, inspect.ismethod) if name[0] != "_" and name != "iterate"}


def test_every_method_has_a_row() -> None:
    gpu = NovitaClient("k", base_url="http://127.0.0.1:1").gpu
    resources = {name: held for name, held in vars(gpu).items() if name[0] != "_"}

    assert set(ROWS) == {f"{name}.{method}" for name, held in resources.items() for method in methods(held)}
    assert set(SIMPLE) == methods(gpu)


@pytest.mark.parametrize("name", ROWS)
async def test_a_row_tells_the_request(name: str) -> None:
    _, asked = await called("sync", name)

    method, target, _ = said(asked[0])
    path = target.partition("?")[0]
    assert ROWS[name][0].replace("B`", f"`{core.REAL}") == f"{method} `{path}`"


def test_a_row_says_that_nothing_differs_only_where_nothing_does() -> None:
    claimed = {name for name, (_, differs) in ROWS.items() if differs.startswith("–")}
    differing = {name.partition(",")[0] for name in DIFFERENCES}

    assert not claimed & differing
    assert {name for name in ROWS if ROWS[name][1] == "new"} == {name for name in ROWS if name not in CALLS}


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", "test-key")
    with recording() as cloud:
        monkeypatch.setattr(core, "DEFAULT_BASE_URL", cloud.url)

        for block in code_blocks(PAGE, "python"):
            exec(compile(block, str(PAGE), "exec"), {})

    assert capsys.readouterr().out.splitlines() == [
        "RTX 4090 24GB 0.35 35000",
        "running",
        "i-7f3a90c2d1 running",
    ]
