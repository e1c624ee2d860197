"""What pollprog prints on standard output: all of it, or one line that says why not.

It is written at once and past `sys.stdout`, so nothing is left over that the interpreter would try to write when it ends.
"""

from __future__ import annotations

import os

from pollprog.errors import OperationError

__all__ = ["show"]


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
