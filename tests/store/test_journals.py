from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuyard
from gpuyard.domain.errors import Invalid, StorageFull
from gpuyard.domain.ids import ExecutionId, new_execution_id
from gpuyard.store import DiskJournals

X = ExecutionId("exec_1")
PLENTY = 1 << 20


@pytest.fixture
def journals(tmp_path: Path) -> DiskJournals:
    return DiskJournals(tmp_path / "journals")


def test_a_journal_nobody_wrote_is_empty(journals: DiskJournals) -> None:
    assert journals.size(X) == 0
    assert journals.read(X, 0, PLENTY) == b""


def test_what_is_appended_is_read_back(journals: DiskJournals) -> None:
    assert journals.append(X, 0, b'{"s":1}\n') == 8
    assert journals.append(X, 8, b'{"s":2}\n') == 16

    assert journals.read(X, 0, PLENTY) == b'{"s":1}\n{"s":2}\n'
    assert journals.read(X, 8, PLENTY) == b'{"s":2}\n'
    assert journals.read(X, 16, PLENTY) == b""
    assert journals.size(X) == 16


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_sent_again_in_any_overlap_it_is_written_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]]
) -> None:
    journals = DiskJournals(tmp_path_factory.mktemp("j"))
    whole = b"".join(b"line %d\n" % n for n in range(10))
    have = 0

    for start, length in pieces:
        data = whole[start : start + length]
        if start > have:
            with pytest.raises(Invalid):
                journals.append(X, start, data)
        else:
            have = max(have, start + len(data))
            assert journals.append(X, start, data) == have

    assert journals.size(X) == have
    assert whole[:have].startswith(journals.read(X, 0, PLENTY))


def test_a_gap_is_refused_and_the_end_is_told(journals: DiskJournals) -> None:
    journals.append(X, 0, b"one\n")

    with pytest.raises(Invalid, match="ends at 4") as refused:
        journals.append(X, 5, b"two\n")

    assert refused.value.field == "at"
    assert journals.read(X, 0, PLENTY) == b"one\n"


def test_only_whole_records_are_read(journals: DiskJournals) -> None:
    journals.append(X, 0, b"one\ntwo\nthr")

    assert journals.read(X, 0, PLENTY) == b"one\ntwo\n"
    assert journals.read(X, 0, 6) == b"one\n"
    assert journals.read(X, 8, PLENTY) == b""


def test_a_record_longer_than_the_limit_comes_whole(journals: DiskJournals) -> None:
    long = b"x" * 200_000 + b"\n"
    journals.append(X, 0, long + b"two\n")

    assert journals.read(X, 0, 10) == long
    assert journals.read(X, len(long), 10) == b"two\n"


def test_a_torn_end_is_cut_off_at_first_use(journals: DiskJournals, tmp_path: Path) -> None:
    journals.append(X, 0, b"one\n" + b"x" * 200_000)

    after_a_crash = DiskJournals(tmp_path / "journals")

    assert after_a_crash.size(X) == 4
    assert after_a_crash.append(X, 4, b"two\n") == 8
    assert after_a_crash.read(X, 0, PLENTY) == b"one\ntwo\n"


def test_a_journal_of_one_torn_record_is_empty(journals: DiskJournals, tmp_path: Path) -> None:
    journals.append(X, 0, b"torn")

    assert DiskJournals(tmp_path / "journals").size(X) == 0


def test_a_removed_journal_is_gone_and_may_begin_anew(journals: DiskJournals) -> None:
    journals.append(X, 0, b"one\n")

    journals.remove(X)
    journals.remove(X)

    assert journals.size(X) == 0
    assert journals.append(X, 0, b"two\n") == 4
    assert journals.read(X, 0, PLENTY) == b"two\n"


def test_journals_do_not_crowd_one_directory(journals: DiskJournals, tmp_path: Path) -> None:
    for _ in range(300):
        journals.append(new_execution_id(), 0, b"x\n")

    assert len(list((tmp_path / "journals").iterdir())) > 100


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", ".", "..", "x\x00", "ü", "a" * 300])
def test_an_id_that_is_no_file_name_is_refused(journals: DiskJournals, name: str) -> None:
    for use in (
        lambda: journals.size(ExecutionId(name)),
        lambda: journals.append(ExecutionId(name), 0, b"x\n"),
        lambda: journals.remove(ExecutionId(name)),
    ):
        with pytest.raises(Invalid):
            use()


def test_a_journal_is_for_its_owner_alone(journals: DiskJournals, tmp_path: Path) -> None:
    journals.append(X, 0, b"secret\n")

    (file,) = (tmp_path / "journals").rglob("exec_1")
    assert file.stat().st_mode & 0o077 == 0


def test_a_full_disk_is_told_and_leaves_what_was_there(journals: DiskJournals) -> None:
    journals.append(X, 0, b"one\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageFull):
            journals.append(X, 4, b"y" * 5000 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert journals.read(X, 0, PLENTY) == b"one\n"
    assert journals.append(X, 4, b"two\n") == 8


def test_two_threads_sending_the_same_write_it_once(journals: DiskJournals) -> None:
    whole = b"".join(b"line %d\n" % n for n in range(2000))

    def send() -> None:
        for start in range(0, len(whole), 100):
            journals.append(X, start, whole[start : start + 150])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert journals.read(X, 0, PLENTY) == whole


_WRITE_FOR_EVER = """
import sys
from pathlib import Path
from gpuyard.store import DiskJournals

journals, at = DiskJournals(Path(sys.argv[1])), int(sys.argv[2])
while True:
    record = b"%d %s\\n" % (at, b"x" * 3000)
    at = journals.append("exec_1", at, record)
    print(at, flush=True)
"""


def test_what_was_appended_outlives_kill_9(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(gpuyard.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path), "0"], stdout=subprocess.PIPE, env=environment, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(200)]
        writer.kill()

    journals = DiskJournals(tmp_path)

    assert journals.size(X) >= acknowledged[-1]
    records = journals.read(X, 0, 1 << 30).splitlines(keepends=True)
    offset = 0
    for record in records:
        assert record.startswith(b"%d " % offset)
        assert record.endswith(b"x\n")
        offset += len(record)
