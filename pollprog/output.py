"""What pollprog prints on standard output: all of it, or one line that says why not.

It is written at once and past `sys.stdout`, so nothing is left over that the interpreter would try to write when it ends.
"""

from __future__ import annotations

import os
import re

from pollprog.errors import OperationError

__all__ = ["fitted", "show", "show_fitted"]

COLUMN = re.compile(r" *(?:\S+(?: \S+)* {2,})?")
"""What stands before the last column of a line."""


def show(text: str | bytes) -> None:
    """Write this as it is; text as UTF-8. BrokenPipeError if the reader went away, OperationError if it finds no room."""
    rest = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    try:
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:  # somebody who shares it has asked never to wait
                import select

                select.select([], [1], [])
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OperationError(f"cannot write to standard output: {error.strerror}") from error


def show_fitted(text: str) -> None:
    """Write a table, or help; in a terminal no line is broken within a word."""
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 0
    show(fitted(text, columns) if columns else text)


def fitted(text: str, columns: int) -> str:
    """The text with each line that is too long broken between words, and going on where its last column begins."""
    import textwrap

    lines = []
    for line in text.splitlines():
        found = COLUMN.match(line)
        indent = found.end() if found is not None else 0
        if len(line) < columns or indent > columns // 2:
            lines.append(line)
        else:
            lines += textwrap.wrap(line, columns - 1, subsequent_indent=" " * indent, break_on_hyphens=False)
    return "".join(f"{line}\n" for line in lines)
