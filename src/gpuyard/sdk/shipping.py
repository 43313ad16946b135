"""Python values and functions on their way into an instance and back: what is sent, and what comes back.

A value travels as a pickle (protocol 5). Unpickling runs code of whoever made the pickle: what an instance sends back is as
much trusted as the instance itself, so only ask it of instances of your own account.
"""

from __future__ import annotations
import __future__

import ast
import base64
import builtins
import inspect
import keyword
import pickle
import secrets
import symtable
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpuyard.sdk.errors import Invalid, NotFound, RemoteError

MIME = "application/vnd.gpuyard.pickle"
INLINE_BYTES = 256 * 1024
"""A value up to this size is part of the code that is sent; a larger one is a file."""
_ANNOTATIONS_STAY_TEXT = __future__.annotations.compiler_flag


@dataclass(frozen=True, slots=True)
class Parcel:
    """Code that does its work without a trace in the namespace it runs in, and the file its outcome may be in."""

    code: str
    outcome_path: str
    value_path: str | None = None
    """A file to send before, and to delete after."""
    value: bytes = b""


# The outcome of a parcel is a pickled dict: {"value"} or {"error": {"kind", "message", "traceback"}} or {"missing"}.
# A small one comes back among the output of the kernel, which saves asking for a file; where there is no kernel, or it is
# large, it is a file that only its owner can read.
_SEND = """
def send(outcome):
    import base64, os, pickle, traceback
    try:
        content = pickle.dumps(outcome, protocol=5)
    except Exception as error:
        told = {"kind": type(error).__name__, "message": f"it cannot be pickled: {error}", "traceback": traceback.format_exc()}
        content = pickle.dumps({"error": told}, protocol=5)
    if len(content) <= 24 * 1024:
        try:
            from IPython import get_ipython
            get_ipython().display_pub.publish({MIME: base64.b64encode(content).decode()})
            return
        except (ImportError, AttributeError):
            pass
    fresh = OUTCOME + ".part"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(fresh, OUTCOME)

def failure(error, skip):
    import traceback
    trace = error.__traceback__
    for _ in range(skip):
        trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    text = "".join(traceback.format_exception(type(error), error, trace))
    return {"error": {"kind": type(error).__name__, "message": str(error), "traceback": text}}

def load():
    import base64, pickle
    if VALUE_PATH is None:
        return pickle.loads(base64.b64decode(VALUE))
    with open(VALUE_PATH, "rb") as file:
        return pickle.load(file)
"""

_GET = """
if NAME in namespace:
    send({"value": namespace[NAME]})
else:
    send({"missing": NAME})
"""

_SET = """
try:
    namespace[NAME] = load()
    outcome = {"value": None}
except Exception as error:
    outcome = failure(error, 1)
send(outcome)
"""

_CALL = """
import linecache
linecache.cache[FILE] = (len(SOURCE), None, SOURCE.splitlines(True), FILE)
try:
    scope = {"__name__": "__gpuyard_remote__"}
    exec(compile(SOURCE, FILE, "exec", flags=FLAGS, dont_inherit=True), scope)
    args, kwargs = load()
    outcome = {"value": scope[NAME](*args, **kwargs)}
except BaseException as error:
    outcome = failure(error, 1)
send(outcome)
"""


def getting(name: str) -> Parcel:
    return _parcel(_GET, {"NAME": _name(name)}, None)


def setting(name: str, value: object) -> Parcel:
    return _parcel(_SET, {"NAME": _name(name)}, _pickled(value, f"the value for {name!r}"))


def calling(function: Function, args: Sequence[object], kwargs: Mapping[str, object]) -> Parcel:
    constants = {
        "NAME": function.name,
        "SOURCE": function.source,
        "FILE": function.file,
        "FLAGS": _ANNOTATIONS_STAY_TEXT,
    }
    return _parcel(_CALL, constants, _pickled((tuple(args), dict(kwargs)), f"an argument of {function.name}()"))


def _parcel(work: str, constants: Mapping[str, object], value: bytes | None) -> Parcel:
    token = secrets.token_hex(8)
    outcome_path = f"/tmp/.gpuyard-{token}.outcome"  # noqa: S108 - the instance's own /tmp
    value_path = None
    if value is not None and len(value) > INLINE_BYTES:
        value_path = f"/tmp/.gpuyard-{token}.value"  # noqa: S108
    inline = base64.b64encode(value).decode() if value is not None and value_path is None else None
    scope = {**constants, "MIME": MIME, "OUTCOME": outcome_path, "VALUE_PATH": value_path, "VALUE": inline}
    given = ", ".join(f"{name!r}: {value!r}" for name, value in scope.items())
    code = f"exec({_SEND + work!r}, {{'namespace': globals(), {given}}})"
    return Parcel(code, outcome_path, value_path, value if value_path is not None and value is not None else b"")


def _name(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Invalid(f"{name!r} cannot be a variable", field="name", hint="letters, digits and _, no digit first")
    return name


def _pickled(value: object, what: str) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as problem:
        raise Invalid(f"{what} cannot be pickled: {problem}", hint="send what it is made of") from problem


def shown(displays: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The outcome among what a kernel displayed; None when it is in the file."""
    found = [content[MIME] for content in displays if MIME in content]
    return base64.b64decode(found[-1]) if found else None


def unpacked(outcome: bytes, what: str) -> Any:
    """The value. Raises RemoteError with the traceback from over there, or NotFound for a variable that is not there."""
    try:
        told = pickle.loads(outcome)  # noqa: S301 - see the top of this module
    except Exception as problem:
        raise RemoteError(
            f"{what} came back, but cannot be unpickled here: {type(problem).__name__}: {problem}",
            hint="the same packages are needed on both sides",
        ) from problem
    if "missing" in told:
        raise NotFound(f"the kernel has no variable {told['missing']!r}", field="name")
    if "error" in told:
        error = told["error"]
        message = f"{error['kind']}: {error['message']}" if error["message"] else str(error["kind"])
        hint = None
        if error["kind"] == "ModuleNotFoundError":
            hint = "install it in the instance: instance.shell('pip install …')"
        raise RemoteError(message, kind=error["kind"], remote_traceback=error["traceback"], hint=hint)
    return told["value"]


# ── Functions ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Function:
    """A function as text that stands alone."""

    name: str
    source: str
    """Padded, so that its line numbers are those of the file it came from."""
    file: str
    """What tracebacks call it: not the name of a file that may be there as well, with other lines."""


def function_of(function: Callable[..., object]) -> Function:
    """Raises Invalid for a function whose text is not all there is to it, naming what it takes from outside."""
    function = inspect.unwrap(function)
    name = getattr(function, "__name__", repr(function))
    if not inspect.isfunction(function) or name == "<lambda>":
        raise Invalid(f"{name} cannot be sent", hint="write it as a function with def")
    try:
        lines, start = inspect.getsourcelines(function)
    except (OSError, TypeError) as problem:
        raise Invalid(
            f"the source of {name}() is not to be found", hint="define it in a file or in a notebook"
        ) from problem
    text = textwrap.dedent("".join(lines))
    tree = ast.parse(text).body[0]
    if not isinstance(tree, ast.FunctionDef):
        what = "an async function" if isinstance(tree, ast.AsyncFunctionDef) else "no function"
        raise Invalid(f"{name} is {what}", hint="write it with def; inside it, asyncio.run() runs what is async")
    body = "".join(text.splitlines(keepends=True)[tree.lineno - 1 :])
    _refuse_captures(name, body)
    padding = "\n" * (start + tree.lineno - 2)
    return Function(tree.name, padding + body, f"remote:{inspect.getsourcefile(function) or name}")


def _refuse_captures(name: str, source: str) -> None:
    captured = sorted(set(_outside_names(name, source)))
    if captured:
        raise Invalid(
            f"{name}() uses {', '.join(captured)} from outside of itself, which does not travel with it",
            details={"captured": captured},
            hint="import inside the function, and pass what it needs as arguments",
        )


def _outside_names(name: str, source: str) -> Iterator[str]:
    table = symtable.symtable(f"from __future__ import annotations\n{source}", name, "exec")
    known = {name, "annotations", *dir(builtins), "__name__", "__file__"}
    made: set[str] = set()
    used: set[str] = set()
    todo = [table]
    while todo:
        scope = todo.pop()
        todo.extend(scope.get_children())
        for symbol in scope.get_symbols():
            if scope is not table and not symbol.is_global():
                continue
            if symbol.is_declared_global() and symbol.is_assigned():
                made.add(symbol.get_name())
            if symbol.is_referenced():
                used.add(symbol.get_name())
    yield from used - known - made
