"""Ctrl-C, SIGTERM and a closed terminal, so handled that what was ordered is always given back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from gpuyard.cli.failures import ExitStatus

STATUS = {
    signal.SIGINT: ExitStatus.INTERRUPTED,
    signal.SIGTERM: ExitStatus.TERMINATED,
    signal.SIGHUP: ExitStatus.HUNG_UP,
}


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt, so that nothing between the signal and us takes it for an ordinary error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)

    @property
    def status(self) -> ExitStatus:
        return STATUS[self.number]


class Interruptions:
    """Raises Interrupted once, at the first signal. Every later one is only noted.

    So a `finally` that follows runs undisturbed to its end, however often Ctrl-C is pressed.
    """

    def __init__(self, on_ignored: Callable[[], None], on_deferred: Callable[[], None] = lambda: None) -> None:
        self._on_ignored = on_ignored
        self._on_deferred = on_deferred
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}
        self._raising = True
        self._deferring = False
        self._deferred: int | None = None

    def __enter__(self) -> Interruptions:
        for number in STATUS:
            # nohup and `trap '' HUP` mean it: what is ignored stays ignored
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def hold(self) -> None:
        """From here on signals are noted only."""
        self._raising = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """The first signal waits for the end of the block; a second one does not.

        For an order whose answer is on its way: knowing the answer is better than looking for it.
        """
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._deferred is not None and self._raising:
            self._raising = False
            raise Interrupted(self._deferred)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._deferring and self._deferred is None:
            self._deferred = number
            self._on_deferred()
            return
        if self._raising:
            self._raising = False
            raise Interrupted(number)
        self._on_ignored()
