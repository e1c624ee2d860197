"""The door: ``pollprog``, and ``python -m pollprog``.

Until pollprog holds its signals, Ctrl-C ends it as it ends any program: at once, and without a word. The interpreter would
tell of whatever it was importing; before it comes to the first line of ``scripts/pollprog``, it still does. Where SIGINT is ignored on our behalf, it stays so, for us and for the command.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line that was typed; the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pollprog import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
