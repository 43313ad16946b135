"""Files and folders to and from an instance: whole or not at all, over wires that break."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.sdk import RetryPolicy, errors, folders
from tests.sdk.manners import open_client
from tests.sdk.scripted import CuttingWire
from tests.yards import RunningYard

LARGE = folders.PIECE_BYTES * 2 + 12_345
PATIENT = RetryPolicy(retries=50, first_seconds=0.001, most_seconds=0.01)


@pytest.fixture
async def instance(client: Any) -> AsyncIterator[Any]:
    async for found in client.instances.list(name="files"):
        yield found
        return
    made = await client.instances.create(name="files")
    yield await made.wait_until_running(60)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_small_files_are_bytes(instance: Any) -> None:
    await instance.files.write("notes/naïve name.txt", "ü", mode="755")

    assert await instance.files.read("notes/naïve name.txt") == "ü".encode()
    seen = await instance.files.stat("notes/naïve name.txt")
    assert (seen.name, seen.type, seen.size) == ("naïve name.txt", "file", 2)
    assert [(entry.name, entry.type) for entry in await instance.files.list("notes")] == [("naïve name.txt", "file")]
    await instance.files.move("notes/naïve name.txt", "notes/b")
    with pytest.raises(errors.NotFound):
        await instance.files.stat("notes/naïve name.txt")
    with pytest.raises(errors.IllegalMove):
        await instance.files.delete("notes")
    await instance.files.delete("notes", recursive=True)
    await instance.files.mkdir("made/deep")
    assert (await instance.files.stat("made/deep")).type == "directory"


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../../etc/passwd"])
async def test_a_path_that_climbs_out_is_refused_by_name(instance: Any, path: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await instance.files.read(path)

    assert caught.value.field == "path"


async def test_a_large_file_goes_up_and_comes_down_with_progress(instance: Any, large: Path, tmp_path: Path) -> None:
    up: list[tuple[int, int | None]] = []
    down: list[tuple[int, int | None]] = []

    remote = await instance.upload(large, "models/", progress=lambda done, total: up.append((done, total)))
    local = await instance.download(remote, tmp_path, progress=lambda done, total: down.append((done, total)))

    assert (remote, local) == ("models/large.bin", tmp_path / "large.bin")
    assert digest(local.read_bytes()) == digest(large.read_bytes())
    for told in (up, down):
        assert told == sorted(told)
        assert told[-1] == (LARGE, LARGE)


async def test_a_large_file_goes_up_and_comes_down_over_a_wire_that_breaks(
    yard: RunningYard, manner: str, instance: Any, large: Path, tmp_path: Path
) -> None:
    wire = CuttingWire(yard.url)
    wire.cuts = [folders.PIECE_BYTES // 2, folders.PIECE_BYTES + 100_000, 300, 5_000_000]
    async with open_client(manner, wire.url, yard.key, retries=PATIENT) as client:
        through = await client.instances.get(instance.id)
        await through.upload(large, f"broken-{manner}.bin")
        uploads_broken, wire.broken = wire.broken, 0
        await client.aclose()
    wire.cuts = [3_000_000, 100, 9_000_000, 400, 2_000_000]
    async with open_client(manner, wire.url, yard.key, retries=PATIENT) as client:
        through = await client.instances.get(instance.id)
        local = await through.download(f"broken-{manner}.bin", tmp_path / "back.bin")
    wire.close()

    assert digest(local.read_bytes()) == digest(large.read_bytes())
    assert uploads_broken and wire.broken


async def test_an_upload_that_was_broken_off_goes_on_where_it_was(instance: Any, manner: str, tmp_path: Path) -> None:
    file = tmp_path / "resumed.bin"
    file.write_bytes(os.urandom(LARGE))

    def break_off(done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await instance.upload(file, f"resumed-{manner}.bin", progress=break_off)
    with pytest.raises(errors.NotFound):
        await instance.files.stat(f"resumed-{manner}.bin")
    told: list[int] = []
    await instance.upload(file, f"resumed-{manner}.bin", progress=lambda done, total: told.append(done))

    assert told[0] == folders.PIECE_BYTES
    assert digest(await instance.files.read(f"resumed-{manner}.bin")) == digest(file.read_bytes())


async def test_a_download_that_is_broken_off_leaves_nothing(instance: Any, large: Path, tmp_path: Path) -> None:
    await instance.upload(large, "leave.bin")

    def break_off(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    (tmp_path / "leave.bin").write_text("the old one")
    with pytest.raises(KeyboardInterrupt):
        await instance.download("leave.bin", tmp_path / "leave.bin", progress=break_off)

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("leave.bin", "the old one")]


async def test_a_folder_goes_up_and_comes_down(instance: Any, manner: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("print('a')")
    (root / "src" / "a.pyc").write_text("no")
    (root / "empty").mkdir()
    (root / "link").symlink_to("src/a.py")
    told: list[tuple[int, int | None]] = []

    remote = await instance.upload(
        root, f"p-{manner}", exclude=["*.pyc"], progress=lambda done, total: told.append((done, total))
    )
    assert (await instance.shell(f"cd {remote} && python src/a.py && ls")).stdout == "a\nempty\nlink\nsrc\n"
    back = await instance.download(remote, tmp_path / "back")

    assert told[-1] == (10, 10)
    assert sorted(str(path.relative_to(back)) for path in back.rglob("*")) == ["empty", "link", "src", "src/a.py"]
    assert (back / "link").read_text() == "print('a')"


async def test_what_is_not_there_is_told_by_its_name(instance: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        await instance.download("no-such-file", tmp_path)
    with pytest.raises(errors.Invalid, match="no-such-local"):
        await instance.upload(tmp_path / "no-such-local")

    assert list(tmp_path.iterdir()) == []
