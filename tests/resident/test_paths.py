"""No path a caller can write, and no link a program can lay, leads out of the instance's files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.resident.errors import Refusal
from gpuyard.resident.paths import Places
from gpuyard.resident.wire import Residence


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return some_places(tmp_path)


def some_places(top: Path) -> Places:
    places = Places.of(Residence(root=top / "root", state=top / "state"))
    for directory in places.anchors:
        directory.mkdir(parents=True)
    (top / "secret").write_text("of the machine")
    return places


@pytest.mark.parametrize(
    ("raw", "own"),
    [
        ("", "/workspace"),
        (".", "/workspace"),
        ("a/b.txt", "/workspace/a/b.txt"),
        ("a//b/", "/workspace/a/b"),
        ("a/../b", "/workspace/b"),
        ("/workspace/x", "/workspace/x"),
        ("/tmp/x", "/tmp/x"),
        ("/home/coder/x", "/home/coder/x"),
        ("//workspace//x", "/workspace/x"),
        ("~", "/home/coder"),
        ("~/x", "/home/coder/x"),
        ("~//etc/passwd", "/home/coder/etc/passwd"),
        ("~x", "/workspace/~x"),
        ("../tmp/x", "/tmp/x"),
        ("weird\n\u00e9 name", "/workspace/weird\n\u00e9 name"),
    ],
)
def test_a_path_means_what_it_means_to_a_program_in_the_workspace(places: Places, raw: str, own: str) -> None:
    assert places.locate(raw).shown == own


def test_a_program_without_a_sandbox_may_say_the_real_path(places: Places) -> None:
    assert places.locate(str(places.workspace / "x")).shown == "/workspace/x"


def test_inside_a_sandbox_the_paths_are_the_real_ones(tmp_path: Path) -> None:
    residence = Residence(workspace=tmp_path / "w", home=tmp_path / "h", tmp=tmp_path / "t", state=tmp_path)

    spot = Places.of(residence).locate("x")

    assert (spot.real, spot.shown) == (tmp_path / "w" / "x", str(tmp_path / "w" / "x"))


@pytest.mark.parametrize(
    "raw", ["..", "/", "/etc/passwd", "../secret", "a/../../../secret", "~/../..", "/workspace/../../secret", "a\0b"]
)
def test_what_leads_out_is_refused_with_the_field(places: Places, raw: str) -> None:
    with pytest.raises(Refusal) as refused:
        places.locate(raw)

    assert (refused.value.status, refused.value.code, refused.value.field) == (422, "invalid_request", "path")


def test_a_link_that_leads_out_is_refused(places: Places, tmp_path: Path) -> None:
    (places.workspace / "out").symlink_to(tmp_path)
    (places.workspace / "file").symlink_to(tmp_path / "secret")

    for raw in ("out", "out/secret", "file"):
        with pytest.raises(Refusal):
            places.locate(raw)


def test_a_link_that_stays_inside_is_followed(places: Places) -> None:
    (places.home / "workspace").symlink_to("../../workspace")

    assert places.locate("~/workspace/x").shown == "/workspace/x"


def test_a_link_itself_can_be_meant_whatever_it_points_to(places: Places, tmp_path: Path) -> None:
    (places.workspace / "out").symlink_to(tmp_path)

    spot = places.locate("out", follow=False)

    assert spot.real == places.workspace / "out"


def test_a_link_laid_after_the_check_is_not_followed(places: Places, tmp_path: Path) -> None:
    (places.workspace / "d").mkdir()
    (places.workspace / "d" / "secret").write_text("harmless")
    spot = places.locate("d/secret")

    (places.workspace / "d").rename(places.workspace / "moved")
    (places.workspace / "d").symlink_to(tmp_path)

    with pytest.raises(OSError, match="d"):
        spot.open(os.O_RDONLY)


def test_a_file_swapped_for_a_link_after_the_check_is_not_followed(places: Places, tmp_path: Path) -> None:
    (places.workspace / "f").write_text("harmless")
    spot = places.locate("f")

    (places.workspace / "f").unlink()
    (places.workspace / "f").symlink_to(tmp_path / "secret")

    with pytest.raises(OSError, match="f"):
        spot.open(os.O_RDONLY)


@pytest.mark.parametrize("raw", ["", "~", "/tmp", "/workspace/."])
def test_the_three_directories_themselves_have_no_name_to_delete_or_replace(places: Places, raw: str) -> None:
    with pytest.raises(Refusal):
        places.locate(raw, follow=False).name  # noqa: B018


# a small world with links of every kind in it, made once: generated paths only look at it

PIECES = [
    "a",
    "b",
    "..",
    ".",
    "",
    "~",
    "up",
    "out",
    "loop",
    "in",
    "abs",
    "workspace",
    "home",
    "coder",
    "tmp",
    "etc",
    "\u00fc",
]


@pytest.fixture(scope="module")
def tangle() -> Iterator[tuple[Places, Path]]:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory).resolve()
        places = some_places(top)
        (places.workspace / "a" / "b").mkdir(parents=True)
        (places.workspace / "up").symlink_to("..")
        (places.workspace / "a" / "up").symlink_to("../..")
        (places.workspace / "out").symlink_to(top)
        (places.workspace / "in").symlink_to("a/b")
        (places.workspace / "abs").symlink_to("/etc")
        (places.workspace / "loop").symlink_to("loop")
        yield places, top


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.booleans(), st.booleans())
def test_whatever_is_written_a_located_spot_is_inside(
    tangle: tuple[Places, Path], pieces: list[str], absolute: bool, follow: bool
) -> None:
    places, _ = tangle
    raw = ("/" if absolute else "") + "/".join(pieces)

    try:
        spot = places.locate(raw, follow=follow)
    except Refusal:
        return

    parent = Path(os.path.realpath(spot.real.parent if spot.parts else spot.real))
    assert any(parent.is_relative_to(anchor) for anchor in places.anchors)
    assert not {"..", ".", ""} & set(spot.parts)


@given(st.text(max_size=60))
def test_any_text_is_located_or_refused_and_nothing_else(tangle: tuple[Places, Path], raw: str) -> None:
    places, _ = tangle
    try:
        raw.encode()
    except UnicodeEncodeError:
        return

    try:
        spot = places.locate(raw)
    except Refusal:
        return

    assert any(spot.real.is_relative_to(anchor) for anchor in places.anchors)
