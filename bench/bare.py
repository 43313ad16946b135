"""The peer of every server figure: a FastAPI application that does nothing, on the same uvicorn settings."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.get("/yard/v1/me")
async def me() -> dict[str, str]:
    return {"name": "nobody"}


@app.post("/yard/v1/instances", status_code=201)
async def create(body: dict[str, object]) -> dict[str, object]:
    return body


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
