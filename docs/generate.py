# ruff: noqa: INP001 - a script, not part of a package
"""Writes docs/operations.md from what the operations declare, and docs/tools.md from what the tools do: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from pollprog.catalogue import ours
from pollprog.daemon import RAISED
from pollprog.describing import reference
from pollprog.probes import table

HEAD = """\
# Operations

What a daemon can be asked for. This page is made from the declarations, by `python docs/generate.py`; a running daemon tells the
same of itself, with the operations that are its own:

    pollprog call                                             # all of them, in a line each
    pollprog call checksum path=/boot algorithm=sha512        # a call, with a bar

As a Varlink interface it is called `org.pollprog.operations`. A method that reports how far it is may be called with `more`: then
replies that have only `status` come first, each with `continues`, and the last one has `result`. Without `more` only the last one
comes. Closing the connection cancels the call that runs on it; what was submitted (`Submit`) goes on.

Every operation has two parameters beside its own: `job`, a name that you pick for the job, so that others can follow or cancel it, and
`interval`, the seconds between two statuses, 0.1 at least. Paths are absolute, sizes are in bytes.

You can add operations of your own: see [Wrap your own](wrap-your-own.md).
"""


def page() -> str:
    """The whole page."""
    return f"{HEAD}\n{reference(ours().values(), RAISED)}"


if __name__ == "__main__":
    Path(__file__).with_name("operations.md").write_text(page())
    Path(__file__).with_name("tools.md").write_text(table.page())
