"""docs/errors.md, from the error tree, the API's statuses, the SDK's classes and the CLI's exit statuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docs_text import heading, table

from gpuyard.api.errors import STATUS
from gpuyard.cli.failures import BY_CODE as EXIT_BY_CODE
from gpuyard.cli.failures import MEANING, ExitStatus
from gpuyard.domain import errors
from gpuyard.domain.errors import error_classes
from gpuyard.sdk.errors import BY_CODE as SDK_BY_CODE

OPENING = """\
Every error of the API has one shape, and a code that never changes:

```json
{"error": {"code": "no_capacity", "message": "…", "field": "gpus", "hint": "…", "details": {}, "retry_after": 2.5, "request_id": "…"}}
```

`message` says what happened, `hint` what to do next, `field` which field of the request is meant. What does not apply is left out. The
SDK raises the class of the code, from `gpuyard.sdk.errors`; the CLI prints one line and a hint, and ends with the code's exit status.
"""

ON_THIS_SIDE = """\
## On the client's side

What the SDK and the CLI find out without the yard has codes too.
"""

EXITS = """\
## Exit statuses of the CLI

`gpuyard run`, `exec` and `shell` pass on the exit status of what they ran.
"""


def page() -> str:
    server = {cls.code for cls in error_classes()}
    return "\n".join(
        [
            heading("Errors", source="src/gpuyard/domain/errors.py", opening=OPENING),
            table(["Code", "HTTP", "Means", "SDK class", "CLI exit"], server_rows()),
            ON_THIS_SIDE,
            table(
                ["Code", "Means", "SDK class", "CLI exit"],
                [
                    (f"`{code}`", meanings_of_the_sdk()[code], f"`{cls.__name__}`", exit_of(code))
                    for code, cls in SDK_BY_CODE.items()
                    if code not in server
                ],
            ),
            EXITS,
            table(["Status", "Means"], [(f"{int(status)}", MEANING[status]) for status in ExitStatus]),
        ]
    )


def server_rows() -> Iterator[tuple[str, ...]]:
    meanings = {**drawn_meanings(errors.__doc__ or ""), "internal": "a bug of the yard; quote the request id"}
    for cls in error_classes():
        yield (
            f"`{cls.code}`",
            str(int(STATUS[cls])),
            meanings[cls.code],
            f"`{SDK_BY_CODE[cls.code].__name__}`",
            exit_of(cls.code),
        )


def meanings_of_the_sdk() -> dict[str, str]:
    import gpuyard.sdk.errors

    return drawn_meanings(gpuyard.sdk.errors.__doc__ or "")


def drawn_meanings(tree: str) -> dict[str, str]:
    """code → meaning, from the lines `├── Class   code   meaning` of a drawn tree."""
    return dict(re.findall(r"── \w+ +(\w+) *(.*)", tree))


def exit_of(code: str) -> str:
    return str(int(EXIT_BY_CODE[code]))
