"""The few pages we show ourselves: a login, and plain words when there is nothing to open."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import Response

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:18vh auto;padding:0 1rem}
h1{font-size:1.3rem;margin:0 0 .5rem}p{margin:.5rem 0}
input,button{font:inherit;padding:.5rem .7rem;border:1px solid #8888;border-radius:.4rem;width:100%;box-sizing:border-box}
button{margin-top:.6rem;background:#2563eb;color:#fff;border:0;cursor:pointer}
.wrong{color:#dc2626}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def login(short_id: str, action: str, *, wrong: str = "", status: int = 401) -> Response:
    """Asks for the instance's password. The same for every short id, so that it tells nothing about any."""
    told = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    form = (
        f'<form method="post" action="{escape(action)}">'
        '<label>Password of this instance<input type="password" name="password" required autofocus '
        'autocomplete="current-password"></label><button>Open</button></form>'
        f"<p><small>`gpuyard instances show {escape(short_id)}` shows it; `gpuyard open` needs none.</small></p>"
    )
    return page(f"Instance {short_id}", told + form, status=status)


def told(title: str, text: str, *, status: int, again_in: int | None = None) -> Response:
    return page(title, f"<p>{escape(text)}</p>", status=status, again_in=again_in)


def page(title: str, inside: str, *, status: int, again_in: int | None = None) -> Response:
    """`inside` is HTML; `again_in` seconds later the browser asks again by itself."""
    refresh = f'<meta http-equiv="refresh" content="{again_in}">' if again_in is not None else ""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}<title>{escape(title)} · gpuyard</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{inside}</body></html>"
    )
    return Response(html, status, headers=_HEADERS, media_type="text/html")
