"""The instance's files over HTTP: read with ranges, write, list, delete, move."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from operator import itemgetter
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gpuyard.resident.core import Resident
from gpuyard.resident.errors import Refusal, malformed, wrong_field, wrong_state
from gpuyard.resident.instance import Instance
from gpuyard.resident.moves import move
from gpuyard.resident.paths import Places, Spot
from gpuyard.resident.ranges import Span, Unsatisfiable, asked_span, range_applies, sent_span, unchanged
from gpuyard.resident.uploads import DRAFT, Uploads, disk

LISTED = 10_000
"""Entries of a directory that one answer shows."""

_READ_SIZE = 1024 * 1024
_AT_ONCE = 256 * 1024
"""A file up to this size is read in the same hop to a thread that opens it."""
_SWALLOWED = 16 * 1024 * 1024
"""How much of a refused body is still read: a sender that is cut off while sending may never see the refusal."""

_TRUE = ("1", "true", "yes")
_MODE = re.compile(r"0?[0-7]{3}")
_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}


def routes(resident: Resident) -> list[BaseRoute]:
    files = _Files(resident.instance)
    methods = {"GET": files.get, "HEAD": files.head, "PUT": files.put, "DELETE": files.delete, "POST": files.post}

    async def dispatch(request: Request) -> Response:
        return await methods[request.method](request)

    return [Route(path, dispatch, methods=list(methods)) for path in ("/files", "/files/{path:path}")]


def path_in(request: Request, prefix: str) -> str:
    """The path after `prefix`, taken from the raw request, so that names which are not UTF-8 can be reached too."""
    raw: bytes = request.scope.get("raw_path") or b""
    before, found, after = raw.partition(prefix.encode())
    if found and not before:
        return os.fsdecode(unquote_to_bytes(after))
    return str(request.path_params.get("path", ""))


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in _TRUE


async def swallow(request: Request, body: AsyncIterator[bytes]) -> None:
    """Read on, within bounds, what a refused sender is still sending."""
    if request.headers.get("expect"):
        return  # it asked first and has sent nothing
    size = 0
    with contextlib.suppress(ClientDisconnect, RuntimeError):
        async for chunk in body:
            size += len(chunk)
            if size > _SWALLOWED:
                return


def shown_name(name: str) -> str:
    """A file name as JSON can carry it: what is not UTF-8 becomes the replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Opened:
    file: BinaryIO
    stat: os.stat_result
    head: bytes | None
    """The whole content of a small file."""

    @property
    def etag(self) -> str:
        return f'"{self.stat.st_mtime_ns:x}-{self.stat.st_size:x}-{self.stat.st_ino:x}"'

    def headers(self) -> dict[str, str]:
        return {
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",  # never one that a browser would run
            "X-Content-Type-Options": "nosniff",
            "X-File-Type": "file",
            "ETag": self.etag,
            "Last-Modified": formatdate(self.stat.st_mtime, usegmt=True),
        }


class _Files:
    def __init__(self, instance: Instance) -> None:
        self._touch = instance.touch
        self._places = Places.of(instance.residence)
        self._uploads = Uploads(instance.residence.state, instance.touch)

    def _spot(self, request: Request, *, follow: bool = True) -> Spot:
        return self._places.locate(path_in(request, "/files/"), follow=follow)

    async def get(self, request: Request) -> Response:
        spot = await run_in_threadpool(self._spot, request)
        with disk(spot.shown):
            found = await run_in_threadpool(_open, spot)
        self._touch()
        if found is None:
            with disk(spot.shown):
                listing = await run_in_threadpool(_list, spot)
            return JSONResponse(listing, headers={"X-File-Type": "directory"})
        return self._answer(request, found)

    async def head(self, request: Request) -> Response:
        spot = await run_in_threadpool(self._spot, request)
        upload_id = request.headers.get("x-upload-id")
        if upload_id:
            have = await run_in_threadpool(self._uploads.have, spot, upload_id)
            return Response(headers={"X-Upload-Have": str(have)})
        with disk(spot.shown):
            seen = await run_in_threadpool(spot.lstat)
        kind = _type(seen.st_mode)
        if kind != "file":
            return Response(headers={"X-File-Type": kind})
        with disk(spot.shown):
            found = await run_in_threadpool(_open, spot)
        return self._answer(request, found) if found else Response(headers={"X-File-Type": "directory"})

    def _answer(self, request: Request, found: _Opened) -> Response:
        headers, size = found.headers(), found.stat.st_size
        if unchanged(request.headers, found.etag, found.stat.st_mtime):
            found.file.close()
            return Response(status_code=304, headers=headers)
        span = None
        try:
            if range_applies(request.headers, found.etag, found.stat.st_mtime):
                span = asked_span(request.headers.get("range"), size)
        except Unsatisfiable as error:
            found.file.close()
            text = f"Range {request.headers['range']!r} cannot be satisfied: {error}"
            raise Refusal(416, "invalid_request", text, headers={"Content-Range": f"bytes */{size}"}) from None
        status = 206 if span else 200
        if span:
            headers["Content-Range"] = span.content_range(size)
        span = span or Span(0, size)
        headers["Content-Length"] = str(span.length)
        if request.method == "HEAD" or found.head is not None:
            found.file.close()
            body = b"" if found.head is None else found.head[span.start : span.stop]
            return Response(body, status_code=status, headers=headers)
        return StreamingResponse(self._stream(found.file, span), status_code=status, headers=headers)

    async def _stream(self, file: BinaryIO, span: Span) -> AsyncIterator[bytes]:
        with file:
            at = span.start
            while at < span.stop:
                chunk = await run_in_threadpool(os.pread, file.fileno(), min(_READ_SIZE, span.stop - at), at)
                if not chunk:
                    raise RuntimeError("a file was cut off while it was being sent")  # the reader sees a broken body
                at += len(chunk)
                self._touch()
                yield chunk

    async def put(self, request: Request) -> Response:
        body = request.stream()
        try:
            spot = await run_in_threadpool(self._spot, request)
            if flag(request, "mkdir"):
                return await self._make_directory(spot)
            return await self._receive(request, spot, body)
        except Refusal:
            await swallow(request, body)
            raise
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    async def _receive(self, request: Request, spot: Spot, body: AsyncIterator[bytes]) -> Response:
        mode = _wanted_mode(request)
        header = request.headers.get("content-range")
        if header is None:
            length = request.headers.get("content-length", "")
            created = await self._uploads.whole(spot, body, int(length) if length.isdigit() else None, mode)
        else:
            sent = sent_span(header)
            if sent is None:
                raise wrong_field("Content-Range", f"Content-Range {header!r} is not like 'bytes 0-99/100'")
            upload_id = request.headers.get("x-upload-id")
            if not upload_id:
                raise wrong_field("X-Upload-Id", "a part of a file needs an X-Upload-Id, any name for the whole upload")
            done = await self._uploads.part(spot, upload_id, sent, body, mode)
            if done.created is None:
                return Response(status_code=202, headers={"X-Upload-Have": str(done.have)})
            created = done.created
        return Response(status_code=201 if created else 204)

    async def _make_directory(self, spot: Spot) -> Response:
        def make() -> bool:
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(spot.lstat().st_mode):
                    raise wrong_state(f"{spot.shown} is there already and is not a directory")
                return False
            with spot.directory(make=True):
                return True

        with disk(spot.shown):
            created = await run_in_threadpool(make)
        self._touch()
        return Response(status_code=201 if created else 204)

    async def delete(self, request: Request) -> Response:
        spot = await run_in_threadpool(lambda: self._spot(request, follow=False))
        with disk(spot.shown):
            await run_in_threadpool(_delete, spot, flag(request, "recursive"))
        self._touch()
        return Response(status_code=204)

    async def post(self, request: Request) -> Response:
        target = request.query_params.get("move_to")
        if not target:
            raise malformed("POST moves a file: ?move_to= says where to", field="move_to")
        source = await run_in_threadpool(lambda: self._spot(request, follow=False))
        there = await run_in_threadpool(lambda: self._places.locate(target, follow=False, field="move_to"))
        with disk(f"{source.shown} → {there.shown}"):
            await run_in_threadpool(move, source, there, flag(request, "overwrite"))
        self._touch()
        return Response(status_code=204)


def _open(spot: Spot) -> _Opened | None:
    """Open a file for reading; None for a directory. Anything else would block or never end, and is refused."""
    kind = _type(spot.lstat().st_mode)
    if kind == "directory":
        return None
    if kind != "file":
        raise wrong_field("path", f"{spot.shown} is neither a file nor a directory")
    # not blocking: it may have become a pipe since we looked
    file = os.fdopen(spot.open(os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
    try:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode):
            raise wrong_field("path", f"{spot.shown} is neither a file nor a directory")
        head = os.pread(file.fileno(), seen.st_size, 0) if seen.st_size <= _AT_ONCE else None
        if head is not None and len(head) != seen.st_size:
            head = None
    except BaseException:
        file.close()
        raise
    return _Opened(file, seen, head)


def _list(spot: Spot) -> dict[str, Any]:
    fd = spot.open(os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(fd) as scan:
            names = ((not entry.is_dir(follow_symlinks=False), entry.name) for entry in scan if not _hidden(entry.name))
            first = heapq.nsmallest(LISTED + 1, names)
        entries = [entry for name in map(itemgetter(1), first[:LISTED]) if (entry := _entry(fd, spot, name))]
    finally:
        os.close(fd)
    return {"path": shown_name(spot.shown), "entries": entries, "truncated": len(first) > LISTED}


def _hidden(name: str) -> bool:
    return DRAFT.fullmatch(name) is not None


def _entry(fd: int, spot: Spot, name: str) -> dict[str, Any] | None:
    try:
        seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None  # deleted since the directory was read
    return {
        "name": shown_name(name),
        "path": shown_name(f"{spot.shown.rstrip('/')}/{name}"),
        "type": _type(seen.st_mode),
        "size": seen.st_size,
        "modified_at": seen.st_mtime,
        "mode": f"{stat.S_IMODE(seen.st_mode):03o}",
    }


def _type(mode: int) -> str:
    return _TYPES.get(stat.S_IFMT(mode), "other")


def _delete(spot: Spot, recursive: bool) -> None:
    name = spot.name
    with spot.parent() as parent:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
        elif recursive:
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.rmdir(name, dir_fd=parent)


def _wanted_mode(request: Request) -> int | None:
    text = request.query_params.get("mode")
    if text is None:
        return None
    if not _MODE.fullmatch(text):
        raise wrong_field("mode", f"mode {text!r} is not an octal number like 755 or 0644")
    return int(text, 8)
