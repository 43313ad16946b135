# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Files of an instance: small ones as bytes, large ones and folders to and from this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gpuyard import wire
from gpuyard.sdk import _io, folders
from gpuyard.sdk.core import Call, Failure, dice, file_path, nothing, with_query
from gpuyard.sdk.errors import ConnectionFailed, IllegalMove, YardError
from gpuyard.sdk.folders import CHUNK_BYTES, PIECE_BYTES, OnBytes

if TYPE_CHECKING:
    import httpx

    from gpuyard.sdk._sync.transport import Transport

_RAW = {"Accept-Encoding": "identity"}
"""Offsets count bytes of the file, so nothing on the way may pack them."""


class Files:
    """Paths are relative to the work directory `/workspace`, or absolute inside it, the home directory or `/tmp`."""

    def __init__(self, transport: Transport, instance_path: str) -> None:
        self._transport = transport
        self._instance = instance_path

    def list(self, path: str = ".") -> list[wire.FileEntry]:
        """What a directory holds, directories first. Raises NotFound."""
        found = self._transport.send(Call("GET", self._at(path), wire.FileListing.model_validate_json))
        return found.entries

    def stat(self, path: str) -> wire.FileEntry:
        """What is there. Raises NotFound."""
        reply = self._transport.answer(Call("HEAD", self._at(path), nothing, headers=_RAW))
        told = reply.headers
        return wire.FileEntry(
            name=path.rstrip("/").rpartition("/")[2] or path,
            path=path,
            type=told.get("x-file-type", "file"),
            size=int(told.get("content-length", 0)),
            modified_at=parsedate_to_datetime(told["last-modified"]) if "last-modified" in told else None,
        )

    def read(self, path: str) -> bytes:
        """All of a file. Raises NotFound."""
        return self._transport.send(Call("GET", self._at(path), bytes, headers=_RAW))

    def write(self, path: str, content: bytes | str, *, mode: str | None = None) -> None:
        """Make or replace a file; it appears when it is whole. Its directories are made. `mode` like `"755"`."""
        data = content.encode() if isinstance(content, str) else content
        self._transport.send(Call("PUT", self._at(path), nothing, query={"mode": mode}, body=data))

    def mkdir(self, path: str) -> None:
        """Make a directory with those above it. Of one that is there: no effect."""
        self._transport.send(Call("PUT", self._at(path), nothing, query={"mkdir": True}))

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Raises NotFound, and IllegalMove for a directory with content unless `recursive`."""
        self._transport.send(Call("DELETE", self._at(path), nothing, query={"recursive": recursive or None}))

    def move(self, path: str, to: str, *, overwrite: bool = False) -> None:
        """Raises NotFound, and IllegalMove when something is at `to` already unless `overwrite`."""
        query = {"move_to": to, "overwrite": overwrite or None}
        self._transport.send(Call("POST", self._at(path), nothing, query=query))

    # To the instance

    def upload(
        self,
        local: str | os.PathLike[str],
        remote: str | None = None,
        *,
        exclude: Sequence[str] = (),
        progress: OnBytes | None = None,
    ) -> str:
        """Send a file or a folder; returns where it is. A file goes in pieces: after a cut, or when called again after it
        was broken off, it goes on where it was."""
        path = Path(local)
        target = folders.remote_target(path, remote)
        if _io.sync_blocking(path.is_dir):
            self._upload_folder(path, target, exclude, progress)
        else:
            self._upload_file(_io.sync_blocking(folders.source, path, target), target, progress)
        return target

    def _upload_file(self, file: folders.Source, target: str, progress: OnBytes | None) -> None:
        if file.size <= PIECE_BYTES:
            content = _io.sync_blocking(folders.read_piece, file.path, 0, file.size)
            self.write(target, content, mode=file.mode)
            if progress is not None:
                progress(file.size, file.size)
            return
        have, stuck = self._have(file, target), 0
        while have < file.size:
            if progress is not None:
                progress(have, file.size)
            last_try = stuck >= self._transport.retries.retries
            reached = self._upload_piece(file, target, have, last_try=last_try)
            if reached <= have:
                stuck += 1
                _io.sync_sleep(self._transport.retries.backoff(stuck, dice()))
            else:
                stuck = 0
            have = reached
        if progress is not None:
            progress(file.size, file.size)

    def _have(self, file: folders.Source, target: str) -> int:
        """How much of it an earlier try has brought there."""
        call = Call("HEAD", self._at(target), nothing, headers={"X-Upload-Id": file.upload_id})
        reply = self._transport.answer(call)
        have = int(reply.headers.get("x-upload-have", 0))
        return have if have < file.size else 0

    def _upload_piece(self, file: folders.Source, target: str, start: int, *, last_try: bool) -> int:
        """How much of it is there then. After a cut the instance may still be busy with what it had of this piece."""
        size = min(PIECE_BYTES, file.size - start)
        content = _io.sync_blocking(folders.read_piece, file.path, start, size)
        headers = {
            "Content-Range": f"bytes {start}-{start + size - 1}/{file.size}",
            "X-Upload-Id": file.upload_id,
        }
        try:
            call = Call("PUT", self._at(target), nothing, query={"mode": file.mode}, body=content, headers=headers)
            self._transport.send(call)
        except IllegalMove as refused:
            if last_try:
                raise
            return int(refused.details["have"]) if "have" in refused.details else self._have(file, target)
        return start + size

    def _upload_folder(self, folder: Path, target: str, exclude: Sequence[str], progress: OnBytes | None) -> None:
        found = _io.sync_blocking(folders.members, folder, exclude)
        total = folders.content_bytes(found)

        def done(read: int) -> None:
            if progress is not None:
                progress(read, total)

        tries = 0
        while True:
            tries += 1
            body = _io.sync_pieces(folders.tar_pieces(found, done))
            try:
                with self._transport.stream(
                    "PUT", self._at(target, "archive"), headers={"Content-Type": "application/x-tar"}, content=body
                ) as reply:
                    reply.read()
                return
            except YardError as error:
                self._pause_or_raise(error, tries)

    # From the instance

    def download(
        self,
        remote: str,
        local: str | os.PathLike[str] | None = None,
        *,
        exclude: Sequence[str] = (),
        progress: OnBytes | None = None,
    ) -> Path:
        """Fetch a file or a folder; returns where it is. Nothing has its final name before it is whole, and nothing is left
        when it is broken off. Raises NotFound."""
        target = folders.local_target(remote, local)
        is_folder = (self.stat(remote)).type == "directory"
        part = _io.sync_blocking(folders.part_of, target)
        try:
            if is_folder:
                query = {"exclude": list(exclude) or None}
                self._fetch(with_query(self._at(remote, "archive"), query), part, progress)
                _io.sync_blocking(folders.unpack, part, target)
            else:
                self._fetch(self._at(remote), part, progress)
                _io.sync_blocking(part.replace, target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def _fetch(self, path: str, part: Path, progress: OnBytes | None) -> None:
        with part.open("wb") as file:
            tries, etag = 0, None
            while True:
                tries += 1
                have = file.tell()
                headers = {**_RAW, "Range": f"bytes={have}-", "If-Range": etag} if have and etag else _RAW
                try:
                    with self._transport.stream("GET", path, headers=headers) as reply:
                        etag = reply.headers.get("etag")
                        if reply.status_code != 206 and have:
                            file.seek(0)
                            file.truncate()
                        for done in _written(reply, file, progress):
                            tries = 0 if done > have else tries
                    return
                except YardError as error:
                    self._pause_or_raise(error, tries)

    def _pause_or_raise(self, error: YardError, tries: int) -> None:
        pause = self._transport.retries.pause(
            Failure(error), repeatable=True, tries=max(tries, 1), waited=0.0, dice=dice()
        )
        if pause is None:
            raise error
        _io.sync_sleep(pause)

    def _at(self, path: str, kind: str = "files") -> str:
        return f"{self._instance}/{kind}/{file_path(path or '.')}"


def _written(reply: httpx.Response, file: IO[bytes], progress: OnBytes | None) -> Iterator[int]:
    """Where we are in the file after every piece of the reply. Raises ConnectionFailed for one that ends early."""
    start = file.tell()
    length = reply.headers.get("content-length")
    total = None if length is None else start + int(length)
    for chunk in reply.iter_raw(CHUNK_BYTES):
        _io.sync_blocking(file.write, chunk)
        if progress is not None:
            progress(file.tell(), total)
        yield file.tell()
    if total is not None and file.tell() != total:
        raise ConnectionFailed(f"the answer ended at byte {file.tell()} of {total}")
