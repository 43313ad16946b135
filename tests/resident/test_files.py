"""The instance's files over HTTP, in a real resident."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.resident.running import SECRET, RunningResident, until

MIB = 1024 * 1024


@pytest.fixture
def place(resident: RunningResident) -> Iterator[Path]:
    """A directory of its own in the workspace, for one test."""
    directory = resident.workspace / uuid.uuid4().hex[:8]
    directory.mkdir()
    yield directory


def drafts(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.endswith(".part")]


def url(place: Path, name: str = "") -> str:
    return f"/files/{place.name}/{name}"


# read


def test_a_file_comes_with_all_its_headers(resident: RunningResident, place: Path) -> None:
    (place / "f.html").write_bytes(b"<p>hello")

    answer = resident.client.get(url(place, "f.html"))

    assert (answer.status_code, answer.content) == (200, b"<p>hello")
    assert answer.headers["content-length"] == "8"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["x-file-type"] == "file"


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 7])
def test_files_of_every_size_come_whole(resident: RunningResident, place: Path, size: int) -> None:
    content = os.urandom(size)
    (place / "f").write_bytes(content)

    assert resident.client.get(url(place, "f")).content == content


@pytest.mark.parametrize(
    ("header", "start", "stop"), [("bytes=2-5", 2, 6), ("bytes=7-", 7, 10), ("bytes=-3", 7, 10), ("bytes=8-99", 8, 10)]
)
@pytest.mark.parametrize("repeat", [1, 200_000])
def test_a_range_is_a_206_with_just_that(
    resident: RunningResident, place: Path, header: str, start: int, stop: int, repeat: int
) -> None:
    content = b"0123456789" * repeat
    (place / "f").write_bytes(content)

    answer = resident.client.get(url(place, "f"), headers={"Range": header})

    if repeat > 1:
        start, stop = {2: (2, 6), 7: (7, len(content)), 8: (8, 100)}[start]
        start, stop = (len(content) - 3, len(content)) if header == "bytes=-3" else (start, stop)
    assert answer.status_code == 206
    assert answer.content == content[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(content)}"


def test_a_range_behind_the_end_is_a_416_that_tells_the_size(resident: RunningResident, place: Path) -> None:
    (place / "f").write_bytes(b"0123456789")

    answer = resident.client.get(url(place, "f"), headers={"Range": "bytes=10-"})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */10"


def test_a_resumed_download_starts_over_when_the_file_has_changed(resident: RunningResident, place: Path) -> None:
    (place / "f").write_bytes(b"old content")
    etag = resident.client.get(url(place, "f")).headers["etag"]
    same = resident.client.get(url(place, "f"), headers={"Range": "bytes=4-", "If-Range": etag})

    (place / "f").write_bytes(b"new content")
    changed = resident.client.get(url(place, "f"), headers={"Range": "bytes=4-", "If-Range": etag})

    assert (same.status_code, same.content) == (206, b"content")
    assert (changed.status_code, changed.content) == (200, b"new content")


def test_who_has_this_version_already_gets_a_304(resident: RunningResident, place: Path) -> None:
    (place / "f").write_bytes(b"content")
    first = resident.client.get(url(place, "f"))

    again = resident.client.get(url(place, "f"), headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    since = resident.client.get(url(place, "f"), headers={"If-Modified-Since": first.headers["last-modified"]})

    assert (again.status_code, again.content) == (304, b"")
    assert since.status_code == 304


def test_head_tells_size_and_type_without_the_content(resident: RunningResident, place: Path) -> None:
    (place / "f").write_bytes(b"content")
    os.mkfifo(place / "pipe")

    file = resident.client.head(url(place, "f"))
    directory = resident.client.head(url(place))
    pipe = resident.client.head(url(place, "pipe"))

    assert (file.headers["content-length"], file.headers["x-file-type"]) == ("7", "file")
    assert directory.headers["x-file-type"] == "directory"
    assert pipe.headers["x-file-type"] == "other"


def test_a_pipe_is_refused_and_hangs_nobody(resident: RunningResident, place: Path) -> None:
    os.mkfifo(place / "pipe")

    answer = resident.client.get(url(place, "pipe"))

    assert answer.status_code == 422


def test_a_directory_lists_directories_first(resident: RunningResident, place: Path) -> None:
    (place / "b.txt").write_text("12345")
    (place / "a.txt").write_text("")
    (place / "z").mkdir()
    (place / "link").symlink_to("b.txt")
    (place / "b.txt").chmod(0o640)

    listing = resident.client.get(url(place)).json()

    assert listing["path"] == f"/workspace/{place.name}"
    assert listing["truncated"] is False
    assert [(entry["name"], entry["type"]) for entry in listing["entries"]] == [
        ("z", "directory"),
        ("a.txt", "file"),
        ("b.txt", "file"),
        ("link", "symlink"),
    ]
    b = listing["entries"][2]
    assert (b["path"], b["size"], b["mode"]) == (f"/workspace/{place.name}/b.txt", 5, "640")
    assert b["modified_at"] == pytest.approx((place / "b.txt").stat().st_mtime)


def test_a_huge_directory_is_cut_at_ten_thousand_entries(resident: RunningResident, place: Path) -> None:
    for number in range(10_001):
        (place / f"{number:05}").touch()

    listing = resident.client.get(url(place)).json()

    assert listing["truncated"] is True
    assert [entry["name"] for entry in listing["entries"]] == [f"{number:05}" for number in range(10_000)]


def test_a_name_that_is_not_utf8_is_listed_and_can_be_fetched(resident: RunningResident, place: Path) -> None:
    (Path(os.fsdecode(os.fsencode(place) + b"/\xff.bin"))).write_bytes(b"content")

    listing = resident.client.get(url(place))
    answer = resident.client.get(url(place) + "%FF.bin")

    assert [entry["name"] for entry in listing.json()["entries"]] == ["\ufffd.bin"]
    assert answer.content == b"content"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_what_is_not_there_is_a_404(resident: RunningResident, place: Path, method: str) -> None:
    assert resident.client.request(method, url(place, "no/such")).status_code == 404


@pytest.mark.parametrize("path", ["..%2F..%2Fetc%2Fpasswd", "/etc/passwd", "%2Fetc%2Fpasswd", "a%00b", "link/passwd"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_no_method_leaves_the_instance(resident: RunningResident, path: str, method: str) -> None:
    (resident.workspace / "link").unlink(missing_ok=True)
    (resident.workspace / "link").symlink_to("/etc")

    answer = resident.client.request(method, f"/files/{path}", content=b"x", params={"move_to": "mine"})

    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "path"


# write


def test_a_new_file_is_201_and_a_replaced_one_204_with_its_mode_kept(resident: RunningResident, place: Path) -> None:
    new = resident.client.put(url(place, "deep/er/f"), content=b"one")
    (place / "deep/er/f").chmod(0o750)
    replaced = resident.client.put(url(place, "deep/er/f"), content=b"two")

    assert (new.status_code, replaced.status_code) == (201, 204)
    assert (place / "deep/er/f").read_bytes() == b"two"
    assert (place / "deep/er/f").stat().st_mode & 0o777 == 0o750


def test_the_mode_can_be_given(resident: RunningResident, place: Path) -> None:
    resident.client.put(url(place, "run.sh"), params={"mode": "755"}, content=b"#!/bin/sh\n")

    wrong = resident.client.put(url(place, "run.sh"), params={"mode": "rwx"}, content=b"")

    assert (place / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "mode")


def test_a_directory_is_made_once(resident: RunningResident, place: Path) -> None:
    (place / "file").touch()

    statuses = [
        resident.client.put(url(place, name), params={"mkdir": True}).status_code for name in ("d/e", "d/e", "file")
    ]

    assert statuses == [201, 204, 409]
    assert (place / "d/e").is_dir()


def test_a_directory_is_not_replaced_by_a_file(resident: RunningResident, place: Path) -> None:
    (place / "d").mkdir()

    answer = resident.client.put(url(place, "d"), content=b"x")

    assert answer.status_code == 409
    assert drafts(place) == []


def test_writing_through_a_link_changes_the_file_it_points_to(resident: RunningResident, place: Path) -> None:
    (place / "real").write_text("old")
    (place / "link").symlink_to("real")

    resident.client.put(url(place, "link"), content=b"new")

    assert (place / "real").read_text() == "new"
    assert (place / "link").is_symlink()


def test_nobody_sees_half_a_file_and_a_broken_upload_leaves_nothing(resident: RunningResident, place: Path) -> None:
    (place / "f").write_text("whole")
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(resident.socket)
        head = f"PUT {url(place, 'f')} HTTP/1.1\r\nHost: x\r\nX-Resident-Secret: {SECRET}\r\nContent-Length: 9000000\r\n\r\n"
        sender.sendall(head.encode() + bytes(4 * MIB))
        until(lambda: drafts(place))
        assert resident.client.get(url(place, "f")).text == "whole"
        assert [entry["name"] for entry in resident.client.get(url(place)).json()["entries"]] == ["f"]

    until(lambda: not drafts(place))
    assert (place / "f").read_text() == "whole"


def test_two_writers_leave_the_file_of_one_of_them(resident: RunningResident, place: Path) -> None:
    contents = [bytes([letter]) * (2 * MIB) for letter in b"abcd"]
    statuses: list[int] = []

    def write(content: bytes) -> None:
        with resident.a_client() as client:
            statuses.append(client.put(url(place, "f"), content=content).status_code)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(statuses) <= {201, 204}
    assert (place / "f").read_bytes() in contents
    assert drafts(place) == []


# resumed uploads


def part(resident: RunningResident, path: str, upload: str, content: bytes, start: int, total: int) -> httpx.Response:
    headers = {"X-Upload-Id": upload, "Content-Range": f"bytes {start}-{start + len(content) - 1}/{total}"}
    return resident.client.put(path, content=content, headers=headers)


def have(resident: RunningResident, path: str, upload: str) -> int:
    return int(resident.client.head(path, headers={"X-Upload-Id": upload}).headers["x-upload-have"])


def test_parts_become_the_file_at_the_last_byte(resident: RunningResident, place: Path) -> None:
    path = url(place, "new/f")

    first = part(resident, path, "up", b"hello ", 0, 11)
    before = (place / "new/f").exists()
    known = have(resident, path, "up")
    last = part(resident, path, "up", b"world", 6, 11)

    assert (first.status_code, before, known, last.status_code) == (202, False, 6, 201)
    assert (place / "new/f").read_bytes() == b"hello world"
    assert drafts(place / "new") == []
    assert have(resident, path, "up") == 11


def test_a_part_shorter_than_it_announced_is_told_as_short_as_it_is(resident: RunningResident, place: Path) -> None:
    path = url(place, "f")

    answer = resident.client.put(
        path, content=b"hello", headers={"X-Upload-Id": "up", "Content-Range": "bytes 0-10/11"}
    )

    assert (answer.status_code, answer.headers["x-upload-have"]) == (202, "5")
    assert part(resident, path, "up", b" world", 5, 11).status_code == 201


def test_a_gap_or_a_repeat_is_a_409_that_says_where_to_go_on(resident: RunningResident, place: Path) -> None:
    path = url(place, "f")
    part(resident, path, "up", b"hello", 0, 11)

    gap = part(resident, path, "up", b"d", 10, 11)
    repeat = part(resident, path, "up", b"hello", 0, 11)
    unknown = part(resident, path, "other", b"d", 10, 11)

    assert [answer.status_code for answer in (gap, repeat, unknown)] == [409, 409, 409]
    assert [answer.json()["error"]["details"] for answer in (gap, repeat, unknown)] == [
        {"have": 5},
        {"have": 5},
        {"have": 0},
    ]


def test_asking_for_the_last_part_again_after_a_lost_answer_does_no_harm(
    resident: RunningResident, place: Path
) -> None:
    path = url(place, "f")
    part(resident, path, "up", b"hello ", 0, 11)
    part(resident, path, "up", b"world", 6, 11)

    again = part(resident, path, "up", b"world", 6, 11)

    assert again.status_code == 204
    assert (place / "f").read_bytes() == b"hello world"


def test_the_same_upload_again_replaces_what_was_changed_meanwhile(resident: RunningResident, place: Path) -> None:
    path = url(place, "f")
    for _ in range(2):
        (place / "f").write_bytes(b"changed")
        part(resident, path, "up", b"hello ", 0, 11)
        part(resident, path, "up", b"world", 6, 11)

        assert (place / "f").read_bytes() == b"hello world"

    (place / "f").write_bytes(b"changed")
    part(resident, path, "up", b"hello world", 0, 11)
    assert (place / "f").read_bytes() == b"hello world"


def test_what_arrived_before_the_line_broke_is_kept(resident: RunningResident, place: Path) -> None:
    path, content = url(place, "f"), os.urandom(6 * MIB)
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(resident.socket)
        lines = [f"PUT {path} HTTP/1.1", "Host: x", f"X-Resident-Secret: {SECRET}", "X-Upload-Id: up"]
        lines += [
            f"Content-Range: bytes 0-{len(content) - 1}/{len(content)}",
            f"Content-Length: {len(content)}",
            "",
            "",
        ]
        sender.sendall("\r\n".join(lines).encode() + content[: 4 * MIB])
        until(lambda: have(resident, path, "up") >= 3 * MIB)

    arrived = until(lambda: next((n for n in [have(resident, path, "up")] if n == 4 * MIB), 0))
    rest = until(
        lambda: next(
            (a for a in [part(resident, path, "up", content[arrived:], arrived, len(content))] if a.status_code != 409),
            None,
        )
    )

    assert rest.status_code == 201
    assert (place / "f").read_bytes() == content


def test_an_upload_goes_on_after_the_resident_died(a_resident: Callable[..., RunningResident]) -> None:
    running = a_resident()
    running.start()
    part(running, "/files/f", "up", b"hello ", 0, 11)

    running.kill()
    running.start()

    assert have(running, "/files/f", "up") == 6
    assert part(running, "/files/f", "up", b"world", 6, 11).status_code == 201
    assert (running.workspace / "f").read_bytes() == b"hello world"


def test_a_body_longer_than_it_announces_is_refused_and_not_kept(resident: RunningResident, place: Path) -> None:
    headers = {"X-Upload-Id": "up", "Content-Range": "bytes 0-4/11"}

    answer = resident.client.put(url(place, "f"), content=b"hello world", headers=headers)

    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "Content-Range")
    assert have(resident, url(place, "f"), "up") == 0


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Content-Range": "bytes 0-4/5"}, "X-Upload-Id"),
        ({"Content-Range": "bytes 5-4/5", "X-Upload-Id": "u"}, "Content-Range"),
        ({"Content-Range": "bytes 0-4/*", "X-Upload-Id": "u"}, "Content-Range"),
    ],
)
def test_a_wrong_upload_header_is_named(
    resident: RunningResident, place: Path, headers: dict[str, str], field: str
) -> None:
    answer = resident.client.put(url(place, "f"), content=b"hello", headers=headers)

    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


# delete and move


def test_a_file_and_an_empty_directory_are_deleted(resident: RunningResident, place: Path) -> None:
    (place / "f").touch()
    (place / "d").mkdir()

    assert resident.client.delete(url(place, "f")).status_code == 204
    assert resident.client.delete(url(place, "d")).status_code == 204
    assert os.listdir(place) == []


def test_a_directory_with_content_is_deleted_only_when_that_is_said(resident: RunningResident, place: Path) -> None:
    (place / "d/e").mkdir(parents=True)
    (place / "kept").write_text("kept")
    (place / "d/link").symlink_to("../kept")

    refused = resident.client.delete(url(place, "d"))
    done = resident.client.delete(url(place, "d"), params={"recursive": True})

    assert (refused.status_code, done.status_code) == (409, 204)
    assert os.listdir(place) == ["kept"]


def test_a_link_is_deleted_itself_and_not_what_it_points_to(resident: RunningResident, place: Path) -> None:
    (place / "link").symlink_to("/etc/hostname")

    assert resident.client.delete(url(place, "link")).status_code == 204
    assert Path("/etc/hostname").exists()


@pytest.mark.parametrize("path", ["", "/", "/workspace", "~", "/tmp"])
def test_the_instances_own_directories_stay(resident: RunningResident, path: str) -> None:
    answer = resident.client.delete(f"/files/{path}", params={"recursive": True})

    assert answer.status_code == 422
    assert resident.workspace.is_dir()


def test_a_move_makes_parents_and_replaces_only_when_that_is_said(resident: RunningResident, place: Path) -> None:
    (place / "f").write_text("moved")
    (place / "there").mkdir()
    (place / "there/g").write_text("old")
    target = f"{place.name}/there/g"

    refused = resident.client.post(url(place, "f"), params={"move_to": target})
    done = resident.client.post(url(place, "f"), params={"move_to": target, "overwrite": True})
    on = resident.client.post(f"/files/{target}", params={"move_to": f"/tmp/{place.name}/x/h"})

    assert (refused.status_code, done.status_code, on.status_code) == (409, 204, 204)
    assert (resident.root / "tmp" / place.name / "x/h").read_text() == "moved"
    assert not (place / "f").exists()


def test_a_move_out_of_the_instance_names_the_target(resident: RunningResident, place: Path) -> None:
    (place / "f").touch()

    answer = resident.client.post(url(place, "f"), params={"move_to": "/etc/f"})

    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "move_to")


def test_a_directory_cannot_be_moved_into_itself(resident: RunningResident, place: Path) -> None:
    (place / "d").mkdir()

    answer = resident.client.post(url(place, "d"), params={"move_to": f"{place.name}/d/e"})

    assert answer.status_code == 422
    assert (place / "d").is_dir()


# large files and full disks


def memory_peak(resident: RunningResident) -> int:
    assert resident.process is not None
    status = Path(f"/proc/{resident.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("size", [256 * MIB, pytest.param(2048 * MIB, marks=pytest.mark.slow)])
def test_a_large_file_goes_both_ways_in_constant_memory(a_resident: Callable[..., RunningResident], size: int) -> None:
    running = a_resident()
    running.start()
    running.client.put("/files/warm-up", content=(bytes(MIB) for _ in range(4)))
    running.client.get("/files/warm-up")
    before = memory_peak(running)
    piece = os.urandom(MIB)

    sent = running.client.put("/files/large", content=(piece for _ in range(size // MIB)))
    with running.client.stream("GET", "/files/large") as answer:
        came = sum(len(chunk) for chunk in answer.iter_raw())

    assert (sent.status_code, came) == (201, size)
    assert (running.workspace / "large").stat().st_size == size
    assert memory_peak(running) - before < 24 * MIB


def test_a_large_sparse_file_is_read_at_any_offset_at_once(resident: RunningResident, place: Path) -> None:
    size = 1 << 40
    with (place / "sparse").open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")

    answer = resident.client.get(url(place, "sparse"), headers={"Range": "bytes=-3"})

    assert (answer.status_code, answer.content) == (206, b"end")


@pytest.fixture
def small_disk(a_resident: Callable[..., RunningResident]) -> Iterator[RunningResident]:
    """A resident whose workspace is a file system of 8 MiB."""
    running = a_resident()
    running.workspace.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "gpuyard-test", str(running.workspace)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        running.start()
        yield running
    finally:
        running.stop()
        subprocess.run(["umount", str(running.workspace)], check=True)


@pytest.mark.parametrize("announced", [True, False])
def test_a_full_disk_is_said_and_leaves_no_partial_file(small_disk: RunningResident, announced: bool) -> None:
    (small_disk.workspace / "f").write_text("old")
    content = bytes(12 * MIB)
    body = content if announced else (content[at : at + MIB] for at in range(0, len(content), MIB))

    answer = small_disk.client.put("/files/f", content=body)

    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "storage_full"
    assert (small_disk.workspace / "f").read_text() == "old"
    assert os.listdir(small_disk.workspace) == ["f"]


def test_a_move_to_another_disk_carries_everything_over(small_disk: RunningResident) -> None:
    source = small_disk.workspace / "d"
    (source / "deep").mkdir(parents=True)
    (source / "deep/f").write_text("content")
    (source / "deep/f").chmod(0o751)
    (source / "link").symlink_to("deep/f")

    answer = small_disk.client.post("/files/d", params={"move_to": "~/d"})

    there = small_disk.home / "d"
    assert answer.status_code == 204
    assert (there / "deep/f").read_text() == "content"
    assert (there / "deep/f").stat().st_mode & 0o777 == 0o751
    assert os.readlink(there / "link") == "deep/f"
    assert not source.exists()


def test_a_transfer_counts_as_activity(resident: RunningResident, place: Path) -> None:
    earlier = resident.client.get("/samples").json()["active_at"]

    resident.client.put(url(place, "f"), content=b"x")

    assert resident.client.get("/samples").json()["active_at"] > earlier


def test_a_hundred_broken_uploads_leave_no_open_file(resident: RunningResident, place: Path) -> None:
    assert resident.process is not None
    program = psutil.Process(resident.process.pid)
    before = program.num_fds()

    for number in range(100):
        with socket.socket(socket.AF_UNIX) as sender:
            sender.connect(resident.socket)
            head = f"PUT {url(place, str(number))} HTTP/1.1\r\nHost: x\r\nX-Resident-Secret: {SECRET}\r\nContent-Length: 99\r\n\r\n"
            sender.sendall(head.encode())

    until(lambda: program.num_fds() <= before)
    until(lambda: os.listdir(place) == [])
