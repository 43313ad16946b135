"""Where words go: results to standard output, progress and remarks to standard error, JSON when asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gpuyard.cli.amounts import show_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from gpuyard.cli.failures import Failure

T = TypeVar("T")

WORTH_A_LINE = 8 * 1024 * 1024
"""Bytes; less is there before the line about it is read."""


@dataclass(frozen=True)
class Column(Generic[T]):
    title: str
    show: Callable[[T], str]
    right: bool = False
    narrow: bool = False
    """Never shortened: an id or a number means nothing cut in half."""


class Screen:
    """One per invocation. In a terminal tables are drawn and fit its width; elsewhere they are lines of tab-separated cells."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, color: bool = True) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.color = color

    @cached_property
    def out(self) -> Console:
        return self._console(stderr=False)

    @cached_property
    def err(self) -> Console:
        return self._console(stderr=True)

    @property
    def lively(self) -> bool:
        """Somebody watches: spinners and bars make sense."""
        return sys.stderr.isatty() and not self.quiet and not self.as_json

    def say(self, text: str, *, style: str | None = None) -> None:
        """A remark for people; never part of the result."""
        if not self.quiet:
            self._line(self.err, text, style)

    def warn(self, text: str) -> None:
        """A remark that even --quiet does not hide."""
        self._line(self.err, f"warning: {text}", "yellow")

    def line(self, text: str) -> None:
        """A line of the result, as it is."""
        if not self.as_json:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def result(self, value: Any, text: str | None = None) -> None:
        """The result: `value` as JSON when asked, `text` otherwise."""
        if self.as_json:
            sys.stdout.write(json.dumps(jsonable(value), ensure_ascii=False, indent=2) + "\n")
            sys.stdout.flush()
        elif text is not None:
            self.line(text)

    def table(self, columns: Sequence[Column[T]], items: Sequence[T], *, empty: str, values: Any = None) -> None:
        """`--json`: `{"items": […]}`; --quiet: the first column alone; in a terminal a table, elsewhere tab-separated."""
        if self.as_json:
            self.result({"items": list(items) if values is None else values})
        elif self.quiet:
            for item in items:
                self.line(columns[0].show(item))
        elif not sys.stdout.isatty():
            self.line("\t".join(column.title for column in columns))
            for item in items:
                self.line("\t".join(_flat(column.show(item)) for column in columns))
        elif not items:
            self.say(empty)
        else:
            self._draw(columns, items)

    def facts(self, facts: Sequence[tuple[str, str]], value: Any) -> None:
        """One thing, as a list of what is known of it."""
        if self.as_json:
            self.result(value)
            return
        width = max((len(name) for name, _ in facts), default=0)
        for name, shown in facts:
            if sys.stdout.isatty():
                from rich.text import Text

                self.out.print(Text.assemble((f"{name:<{width}}  ", "bold"), shown), soft_wrap=True)
            else:
                self.line(f"{name}\t{_flat(shown)}")

    @contextmanager
    def stage(self, text: str) -> Iterator[Callable[[str | None], None]]:
        """Something that takes a while: a spinner in a terminal, a line for each new text elsewhere."""
        if self.lively:
            with self.err.status(_escaped(text), spinner="dots") as status:
                yield lambda new: status.update(_escaped(new)) if new else None
            return
        said = [text]
        self.say(text)

        def tell(new: str | None) -> None:
            if new and new != said[-1]:
                said.append(new)
                self.say(new)

        yield tell

    @contextmanager
    def transfer(self, text: str) -> Iterator[Callable[[int, int | None], None]]:
        """A bar in a terminal; call it with bytes done and bytes in all. Elsewhere one line, for what takes long."""
        if not self.lively:
            yield _told_once(lambda total: self.say(f"{text} ({show_bytes(total)})"))
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(_escaped(text), total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    def failure(self, failure: Failure) -> None:
        if self.as_json:
            self.result(failure.as_json())
            return
        self._line(self.err, f"error: {failure.message}", "bold red")
        if failure.hint:
            self._line(self.err, f"hint: {failure.hint}", None)

    def _draw(self, columns: Sequence[Column[T]], items: Sequence[T]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for column in columns:
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                no_wrap=True,
                overflow="ellipsis",
                min_width=max(len(column.show(item)) for item in items) if column.narrow else None,
            )
        for item in items:
            table.add_row(*(Text(_flat(column.show(item))) for column in columns))
        self.out.print(table)

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        no_color = not self.color or os.environ.get("NO_COLOR", "") != ""
        return Console(stderr=stderr, no_color=no_color, highlight=False, emoji=False)

    def _line(self, console: Console, text: str, style: str | None) -> None:
        console.print(text, style=style, markup=False, soft_wrap=True)


def _told_once(tell: Callable[[int], None]) -> Callable[[int, int | None], None]:
    told: list[int] = []

    def progress(done: int, total: int | None) -> None:
        if not told and total is not None and total > WORTH_A_LINE:
            told.append(total)
            tell(total)

    return progress


def jsonable(value: Any) -> Any:
    """Plain JSON of our shapes. Objects that show a wire shape are shown as that shape."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    if hasattr(value, "view"):
        return jsonable(value.view)
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _flat(text: str) -> str:
    return " ".join(text.split()) if any(c in text for c in "\t\r\n") else text


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
