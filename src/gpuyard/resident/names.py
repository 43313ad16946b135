"""Names callers choose that become names of directories."""

from __future__ import annotations

import re

EXECUTION_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
EXECUTION_ID_RULE = "1 to 128 letters, digits, `_`, `-` and `.`, not beginning with `.`"

KERNEL_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
KERNEL_ID_RULE = "1 to 64 letters, digits, `_`, `-` and `.`, not beginning with `.`"
