"""What every command has: the global options, the screen, the way to the yard. And how a command is declared."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gpuyard.cli.home import open_client
from gpuyard.cli.options import Options
from gpuyard.cli.screen import Screen

if TYPE_CHECKING:
    from gpuyard import Client

F = TypeVar("F", bound=Callable[..., int | None])

_PANEL = "Global options (after any command, too)"


@dataclass
class Session:
    """One invocation of one command."""

    options: Options = Options()
    argv: tuple[str, ...] = ()

    @functools.cached_property
    def screen(self) -> Screen:
        return Screen(as_json=self.options.as_json, quiet=self.options.quiet, color=not self.options.no_color)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The yard of --url, GPUYARD_URL or the stored credentials. Raises NotConfigured where there is none."""
        with open_client(self.options) as client:
            yield client


_session = Session()


def begin(argv: list[str]) -> Session:
    """Forget the last invocation; commands of this one see the session returned."""
    global _session  # noqa: PLW0603  Typer calls plain functions: what they share has to live somewhere
    _session = Session(argv=tuple(argv))
    return _session


def global_options(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.", rich_help_panel=_PANEL)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only results: no remarks, no progress.", rich_help_panel=_PANEL)
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours; NO_COLOR=1 does the same.", rich_help_panel=_PANEL)
    ] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The yard to talk to. [GPUYARD_URL]", rich_help_panel=_PANEL),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", metavar="KEY", help="The key to use. [GPUYARD_API_KEY]", rich_help_panel=_PANEL),
    ] = None,
) -> None:
    """Note what was given; the later place wins."""
    given = Options(as_json, quiet, no_color, url, api_key)
    _session.options = given.over(_session.options)
    _session.__dict__.pop("screen", None)


_GLOBALS = inspect.signature(global_options, eval_str=True).parameters


def command(
    app: typer.Typer, name: str, *, panel: str | None = None, own_args_last: bool = False, hidden: bool = False
) -> Callable[[F], F]:
    """Declare `fn(session, …) -> exit status or None` as a command that takes the global options as well.

    With `own_args_last` whatever follows the first argument is passed on untouched, as `run SCRIPT ARGS…` needs.
    """

    def declare(fn: F) -> F:
        own = list(inspect.signature(fn, eval_str=True).parameters.values())[1:]

        def call(**kwargs: Any) -> None:
            global_options(**{key: kwargs.pop(key) for key in _GLOBALS})
            status = fn(_session, **kwargs)
            if status:
                raise typer.Exit(int(status))

        _dress(call, fn.__name__, fn.__doc__, [*own, *_GLOBALS.values()])
        settings = {"allow_interspersed_args": False} if own_args_last else {}
        app.command(name, rich_help_panel=panel, hidden=hidden, context_settings=settings)(call)
        return fn

    return declare


def _dress(fn: Callable[..., None], name: str, doc: str | None, parameters: list[inspect.Parameter]) -> None:
    """Show Typer the parameters a function that takes anything really has."""
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    fn.__name__, fn.__doc__ = name, doc
    fn.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    fn.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}


def group(app: typer.Typer, name: str, help: str, *, panel: str | None = None) -> typer.Typer:
    """A command that only has commands below it."""
    inner = typer.Typer(name=name, help=help, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(inner, name=name, rich_help_panel=panel)
    inner.callback()(global_options_callback(help))
    return inner


def global_options_callback(help: str) -> Callable[..., None]:
    def callback(**kwargs: Any) -> None:
        global_options(**kwargs)

    _dress(callback, "callback", help, list(_GLOBALS.values()))
    return callback


def asked_for_json(argv: list[str]) -> bool:
    """Before anything is parsed: a usage error has to know it, too."""
    before_script = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in before_script


def in_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
