"""When the answer to an order is lost on the way, the order is not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.cli.conftest import Seat

GPU = ("--gpu", "nvidia-rtx-4090")


class Wire:
    """Passes bytes between a client and the yard, but loses or holds up answers to orders of instances."""

    def __init__(self, url: str, *, lose: int = 0, hold: bool = False) -> None:
        target = urlsplit(url)
        self._target = (target.hostname or "", target.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._left_to_lose = lose
        self._hold = hold
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.orders = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.let_go.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        ordering = threading.Event()
        with client, socket.create_connection(self._target) as yard, suppress(OSError):
            threading.Thread(target=self._answers, args=(yard, client, ordering), daemon=True).start()
            while asked := client.recv(65536):
                if asked.startswith(b"POST /yard/v1/instances HTTP"):
                    self.orders += 1
                    ordering.set()
                yard.sendall(asked)

    def _answers(self, yard: socket.socket, client: socket.socket, ordering: threading.Event) -> None:
        with suppress(OSError):
            while answer := yard.recv(65536):
                if ordering.is_set() and self._hold:
                    self.held.set()
                    self.let_go.wait(60)
                if ordering.is_set() and self._left_to_lose:
                    self._left_to_lose -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                ordering.clear()
                client.sendall(answer)


@contextmanager
def wire(seat: Seat, **faults: object) -> Iterator[Wire]:
    """The seat talks through it meanwhile."""
    kept = json.loads((seat.home / "credentials.json").read_text())
    between = Wire(kept["url"], **faults)  # type: ignore[arg-type]
    seat.extra |= {"GPUYARD_URL": between.url, "GPUYARD_API_KEY": kept["key"]}
    try:
        yield between
    finally:
        between.close()
        del seat.extra["GPUYARD_URL"], seat.extra["GPUYARD_API_KEY"]


def test_an_order_whose_answer_was_lost_is_asked_again_and_stays_one(seat: Seat) -> None:
    with wire(seat, lose=2) as between:
        ran = seat.gpuyard("run", *GPU, "--name", "once", "--", "echo", "done")

    assert (ran.status, ran.out) == (0, "done\n")
    assert between.orders == 3
    assert seat.instances() == []


def test_when_every_answer_is_lost_the_order_is_found_and_given_back(seat: Seat) -> None:
    with wire(seat, lose=4):
        ran = seat.gpuyard("run", *GPU, "--", "echo", "done")

    assert ran.status == 69, ran
    assert seat.instances() == []


def test_ctrl_c_while_the_answer_is_on_its_way_gives_the_order_back(seat: Seat) -> None:
    with wire(seat, hold=True) as between:
        run = seat.start("run", *GPU, "--", "true")
        assert between.held.wait(60)
        run.press()
        between.let_go.set()

        assert run.ends() == 130

    assert seat.instances() == []


def test_a_second_ctrl_c_does_not_wait_for_the_answer_and_still_gives_it_back(seat: Seat) -> None:
    with wire(seat, hold=True) as between:
        run = seat.start("run", *GPU, "--", "true")
        assert between.held.wait(60)
        run.press()
        run.says("press again")
        run.press()
        run.says("interrupted")
        between.let_go.set()

        assert run.ends() == 130

    assert seat.instances() == []
