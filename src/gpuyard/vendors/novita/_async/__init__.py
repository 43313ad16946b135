"""One of the two manners of the client: `_async` is written, `_sync` is made of it."""
