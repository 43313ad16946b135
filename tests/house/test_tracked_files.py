"""Nothing of one machine is in what everybody gets."""

from __future__ import annotations

import re

from tests.house.reading import ROOT, tracked_files

# written so that this file does not match itself
FOLDERS_OF_ONE_MACHINE = re.compile(r"(?<![\w.~}/-])/(?:work|root|farm)/" + r"[\w.-]")
REGISTRY_HOSTS = re.compile(
    "|".join(
        re.escape(host)
        for host in ("registry." + "npmjs", "files." + "pythonhosted", "pypi." + "org/simple", "deb." + "debian")
    )
)


def texts() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in tracked_files():
        try:
            found[str(file.relative_to(ROOT))] = file.read_text()
        except UnicodeDecodeError:
            continue
    return found


def mentions(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert mentions(FOLDERS_OF_ONE_MACHINE) == []


def test_no_file_names_the_host_of_a_package_index() -> None:
    assert mentions(REGISTRY_HOSTS) == []


def test_the_constraints_pin_versions_and_name_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()

    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[\w.!+]+( ; .+)?", line)] == []


def test_no_source_file_has_grown_beyond_what_one_can_hold_in_mind() -> None:
    generated = "src/gpuyard/sdk/_sync/"

    long = {
        name: len(text.splitlines())
        for name, text in texts().items()
        if name.startswith("src/") and name.endswith(".py") and not name.startswith(generated)
    }
    assert {name: count for name, count in long.items() if count > 600} == {}
