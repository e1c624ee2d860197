"""Something to build with CMake in eight steps. With WANTED in the environment it takes as long as it takes to be told.

The first step waits for a first status in the file ``lines``, and the sixth for three of the source that is wanted.
"""

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


STEP = """\
waits() {
  tries=0
  until [ "$(grep -cs "$1" "$FOLDER/lines")" -ge "$2" ] || [ $((tries += 1)) -gt 200 ]; do sleep 0.1; done
}
FOLDER=$(dirname "$0")
case $WANTED$1 in ?*o1) waits state 1 ;; ?*o6) waits "\\"source\\":\\"$WANTED\\"" 3 ;; esac
echo makes $1 >&2
touch $1
"""


def configured(folder: Path, generator: str) -> None:
    """Have CMake write what builds it, into ``build``."""
    (folder / "CMakeLists.txt").write_text(LISTS)
    (folder / "step").write_text(STEP)
    words = ["cmake", "-S", str(folder), "-B", str(folder / "build"), "-G", generator]
    subprocess.run(words, check=True, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE)
