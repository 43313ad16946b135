"""The error tree: one stable code for each thing a caller can be told."""

from __future__ import annotations

import re

from gpuyard.domain import errors
from gpuyard.domain.errors import YardError, error_classes


def test_every_class_has_a_code_of_its_own() -> None:
    classes = list(error_classes())

    assert len({cls.code for cls in classes}) == len(classes)


def test_the_tree_drawn_at_the_top_of_the_module_is_the_tree() -> None:
    drawn = dict(re.findall(r"── (\w+) +(\w+)", errors.__doc__ or ""))

    assert drawn == {cls.__name__: cls.code for cls in error_classes() if cls is not YardError}


def test_an_error_reads_as_its_message() -> None:
    assert str(errors.NotFound("no instance 'fern'")) == "no instance 'fern'"
