"""Runs a program as `python FILE` would, with the current directory in front of `sys.path` instead of the file's own.

Started by path in the instance's interpreter; it must import nothing but what Python itself starts with.
"""

import sys


def _begin() -> None:
    path = sys.argv[1]
    main = sys.modules["__main__"]
    sys.argv = [path]
    sys.path[0] = ""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow to import
        source = file.read()

    def shown_without_us(kind, error, trace):  # type: ignore[no-untyped-def]
        # Setting it matters: what is printed is the exception's own traceback, not the argument.
        error.__traceback__ = trace and trace.tb_next and trace.tb_next.tb_next
        sys.__excepthook__(kind, error, error.__traceback__)

    sys.excepthook = shown_without_us
    names = main.__dict__
    names.update(__file__=path, __doc__=None)
    del names["_begin"]
    exec(compile(source, path, "exec"), names)  # noqa: S102 - this is what it is for


_begin()
