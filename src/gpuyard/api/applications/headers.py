"""Which headers of an application reach the visitor's browser.

All instances share one origin, and a browser lets a header speak for the whole of it: what would, stays here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gpuyard.api.passing import OF_ONE_CONNECTION

OUR_COOKIE = "gpuyard_visit"

SPEAK_FOR_THE_ORIGIN = frozenset(
    {
        "alt-svc",
        "clear-site-data",
        "expect-ct",
        "nel",
        "public-key-pins",
        "report-to",
        "service-worker-allowed",
        "strict-transport-security",
    }
)
"""Of these, `service-worker-allowed` alone would hand every other instance's pages to a script of this one."""


def outward(headers: Iterable[tuple[str, str]], home: str) -> list[tuple[bytes, bytes]]:
    """The headers of an application at the path `home`, cookies kept to that path, nothing left for shared caches."""
    kept = [(name.lower(), value) for name, value in headers]
    kept = [(n, v) for n, v in kept if n not in OF_ONE_CONNECTION | SPEAK_FOR_THE_ORIGIN | {"date"}]  # ours is sent
    told = [(n, v) for n, v in kept if n != "set-cookie"]
    cookies = [("set-cookie", c) for n, v in kept if n == "set-cookie" and (c := cookie_within(v, home)) is not None]
    private = [] if any(n == "cache-control" for n, _ in told) else [("cache-control", "private")]
    return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in (*told, *cookies, *private)]


def cookie_within(cookie: str, home: str) -> str | None:
    """The same cookie, for `home` and below alone. None for one that would pass for ours."""
    pair, *attributes = (part.strip() for part in cookie.split(";"))
    name, equals, _ = pair.partition("=")
    if not equals or name.strip() in ("", OUR_COOKIE):  # a nameless `=a=b` comes back as `a=b`
        return None
    return "; ".join([pair, *_kept(attributes, home)])


def _kept(attributes: Iterable[str], home: str) -> Iterator[str]:
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        match name.strip().lower():
            case "domain":
                continue
            case "path" if not f"{value.strip()}/".startswith(home):
                yield f"Path={home}"
            case _:
                yield attribute
