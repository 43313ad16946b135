"""Code, commands, values and functions in an instance, through both clients, on a real yard."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gpuyard.sdk import RetryPolicy, errors
from gpuyard.sdk._async.remote import remote as async_remote
from tests.sdk.manners import awaited_remote, open_client
from tests.sdk.scripted import CuttingWire
from tests.yards import RunningYard


@pytest.fixture
async def instance(client: Any) -> AsyncIterator[Any]:
    """One for the whole module: what runs in it is told apart by its names."""
    async for found in client.instances.list(name="runner"):
        yield found
        return
    made = await client.instances.create(name="runner")
    yield await made.wait_until_running(60)


async def test_a_kernel_keeps_its_state(instance: Any) -> None:
    await instance.run("kept = 20")

    result = await instance.run("print('twice'); kept * 2")

    assert (result.stdout, result.result, result.value, result.ok) == ("twice\n", "40", 40, True)


async def test_what_code_raises_is_in_the_result(instance: Any) -> None:
    result = await instance.run("1 / 0")

    assert (result.ok, result.error) == (False, "ZeroDivisionError: division by zero")
    with pytest.raises(errors.ExecutionFailed, match="division by zero") as caught:
        result.raise_for_status()
    assert caught.value.result is result


async def test_a_command_tells_its_output_and_how_it_ended(instance: Any) -> None:
    out: list[str] = []
    err: list[str] = []
    result = await instance.shell(
        "echo $WHO; echo bad >&2; exit 3", env={"WHO": "ada"}, on_stdout=out.append, on_stderr=err.append
    )

    assert (result.stdout, result.stderr, result.exit_code) == ("ada\n", "bad\n", 3)
    assert ("".join(out), "".join(err)) == ("ada\n", "bad\n")
    with pytest.raises(errors.ExecutionFailed, match="exit code 3: bad"):
        result.raise_for_status()


async def test_a_program_gets_its_arguments_as_they_are(instance: Any) -> None:
    assert (await instance.argv(["printf", "%s|", "a b", "$HOME", "*"])).stdout == "a b|$HOME|*|"


async def test_too_long_is_ended_with_the_reason(instance: Any) -> None:
    result = await instance.shell("sleep 60", timeout=0.2)

    assert (result.ok, result.reason) == (False, "timeout")


async def test_what_was_submitted_is_followed_from_elsewhere(instance: Any, client: Any) -> None:
    execution = await instance.submit("read line; echo got $line; read more; echo end", name="reader")
    elsewhere = await (await client.instances.get(instance.id)).execution(execution.id)

    await execution.stdin("ada\n")
    records = elsewhere.follow()
    seen = ""
    async for record in records:
        seen += record.d or ""
        if "got ada" in seen:
            break
    assert await execution.logs() == "got ada\n"
    await execution.stdin(eof=True)

    assert (await execution.wait(60)).stdout == "got ada\nend\n"
    assert execution.state == (await elsewhere.refresh()).state == "succeeded"
    assert execution.id in [one.id async for one in instance.executions()]


async def test_a_wait_can_be_given_up_and_taken_up_again(instance: Any) -> None:
    execution = await instance.submit("read line; echo $line")

    with pytest.raises(errors.TimedOut, match="goes on"):
        await execution.wait(0.1)

    await execution.stdin("later\n")
    assert (await execution.wait(60)).stdout == "later\n"


async def test_what_is_cancelled_ends(instance: Any) -> None:
    execution = await instance.submit("sleep 60")

    await execution.cancel()

    assert (await execution.wait(60)).ok is False
    assert execution.state == "cancelled"
    await execution.cancel()


async def test_interrupted_here_is_interrupted_there(instance: Any) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await instance.run("import time\nprint('go', flush=True)\ntime.sleep(600)", on_stdout=interrupt)

    assert (await instance.run("'free again'", timeout=60)).value == "free again"


async def test_output_comes_once_and_whole_over_a_wire_that_breaks(
    yard: RunningYard, manner: str, instance: Any
) -> None:
    dice = random.Random(7)
    wire = CuttingWire(yard.url)
    policy = RetryPolicy(retries=100, first_seconds=0.001, most_seconds=0.01)
    async with open_client(manner, wire.url, yard.key, retries=policy) as client:
        execution = await (await client.instances.get(instance.id)).submit("seq 1 5000; echo end")
        await client.aclose()
    wire.cuts = [dice.randint(300, 40_000) for _ in range(20)]

    async with open_client(manner, wire.url, yard.key, retries=policy) as client:
        follower = await (await client.instances.get(instance.id)).execution(execution.id)
        result = await follower.wait(120)
    wire.close()

    assert result.stdout == "".join(f"{n}\n" for n in range(1, 5001)) + "end\n"
    assert wire.broken > 0


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None]}, b"\0\xff" * 500_000, "naïve"], ids=["nested", "large", "text"]
)
async def test_values_go_there_and_come_back(instance: Any, value: object) -> None:
    await instance.set("it", value)

    assert await instance.get("it") == value
    assert (await instance.run("type(it).__name__")).value == type(value).__name__
    assert [entry.name for entry in await instance.files.list("/tmp") if entry.name.startswith(".gpuyard-")] == []


async def test_values_leave_no_trace_in_the_kernel(instance: Any) -> None:
    await instance.set("known", 1)

    names = await instance.run(
        "[name for name in dir() if name in ('send', 'load', 'outcome', 'namespace', 'failure')]"
    )

    assert names.value == []


async def test_a_value_that_cannot_travel_says_why(instance: Any) -> None:
    await instance.run("cannot = (i for i in [])")

    with pytest.raises(errors.RemoteError, match="cannot be pickled"):
        await instance.get("cannot")
    with pytest.raises(errors.NotFound, match="nothing_there"):
        await instance.get("nothing_there")


async def test_a_function_runs_there(instance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    @instance.remote
    def area(width: int, height: int = 2) -> dict[str, object]:
        import os

        print("measuring")  # noqa: T201
        return {"area": width * height, "where": os.getcwd()}

    assert await area(4) == {"area": 8, "where": "/workspace"}
    assert capsys.readouterr().out == "measuring\n"
    assert area.local(1)["area"] == 2


async def test_a_function_goes_on_by_itself_and_its_value_is_fetched_later(instance: Any) -> None:
    @instance.remote
    def big(n: int) -> bytes:
        return b"x" * n

    call = await big.submit(300_000)

    assert await call.value(60) == b"x" * 300_000
    assert await call.value() == b"x" * 300_000


async def test_what_a_function_raises_is_raised_here(instance: Any) -> None:
    @instance.remote
    def fails() -> None:
        raise ValueError("not today")

    with pytest.raises(errors.RemoteError, match="ValueError: not today") as caught:
        await fails()
    assert "in fails" in caught.value.remote_traceback
    call = await fails.submit()
    for _ in range(2):
        with pytest.raises(errors.RemoteError, match="not today"):
            await call.value(60)


async def test_a_function_without_an_instance_has_one_for_the_call(
    client: Any, yard: RunningYard, manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUYARD_URL", yard.url)
    monkeypatch.setenv("GPUYARD_API_KEY", yard.key)

    def where() -> str | None:
        import os

        return os.environ.get("GPUYARD_INSTANCE_NAME")

    decorate = async_remote(name=f"own-{manner}") if manner == "async" else None
    function = decorate(where) if decorate else awaited_remote(where, name=f"own-{manner}")

    assert await function() == f"own-{manner}"
    states = [instance.state async for instance in client.instances.list(name=f"own-{manner}", state="all")]
    assert states and set(states) <= {"deleting", "deleted"}


async def test_kernels_are_beside_each_other(instance: Any) -> None:
    await instance.run("where = 'other'", kernel="other")

    assert (await instance.run("'where' in globals()")).value is False
    assert {"main", "other"} <= {kernel.id for kernel in await instance.kernels.list()}
    await instance.kernels.restart("other")
    assert (await instance.run("'where' in globals()", kernel="other")).value is False
    await instance.kernels.delete("other")


async def test_a_terminal_shows_what_was_typed_again_when_joined(instance: Any, manner: str) -> None:
    async with await instance.terminal(f"t-{manner}", columns=100, rows=30) as terminal:
        await terminal.send("echo a$((1+1))b; stty size\r")
        assert b"30 100" in await shown_until(terminal, b"30 100")

    async with await instance.terminal(f"t-{manner}") as again:
        assert b"a2b" in await shown_until(again, b"a2b")
        await again.send("exit 3\r")
        async for _ in again:
            pass
        assert again.exit_code == 3


async def shown_until(terminal: Any, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        piece = await terminal.receive()
        assert piece is not None, shown
        shown += piece
    return shown


async def test_a_terminal_where_there_is_no_instance_is_refused_with_the_reason(client: Any) -> None:
    gone = await client.instances.create()
    await gone.delete()

    with pytest.raises((errors.IllegalMove, errors.NotFound)):
        await gone.terminal()


async def test_samples_and_a_link_for_the_browser(instance: Any, yard: RunningYard) -> None:
    assert (await instance.open()).startswith(f"{yard.url}/i/{instance.short_id}/?")
    samples = await instance.samples()
    assert samples.cpu.percent >= 0 and samples.memory.used_mb > 0
