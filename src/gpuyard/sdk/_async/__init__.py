"""The client's modules, asynchronous as written and synchronous as made from them by `scripts/generate_sync.py`."""
