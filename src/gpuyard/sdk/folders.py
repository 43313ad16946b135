"""Files and folders of this machine, as what goes up and what comes down: plans, tar streams, names that appear when whole."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from gpuyard.sdk.errors import Invalid

PIECE_BYTES = 8 * 1024 * 1024
"""What one request of an upload carries, and so what a cut costs at most."""
CHUNK_BYTES = 1024 * 1024

OnBytes = Callable[[int, int | None], object]
"""Called with the bytes done and the bytes there are, None while nobody knows."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to send, as it was when we looked."""

    path: Path
    size: int
    upload_id: str
    """The same for the same content going to the same place: an upload that was broken off goes on where it was."""
    mode: str


def source(path: Path, remote: str) -> Source:
    """Raises Invalid for what is no file that can be read."""
    try:
        seen = path.stat()
    except OSError as problem:
        raise Invalid(f"cannot read {path}: {problem.strerror}", field="local") from problem
    if not stat.S_ISREG(seen.st_mode):
        raise Invalid(f"{path} is neither a file nor a folder", field="local")
    told = f"{path.resolve()}\0{remote}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ino}"
    mode = "755" if seen.st_mode & stat.S_IXUSR else "644"
    return Source(path, seen.st_size, hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:32], mode)


def read_piece(path: Path, start: int, size: int) -> bytes:
    """Exactly `size` bytes from `start`. Raises Invalid when the file has become shorter."""
    with path.open("rb") as file:
        file.seek(start)
        piece = file.read(size)
    if len(piece) != size:
        raise Invalid(f"{path} became shorter while it was being sent", field="local", hint="send it again")
    return piece


def remote_target(local: Path, remote: str | None) -> str:
    """Where it goes: its own name unless told; a path that ends in `/` is a folder to put it in."""
    if remote is None:
        return local.resolve().name
    return f"{remote}{local.resolve().name}" if remote.endswith("/") else remote


def local_target(remote: str, local: str | os.PathLike[str] | None) -> Path:
    """Where it comes to: a folder that is there already, or a path that ends in `/`, is one to put it in."""
    name = PurePosixPath(remote).name or "workspace"
    if local is None:
        return Path(name)
    target = Path(local)
    return target / name if target.is_dir() or str(local).endswith("/") else target


def part_of(target: Path) -> Path:
    """A name beside `target` for what is not whole yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


# ── Up ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Member:
    path: Path
    name: str
    info: os.stat_result


def members(root: Path, exclude: Sequence[str] = ()) -> list[Member]:
    """What is in a folder, links not followed; sockets and devices left out. A pattern excludes what it matches by its
    name or by its path from `root`, and everything below."""
    return sorted(_walk(root, "", exclude), key=lambda member: member.name)


def _walk(folder: Path, prefix: str, exclude: Sequence[str]) -> Iterator[Member]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if any(fnmatch(entry.name, pattern) or fnmatch(name, pattern.rstrip("/")) for pattern in exclude):
                continue
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                yield Member(Path(entry.path), name, info)
                yield from _walk(Path(entry.path), f"{name}/", exclude)
            elif stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                yield Member(Path(entry.path), name, info)


def content_bytes(found: Iterable[Member]) -> int:
    return sum(member.info.st_size for member in found if stat.S_ISREG(member.info.st_mode))


def tar_pieces(found: Iterable[Member], done: Callable[[int], object]) -> Iterator[bytes]:
    """A tar of it, a piece at a time; `done` hears how many bytes of content have been read."""
    read = 0
    for member in found:
        yield _header(member)
        if not stat.S_ISREG(member.info.st_mode):
            continue
        left = member.info.st_size
        with member.path.open("rb") as file:
            while left:
                piece = file.read(min(left, CHUNK_BYTES))
                if not piece:
                    raise Invalid(f"{member.path} became shorter while it was being sent", field="local")
                left -= len(piece)
                read += len(piece)
                yield piece
                done(read)
        yield b"\0" * (-member.info.st_size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _header(member: Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.mtime = int(member.info.st_mtime)
    info.mode = stat.S_IMODE(member.info.st_mode) & 0o777
    if stat.S_ISDIR(member.info.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(member.info.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(member.path.readlink())
    else:
        info.size = member.info.st_size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


# ── Down ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def unpack(archive: Path, target: Path) -> int:
    """Put what a tar holds into `target`, every file under its name only when it is whole. Returns how many files.

    An instance is not trusted to name files of this machine: what climbs out of `target`, and links that lead out of it,
    are refused with Invalid before anything of them is written; devices are left out.
    """
    target.mkdir(parents=True, exist_ok=True)
    root = target.resolve()
    files = 0
    with tarfile.open(archive) as tar:
        for info in tar:
            place = _inside(root, info.name)
            if info.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif info.issym():
                _inside(root, str(PurePosixPath(info.name).parent / info.linkname))
                _appear(place, lambda fresh, info=info: fresh.symlink_to(info.linkname))  # type: ignore[misc]
                files += 1
            elif info.isreg():
                _appear(place, lambda fresh, info=info: _write(tar, info, fresh))  # type: ignore[misc]
                files += 1
    return files


def _inside(root: Path, name: str) -> Path:
    """The place of a member, every link on the way resolved: an earlier link must not lead a later file astray."""
    place = root / name.rstrip("/")
    if PurePosixPath(name).is_absolute() or not Path(os.path.normpath(place)).is_relative_to(root):
        raise Invalid(f"the archive holds {name!r}, which is outside of {root}", hint="nothing of it was written")
    parent = place.parent.resolve()
    if not parent.is_relative_to(root):
        raise Invalid(f"the archive leads {name!r} outside of {root} by a link", hint="nothing of it was written")
    return parent / place.name if place.name not in ("", "..") else parent


def _appear(place: Path, write: Callable[[Path], object]) -> None:
    fresh = part_of(place)
    try:
        write(fresh)
        fresh.replace(place)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, fresh: Path) -> None:
    content = tar.extractfile(info)
    if content is None:
        raise Invalid(f"the archive holds no content for {info.name!r}")
    with content, fresh.open("xb") as file:
        while piece := content.read(CHUNK_BYTES):
            file.write(piece)
    fresh.chmod(0o755 if info.mode & stat.S_IXUSR else 0o644)
    os.utime(fresh, (info.mtime, info.mtime))
