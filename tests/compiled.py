"""A program that is none of a tool's own and yet passes for it: no script, and it holds the words by which its options are known."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from terminals import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
#include <unistd.h>
const char known[] = WORDS;
int main(int count, char **words) { return (void)count, execv(SCRIPT, words), 126; }
"""


def compiled(program: Path, script: str, words: str) -> str:
    """The path of a program that becomes this script, with the words that it is given. It takes gcc."""
    file = program.with_suffix(".script")
    file.write_text(script)
    file.chmod(0o755)
    options = [f'-DSCRIPT="{file}"', f'-DWORDS="{words}"']
    subprocess.run(["gcc", *options, "-xc", "-", "-o", program], input=CODE, text=True, check=True, timeout=PATIENCE)
    return str(program)
