"""Whole directories as tar streams, out of and into a real resident."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gpuyard.resident.tarring import excluded
from tests.resident.running import RunningResident

MIB = 1024 * 1024


@pytest.fixture
def place(resident: RunningResident) -> Iterator[Path]:
    """A directory of its own in the workspace, for one test."""
    directory = resident.workspace / uuid.uuid4().hex[:8]
    directory.mkdir()
    yield directory


def a_tree(top: Path) -> None:
    (top / "src/deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "src/main.py").write_text("print('hi')")
    (top / "src/main.py").chmod(0o755)
    (top / "src/deep/data.bin").write_bytes(os.urandom(3 * MIB + 11))
    (top / "src/link").symlink_to("main.py")
    (top / ("long-" * 40)).write_text("a name over a hundred bytes")
    (top / "\u00fcmlaut").write_text("")


def what_is_in(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = "directory"
        else:
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777, int(path.stat().st_mtime))
    return found


def get(resident: RunningResident, place: Path, **query: object) -> httpx.Response:
    return resident.client.get(f"/archive/{place.name}", params=query)  # type: ignore[arg-type]


def put(resident: RunningResident, place: Path, archive: bytes) -> httpx.Response:
    return resident.client.put(f"/archive/{place.name}", content=archive)


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def a_tar(*members: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo, mode: str = "w") -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode=mode) as tar:  # type: ignore[call-overload]
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return whole.getvalue()


def a_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize("gzip", [False, True])
def test_what_goes_out_comes_in_again_the_same(resident: RunningResident, place: Path, gzip: bool) -> None:
    (place / "from").mkdir()
    a_tree(place / "from")

    out = resident.client.get(f"/archive/{place.name}/from", params={"gzip": gzip})
    done = resident.client.put(f"/archive/{place.name}/new/to", content=out.content)

    assert out.headers["content-type"] == ("application/gzip" if gzip else "application/x-tar")
    assert what_is_in(place / "new/to") == what_is_in(place / "from")
    assert done.json() == {"files": 5, "bytes": 11 + 3 * MIB + 11 + 27}


def test_the_systems_own_tar_reads_it(resident: RunningResident, place: Path, tmp_path: Path) -> None:
    a_tree(place)

    archive = get(resident, place).content
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")

    assert (tmp_path / "src/deep/data.bin").read_bytes() == (place / "src/deep/data.bin").read_bytes()


def test_one_file_is_an_archive_of_one_member(resident: RunningResident, place: Path) -> None:
    (place / "f").write_text("x")

    assert names(resident.client.get(f"/archive/{place.name}/f").content) == ["f"]


def test_excluded_names_and_paths_are_left_out_with_what_is_below(resident: RunningResident, place: Path) -> None:
    for path in ("a.pyc", "keep.py", "__pycache__/x", "data/big.bin", "data/small.txt", "other/big.bin"):
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).touch()

    archive = get(resident, place, exclude=["*.pyc", "__pycache__/", "data/*.bin"]).content

    assert sorted(names(archive)) == ["data", "data/small.txt", "keep.py", "other", "other/big.bin"]


@pytest.mark.parametrize(
    ("path", "pattern", "out"),
    [
        ("a/b.pyc", "*.pyc", True),
        ("a/b", "a/b", True),
        ("x/a/b", "a/b", False),
        ("a/.git", ".git/", True),
        ("a.py", "*.pyc", False),
        ("B", "b", False),
    ],
)
def test_a_pattern_fits_the_last_name_or_the_whole_path(path: str, pattern: str, out: bool) -> None:
    assert excluded(path, [pattern]) is out


def test_links_are_packed_as_links_and_lead_nobody_out(resident: RunningResident, place: Path) -> None:
    (place / "etc").symlink_to("/etc")

    with tarfile.open(fileobj=io.BytesIO(get(resident, place).content)) as tar:
        [member] = tar.getmembers()

    assert (member.issym(), member.linkname) == (True, "/etc")


def test_pipes_and_sockets_are_left_out(resident: RunningResident, place: Path) -> None:
    os.mkfifo(place / "pipe")
    (place / "f").touch()

    assert names(get(resident, place).content) == ["f"]


def test_what_is_not_there_is_a_404_and_what_is_outside_a_422(resident: RunningResident, place: Path) -> None:
    assert resident.client.get(f"/archive/{place.name}/none").status_code == 404
    assert resident.client.get("/archive//etc").status_code == 422
    assert resident.client.put("/archive//etc", content=a_tar()).status_code == 422


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

Member = tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo

CLIMBING: dict[str, list[Member]] = {
    "parent": [(a_member("../evil"), b"x")],
    "hidden parent": [(a_member("a/../../evil"), b"x")],
    "absolute": [(a_member("/tmp/evil"), b"x")],
    "absolute link": [a_member("l", LINK, "/etc")],
    "climbing link": [a_member("l", LINK, "../..")],
    "deep climbing link": [a_member("d", tarfile.DIRTYPE), a_member("d/l", LINK, "../../x")],
    "link in disguise": [a_member("here", LINK, "."), a_member("l", LINK, "here/../..")],
    "through an earlier link": [a_member("l", LINK, ".."), (a_member("l/evil"), b"x")],
    "through a link that was there": [(a_member("outside/evil"), b"x")],
    "directory through a link that was there": [a_member("outside/evil", tarfile.DIRTYPE)],
    "hard link": [a_member("l", HARD, "../secret")],
    "hard link through a link": [a_member("l", HARD, "outside/secret")],
    "hard link to a link": [a_member("s", LINK, "x"), a_member("l", HARD, "s")],
    "device": [a_member("d", tarfile.CHRTYPE)],
    "block device": [a_member("d", tarfile.BLKTYPE)],
    "pipe": [a_member("p", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("members", CLIMBING.values(), ids=CLIMBING.keys())
def test_a_member_that_climbs_out_is_refused_before_it_is_written(
    resident: RunningResident, place: Path, members: list[Member]
) -> None:
    target = place / "target"
    target.mkdir()
    (place / "secret").write_text("secret")
    (target / "outside").symlink_to("..")

    answer = resident.client.put(f"/archive/{place.name}/target", content=a_tar(*members))

    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "body")
    assert sorted(os.listdir(place)) == ["secret", "target"]
    assert not (resident.root / "tmp/evil").exists()
    assert not any(path.is_symlink() and path.name in ("l", "p") for path in target.rglob("*"))


def test_links_that_stay_inside_are_made(resident: RunningResident, place: Path) -> None:
    members: list[Member] = [
        a_member("d/e", tarfile.DIRTYPE),
        (a_member("d/f"), b"content"),
        a_member("d/e/up", LINK, "../f"),
        a_member("hard", HARD, "d/f"),
        a_member("dangling", LINK, "not/yet"),
    ]

    answer = put(resident, place, a_tar(*members))

    assert answer.status_code == 200
    assert (place / "d/e/up").read_text() == (place / "hard").read_text() == "content"
    assert os.readlink(place / "dangling") == "not/yet"


def test_a_member_replaces_a_link_and_never_writes_through_it(resident: RunningResident, place: Path) -> None:
    (place / "precious").write_text("kept")
    (place / "f").symlink_to("precious")

    put(resident, place, a_tar((a_member("f"), b"new")))

    assert (place / "precious").read_text() == "kept"
    assert (place / "f").read_text() == "new"


def test_no_member_becomes_set_uid(resident: RunningResident, place: Path) -> None:
    put(resident, place, a_tar((a_member("f", mode=0o6755), b"")))

    assert (place / "f").stat().st_mode & 0o7777 == 0o755


def test_a_directory_that_becomes_a_link_halfway_is_looked_at_anew(resident: RunningResident, place: Path) -> None:
    members: list[Member] = [
        (a_member("a/b/one"), b"1"),
        a_member("a/c", LINK, "b"),
        (a_member("a/c/two"), b"2"),
        (a_member("a/b/three"), b"3"),
    ]

    answer = put(resident, place, a_tar(*members))

    assert answer.status_code == 200
    assert sorted(os.listdir(place / "a/b")) == ["one", "three", "two"]


def test_an_impossible_date_or_name_is_a_400(resident: RunningResident, place: Path) -> None:
    late, odd = a_member("f"), a_member("l", LINK, "x")
    late.mtime = 1 << 80
    odd.pax_headers = {"linkpath": "a\0b"}

    assert put(resident, place, a_tar((late, b""))).status_code == 400
    assert put(resident, place, a_tar(odd)).status_code in (400, 422)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_the_compression_is_recognised(resident: RunningResident, place: Path, mode: str) -> None:
    answer = put(resident, place, a_tar((a_member("f"), b"content"), mode=mode))

    assert answer.json() == {"files": 1, "bytes": 7}
    assert (place / "f").read_bytes() == b"content"


@pytest.mark.parametrize("archive", [b"", b"no tar at all" * 100, a_tar((a_member("f"), bytes(9000)))[:4000]])
def test_what_is_not_a_whole_archive_is_a_400(resident: RunningResident, place: Path, archive: bytes) -> None:
    answer = put(resident, place, archive)

    assert answer.status_code == 400
    assert os.listdir(place) == []


def test_a_large_directory_goes_both_ways_in_constant_memory(a_resident: Callable[..., RunningResident]) -> None:
    running = a_resident()
    running.start()
    running.client.put("/archive/small", content=a_tar((a_member("f"), b"x")))
    running.client.get("/archive/small", params={"gzip": True})
    assert running.process is not None
    before = memory_peak(running.process.pid)
    header = tarfile.TarInfo("big")
    header.size = 256 * MIB

    def archive() -> Iterator[bytes]:
        yield header.tobuf()
        for _ in range(256):
            yield bytes(MIB)
        yield bytes(1024)

    sent = running.client.put("/archive/large", content=archive())
    with running.client.stream("GET", "/archive/large") as answer:
        came = sum(len(chunk) for chunk in answer.iter_raw())

    assert sent.json() == {"files": 1, "bytes": 256 * MIB}
    assert came > 256 * MIB
    assert memory_peak(running.process.pid) - before < 24 * MIB


def test_thousands_of_small_files_are_unpacked_in_constant_memory(a_resident: Callable[..., RunningResident]) -> None:
    running = a_resident()
    running.start()
    running.client.put("/archive/small", content=a_tar((a_member("f"), b"x")))
    assert running.process is not None
    before = memory_peak(running.process.pid)

    answer = running.client.put(
        "/archive/many", content=a_tar(*((a_member(f"{number % 50}/{number}"), b"x") for number in range(5000)))
    )

    assert answer.json() == {"files": 5000, "bytes": 5000}
    assert memory_peak(running.process.pid) - before < 24 * MIB


def memory_peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
