"""What the README says, done: its commands, its probes, its JSON."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pollprog import tools, wording
from pollprog.arguments import parse
from pollprog.status import Bound, State, Status, Unit

REPO = Path(__file__).parent.parent
README = (REPO / "README.md").read_text()
POLLPROG = [sys.executable, "-m", "pollprog"]


def typed() -> list[str]:
    """Every line of the README that a user types, beginning with pollprog."""
    return [line.strip() for line in README.splitlines() if line.startswith("    pollprog ")]


@pytest.mark.parametrize("line", typed())
def test_each_command_line_of_the_readme_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = [word for word in words if not re.match(r"\d?>", word)]
    if words[0] == "attach" and words[1].startswith("$("):
        words = ["attach", "4711"]
    for i, word in enumerate(words):
        if word == "--progress-fd":
            words[i + 1] = "2"
    arguments = parse(words)
    assert arguments.command == words[0]


def test_the_first_example_copies_a_file_and_ends_as_cp_does(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(os.urandom(1 << 20))
    (tmp_path / "backup").mkdir()
    ran = subprocess.run(
        [*POLLPROG, "run", "--", "cp", "disk.img", "backup/"], cwd=tmp_path, capture_output=True, start_new_session=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert (tmp_path / "backup/disk.img").read_bytes() == (tmp_path / "disk.img").read_bytes()


def test_the_script_example_ends_with_the_line_that_the_readme_shows(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(os.urandom(1 << 20))
    line = "exec " + shlex.join(POLLPROG) + " run --progress-fd 3 -- cp disk.img copy.img 3>progress.jsonl"
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    told = [json.loads(text) for text in (tmp_path / "progress.jsonl").read_text().splitlines()]
    shown = [json.loads(text) for text in README.splitlines() if text.startswith('{"v":1')]
    assert [list(told[-1])] == [list(shown[-1])]
    assert told[-1]["state"] == shown[-1]["state"] == "succeeded"


def test_the_json_of_the_readme_has_the_fields_that_are_written() -> None:
    shown = [json.loads(text) for text in README.splitlines() if text.startswith('{"v":1')]
    going = Status(
        job="cp-4711", seq=7, state=State.RUNNING, current=1, total=4, unit=Unit.BYTES, phase="", fraction=0.25, rate=1.0,
        remaining=3.0, low=2.0, high=4.0, elapsed=1.0, age=0.0, idle=0.0, moving=True, stalled=False, finishing=False,
        source="evidence", bound=Bound.EXACT,
    )  # fmt: skip
    assert list(json.loads(wording.json_line(going))) == list(shown[0])
    documented = (REPO / "docs/json.md").read_text()
    for name in {*shown[0], *shown[1]}:
        assert f"`{name}`" in documented, name


def test_every_probe_is_in_the_table_of_the_readme() -> None:
    table = set(re.findall(r"^\| `(\w+)", README, re.MULTILINE))
    assert set(tools.PROBES) - set(tools.OURS) <= table  # of the tools there are too many
    listed = subprocess.run([*POLLPROG, "probes"], capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in listed.splitlines()} == {*tools.PROBES, *tools.RESOURCES}


def test_every_page_that_the_readme_names_is_there_and_every_page_can_be_found() -> None:
    pages = {*re.findall(r"\]\(((?:docs|clients)/[\w/.-]+)\)", README)}
    assert all((REPO / page).is_file() for page in pages), pages
    everywhere = README + "".join((REPO / page).read_text() for page in pages)
    for page in (REPO / "docs").glob("*.md"):
        assert f"({page.name})" in everywhere or f"(docs/{page.name})" in everywhere, page.name


def test_the_figures_of_the_readme_are_those_of_their_page() -> None:
    def table(text: str) -> list[list[str]]:
        rows = [row.strip("|").split("|") for row in text.splitlines() if row.startswith("| ")]
        return [[cell.strip() for cell in row] for row in rows]

    figures = table((REPO / "docs/figures.md").read_text())
    shown = table(README[README.index("## Figures") : README.index("## For developers")])[1:]
    assert len(shown) > 5
    for what, measured in shown:
        (row,) = [row for row in figures if what.startswith(re.split(r",| with a callback", row[0])[0])]
        assert row[2].startswith(measured), what


def test_every_target_of_the_makefile_that_the_readme_names_is_there() -> None:
    makefile = (REPO / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)\b", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
