"""A program that is slower than it is, so that there is something to be told: one kind of its system calls takes longer.

Nobody but that program is slowed, and nobody stops it, as a debugger would: what stands still is told as paused.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from terminals import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

CALLS = {
    "fallocate": "int fallocate{}(int a, int b, off_t c, off_t d) {{ return slow(), syscall(SYS_fallocate, a, b, c, d); }}",
    "lseek": "off_t lseek{}(int a, off_t b, int c) {{ return slow(), syscall(SYS_lseek, a, b, c); }}",
    "open": "int open{}(const char *a, int b, int c) {{ return slow(), syscall(SYS_openat, -100, a, b, c); }}",
    "pread": "ssize_t pread{}(int a, void *b, size_t c, off_t d) {{ return c < LEAST ? (void)0 : slow(), syscall(SYS_pread64, a, b, c, d); }}",
    "pwrite": "ssize_t pwrite{}(int a, const void *b, size_t c, off_t d) {{ return c < LEAST ? (void)0 : slow(), syscall(SYS_pwrite64, a, b, c, d); }}",
    "recv": "ssize_t recv{}(int a, void *b, size_t c, int d) {{ return slow(), syscall(SYS_recvfrom, a, b, c, d, 0, 0); }}",
    "send": "ssize_t send{}(int a, const void *b, size_t c, int d) {{ return slow(), syscall(SYS_sendto, a, b, c, d, 0, 0); }}",
}
BEGIN = """
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
extern char *program_invocation_short_name;
long syscall(long number, ...);
static void slow(void) { if (!strcmp(program_invocation_short_name, PROGRAM)) usleep(MICROSECONDS); }
"""


def slowed(folder: Path, program: str, call: str, microseconds: int, *, least: int = 0) -> str:
    """The words before a command that make each such call of this program take so much longer. It takes gcc.

    `least`: calls of ``pread`` and ``pwrite`` for fewer bytes are as fast as ever.
    """
    code = BEGIN + "\n".join(CALLS[call].format(wide) for wide in ("", "64"))
    library = folder / "slow.so"
    values = [f'-DPROGRAM="{program}"', f"-DMICROSECONDS={microseconds}", f"-DLEAST={least}"]
    words = ["gcc", "-shared", "-fPIC", "-w", *values, "-xc", "-"]
    subprocess.run([*words, "-o", library], input=code, text=True, check=True, timeout=PATIENCE)
    return f"LD_PRELOAD={shlex.quote(str(library))}"
