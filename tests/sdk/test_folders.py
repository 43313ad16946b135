"""What goes up is what is there; what comes down stays where it belongs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from gpuyard.sdk import folders
from gpuyard.sdk.errors import Invalid


def tree(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def packed(root: Path, to: Path, exclude: tuple[str, ...] = ()) -> Path:
    to.write_bytes(b"".join(folders.tar_pieces(folders.members(root, exclude), lambda _: None)))
    return to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "src" / "a.py").write_text("a")
    (root / "src" / "deep" / ("long" * 40 + ".txt")).write_bytes(b"x" * 1500)
    (root / "naïve name.txt").write_text("ü")
    (root / "link").symlink_to("src/a.py")
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text("ref")
    (root / "src" / "a.pyc").write_text("compiled")
    return root


def test_a_folder_arrives_as_it_was(folder: Path, tmp_path: Path) -> None:
    archive = packed(folder, tmp_path / "it.tar")

    files = folders.unpack(archive, tmp_path / "there")

    assert tree(tmp_path / "there") == tree(folder)
    assert files == len(tree(folder))
    assert (tmp_path / "there" / "empty").is_dir()


def test_what_is_excluded_stays_with_all_below_it(folder: Path, tmp_path: Path) -> None:
    archive = packed(folder, tmp_path / "it.tar", (".git", "*.pyc", "src/deep/"))

    folders.unpack(archive, tmp_path / "there")

    assert set(tree(tmp_path / "there")) == {"src/a.py", "naïve name.txt", "link"}


def test_the_bytes_told_are_those_of_the_content(folder: Path) -> None:
    found = folders.members(folder)
    told: list[int] = []

    for _ in folders.tar_pieces(found, told.append):
        pass

    assert (
        told[-1] == folders.content_bytes(found) == sum(len(c) for c in tree(folder).values() if isinstance(c, bytes))
    )


def archive_of(path: Path, *members: tuple[str, bytes | None, str | None]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content, link in members:
            info = tarfile.TarInfo(name)
            if link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, link
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize(
    "members",
    [
        [("../out", b"x", None)],
        [("/etc/out", b"x", None)],
        [("a/../../out", b"x", None)],
        [("link", None, "../..")],
        [("link", None, "/etc")],
        [("a/link", None, "../../out")],
    ],
)
def test_what_climbs_out_is_refused(members: list[tuple[str, bytes | None, str | None]], tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "evil.tar", *members)

    with pytest.raises(Invalid, match="outside"):
        folders.unpack(archive, tmp_path / "inner" / "there")

    assert tree(tmp_path / "inner") == {}


def test_a_link_that_was_there_leads_nothing_astray(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "d").symlink_to(tmp_path)
    archive = archive_of(tmp_path / "it.tar", ("d/out", b"x", None))

    with pytest.raises(Invalid, match="by a link"):
        folders.unpack(archive, tmp_path / "there")

    assert not (tmp_path / "out").exists()


def test_a_file_that_shrinks_meanwhile_is_not_sent_short(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a").write_bytes(b"x" * 100)
    found = folders.members(tmp_path / "f")
    (tmp_path / "f" / "a").write_bytes(b"x" * 10)

    with pytest.raises(Invalid, match="shorter"):
        list(folders.tar_pieces(found, lambda _: None))


def test_the_same_file_to_the_same_place_is_the_same_upload_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"one")

    first, again, elsewhere = folders.source(file, "a"), folders.source(file, "a"), folders.source(file, "b")
    file.write_bytes(b"other")

    assert first == again
    assert len({first.upload_id, elsewhere.upload_id, folders.source(file, "a").upload_id}) == 3


def test_targets_are_as_with_cp(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()

    assert folders.remote_target(Path("/a/model.pt"), None) == "model.pt"
    assert folders.remote_target(Path("/a/model.pt"), "data/") == "data/model.pt"
    assert folders.remote_target(Path("/a/model.pt"), "data") == "data"
    assert folders.local_target("out/model.pt", None) == Path("model.pt")
    assert folders.local_target("out/model.pt", tmp_path / "dir") == tmp_path / "dir" / "model.pt"
    assert folders.local_target("out/model.pt", tmp_path / "new") == tmp_path / "new"
