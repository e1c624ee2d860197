"""Something to build with CMake, which takes as long as PAUSE in the environment says for each of its eight steps."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from terminals import ENVIRONMENT, PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

LISTS = """\
cmake_minimum_required(VERSION 3.10)
project(x NONE)
foreach(i RANGE 1 8)
  add_custom_command(OUTPUT o${i} COMMAND sh ${CMAKE_SOURCE_DIR}/step o${i})
  add_custom_target(t${i} ALL DEPENDS o${i})
endforeach()
"""


def configured(folder: Path, generator: str) -> None:
    """Have CMake write what builds it, into ``build``."""
    (folder / "CMakeLists.txt").write_text(LISTS)
    (folder / "step").write_text("sleep ${PAUSE:-0}\necho makes $1 >&2\ntouch $1\n")
    words = ["cmake", "-S", str(folder), "-B", str(folder / "build"), "-G", generator]
    subprocess.run(words, check=True, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE)
