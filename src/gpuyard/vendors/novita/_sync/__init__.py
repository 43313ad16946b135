# Made from `_async/` by scripts/generate_sync.py: change it there.
"""One of the two manners of the client: `_sync` is written, `_sync` is made of it."""
