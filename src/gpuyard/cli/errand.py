"""One instance for one errand: ordered under a key, and given back whatever happened to the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gpuyard.cli.failures import CliError, ExitStatus, failure_of
from gpuyard.cli.local_yard import pause

if TYPE_CHECKING:
    from gpuyard import Client
    from gpuyard.sdk import Instance

RELEASE_PATIENCE_SECONDS = 120.0
_ANSWERS = frozenset({"connection_failed", "timed_out", "internal"})
"""Errors after which the order may have been taken all the same. Every other code is the yard's no."""


class Errand:
    """At most one instance. The key makes ordering twice order once, so an order whose answer is lost can be found."""

    def __init__(self, client: Client, order: Mapping[str, Any], key: str) -> None:
        self._client = client
        self._order = order
        self._key = key
        self._perhaps_ordered = False
        self.instance: Instance | None = None

    def order(self) -> Instance:
        self._perhaps_ordered = True
        try:
            self.instance = self._client.instances.create(**self._order, idempotency_key=self._key)
        except Exception as error:
            self._perhaps_ordered = failure_of(error).code in _ANSWERS
            raise
        return self.instance

    @property
    def to_release(self) -> bool:
        return self._perhaps_ordered

    def release(self, tell: Callable[[str | None], None]) -> None:
        """Delete it and wait until it is gone. Tries for a while where the yard does not answer.

        Raises CliError, which says what is left and how to get rid of it.
        """
        deadline = time.monotonic() + RELEASE_PATIENCE_SECONDS
        while True:
            try:
                self._release_once(deadline)
            except Exception as error:
                failure = failure_of(error)
                if failure.code == "not_found":
                    return
                if time.monotonic() > deadline or failure.status in (ExitStatus.FORBIDDEN, ExitStatus.BUG):
                    raise self._left_over(failure.message) from error
                tell(f"not given back yet, trying again: {failure.message}")
                pause(1.0)
                continue
            return

    def _release_once(self, deadline: float) -> None:
        if self.instance is None:
            # the same key and body: either it is found, or it is made now and taken back at once
            self.instance = self._client.instances.create(**self._order, idempotency_key=self._key)
        self.instance.delete()
        # accepted: from here on it is the yard that asks the machine away until it is gone
        self.instance.wait_until("deleted", timeout=max(deadline - time.monotonic(), 1.0))

    def _left_over(self, why: str) -> CliError:
        name = self.instance.name if self.instance is not None else "the instance"
        ref = self.instance.short_id if self.instance is not None else "NAME"
        return CliError(
            f"{name} could not be given back and may still cost: {why}",
            status=ExitStatus.TEMPORARY,
            hint=f"`gpuyard instances ls` shows it, `gpuyard instances rm {ref}` deletes it",
            code="not_given_back",
        )
