"""The provider that docs/providers.md teaches works as it stands on the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from gpuyard.providers.fake import Misbehaviour
from gpuyard.providers.local.settings import FIELDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "providers.md").read_text()


def listings() -> dict[str, str]:
    """The files of the page, by the name in their first line."""
    blocks = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL)
    return dict(blocks)


def test_the_example_passes_the_provider_contract(tmp_path: Path) -> None:
    for name, text in listings().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "contract").mkdir()
    shutil.copy(ROOT / "tests" / "contract" / "provider.py", tmp_path / "contract" / "provider.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\npythonpath = .\n")

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shelf.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\b1\d passed", run.stdout), run.stdout


def test_the_page_names_every_setting_of_local() -> None:
    assert [name for name in FIELDS if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_misbehaviour_of_the_fake() -> None:
    assert [way for way in Misbehaviour if way is not Misbehaviour.NONE and f"`{way}`" not in PAGE] == []
