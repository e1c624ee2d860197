"""A command that is heard in a terminal: it cannot tell, and neither can who reads it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminals import ENVIRONMENT, PATIENCE, Terminal, session

from pollprog.launch import is_stopped
from pollprog.probes.program import Whole
from pollprog.stand_in import Single, Untorn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLUGIN = """
from pollprog.probes.program import listening

class Talk:
    name = "talk"

    def recognise(self, command):
        return any(word.endswith("/talk") for word in command.argv[:2])

    def prepare(self, command):
        return listening(command, 1)

    def probe(self, target):
        from pollprog.probes.records import Records, Rule

        return Records(target, [Rule(rb"step (?P<current>\\d+)/(?P<total>\\d+)")], source="talk", streams=(1,))

TOOL = Talk()
"""
LESS = """
class Less:
    def passing(self, data):
        return data.replace(b"step 1/4\\n", b"")

    def end(self):
        return b""
"""
"""Takes out what is said to terminals only, for a test which sees that in one piece."""
RUN = "pollprog run --probe talk --interval 0.1 --progress none"


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program whose words are heard; what it does is still to be written."""
    (tmp_path / "talk_plugin.py").write_text(PLUGIN)
    (tmp_path / "talk-1.dist-info").mkdir()
    (tmp_path / "talk-1.dist-info/entry_points.txt").write_text("[pollprog.probes]\ntalk = talk_plugin:TOOL\n")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    return tmp_path / "talk"


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(12, 70)
    yield terminal
    terminal.close()


def says(talk: Path, script: str) -> str:
    """Have it do this; what to type to run it."""
    talk.write_text(f"#!/bin/bash\n{dedent(script)}")
    talk.chmod(0o755)
    return shlex.quote(str(talk))


def seen(command: str) -> bytes:
    """All that a terminal gets of a command, and of its exit status."""
    terminal = Terminal(12, 70)
    try:
        terminal.run(
            "bash", "-c", f"{command}; status=$?; wait $!; echo status $status"
        )  # the wait is for `{ …; } > >(cat)`
        assert terminal.wait_end() == 0
        return terminal.seen
    finally:
        terminal.close()


MANNERS = r"""
for stream in 0 1 2; do test -t $stream; echo $stream $?; done
stty size <&1; stty size <&2; stty -a <&2 | grep opost
printf 'one\r\ntwo\ttab\n\e[1mbold\e[0m \xe2\x96\x88 \e]0;title\a' >&2
for number in 1 2 3 4 5; do echo out $number; echo err $number >&2; done
printf 'no end'
exit 7
"""


@pytest.mark.parametrize(
    "place", ["", "2>err", ">out", "2>&1 | cat", "> >(cat) 2>&1", "</dev/null", "3>&1", ">/dev/tty"]
)
def test_what_it_writes_arrives_byte_for_byte_in_its_order(talk: Path, place: str, tmp_path: Path) -> None:
    command = says(talk, MANNERS)
    plain, heard = (seen(f"cd {tmp_path}; set -o pipefail; {{ {before} {command}; }} {place}") for before in ("", RUN))
    assert b"status 7" in plain
    assert heard == plain


@pytest.mark.parametrize("place", ["2>err", ">out 2>err", "2>&1 | cat", ">out 2>&1", "2>/dev/null", "2>&-", ""])
def test_one_that_speaks_to_terminals_only_has_one_where_its_words_go_elsewhere(
    talk: Path, place: str, tmp_path: Path
) -> None:
    (tmp_path / "talk_plugin.py").write_text(
        PLUGIN.replace("listening(command, 1)", "command.hearing_as_terminal(2, Less())") + LESS
    )
    told = "test -t 2 && echo step 1/4 >&2 && touch was\n"
    command = says(
        talk,
        told
        + r"printf 'one\r\ntwo\ttab\n\0\e[1mbold \xe2\x96\x88\xe2 \x04\x1a\x7f' >&2; head -c 99999 /dev/zero >&2; exit 7",
    )
    got = []
    for before in ("", RUN):
        seen_of_it = seen(f"cd {tmp_path}; rm -f out err; set -o pipefail; {before} {command} {place}")
        got.append(
            [seen_of_it, *((tmp_path / name).read_bytes() for name in ("out", "err") if (tmp_path / name).exists())]
        )
    assert b"status 7" in got[0][0]
    assert got[1] == got[0]
    assert (tmp_path / "was").exists() is (place in ("2>err", ">out 2>err", "2>/dev/null", ""))


@pytest.mark.parametrize("settings", ["opost", "-opost", "-onlcr", "ocrnl", "tab3"])
def test_however_the_terminal_is_set_what_it_shows_is_the_same(talk: Path, settings: str, tmp_path: Path) -> None:
    command = says(talk, MANNERS.replace("7", "3", 1))
    plain, heard = (seen(f"stty {settings}; cd {tmp_path}; {before} {command}") for before in ("", RUN))
    if settings in ("-onlcr", "ocrnl", "tab3"):  # there the terminal alone does it, and the command may see that
        plain, heard = (re.sub(rb"-?opost[^\n]*", b"", text) for text in (plain, heard))
    assert heard == plain


def test_with_a_bar_below_it_all_of_it_is_on_the_screen(talk: Path, terminal: Terminal, tmp_path: Path) -> None:
    command = says(talk, f"echo first; echo step 1/4; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo last words")
    terminal.run("sh", "-c", f"pollprog run --probe talk --interval 0.1 {command}")
    terminal.wait(lambda rows: " 25 %" in rows[-1] and rows[:2] == ["first", "step 1/4"])
    (tmp_path / "go").touch()
    assert terminal.wait_end() == 0
    assert terminal.rows()[:4] == ["first", "step 1/4", "last words", ""]


@pytest.mark.parametrize("place", ["", "2>&1 | cat", "2>err"])
def test_it_is_heard(talk: Path, terminal: Terminal, place: str, tmp_path: Path) -> None:
    command = says(talk, f"for n in 1 2; do echo step $n/4; done; until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    terminal.run("bash", "-c", f"cd {tmp_path}; {RUN} --progress-fd 9 {command} 9>lines {place}")
    terminal.wait(lambda _: (tmp_path / "lines").exists() and "talk" in (tmp_path / "lines").read_text())
    (tmp_path / "go").touch()
    assert terminal.wait_end() == 0
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert {(line["current"], line["total"], line["source"]) for line in lines[:-1]} == {(2, 4, "talk")}


def test_a_question_is_asked_and_answered(talk: Path, terminal: Terminal) -> None:
    command = says(talk, "read -p 'Your name? ' name; read -s -p 'Password: ' word </dev/tty; echo; echo $name/$word")
    terminal.run("sh", "-c", f"{RUN} {command}")
    terminal.wait(lambda rows: rows[0] == "Your name?")
    terminal.type("Ada\n")
    terminal.wait(lambda rows: rows[1].startswith("Password:"))
    terminal.type("secret\n")
    assert terminal.wait_end() == 0
    assert terminal.rows()[:3] == ["Your name? Ada", "Password:", "Ada/secret"]


SIZES = """
import os, signal
signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"%d %d\\n" % os.get_terminal_size(1)))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def test_it_is_told_of_another_size_and_finds_that(talk: Path, terminal: Terminal) -> None:
    command = says(talk, f"exec -a {talk} {sys.executable} -ISc {shlex.quote(SIZES)}")
    terminal.run("sh", "-c", f"{RUN} {command}")
    terminal.wait(lambda rows: rows[0] == "ready")
    terminal.resize(15, 50)
    terminal.wait(lambda rows: "50 15" in rows)


def test_it_is_stopped_and_goes_on_as_without_us(talk: Path, terminal: Terminal, tmp_path: Path) -> None:
    command = says(talk, f"echo begun; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo done")
    terminal.bash()
    terminal.type(f"{RUN} {command}\n")
    terminal.wait(lambda rows: "begun" in rows)
    terminal.type("\x1a")
    terminal.wait(lambda rows: any("Stopped" in row for row in rows))
    (tmp_path / "go").touch()
    terminal.type("clear; fg\n")
    rows = terminal.wait(lambda rows: "done" in rows and any(row.endswith("$") for row in rows))
    assert rows.count("done") == 1


def test_in_the_background_it_is_stopped_by_what_it_writes_where_the_terminal_wants_that(
    talk: Path, terminal: Terminal, tmp_path: Path
) -> None:
    command = says(talk, f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo first; echo done")
    terminal.bash()
    terminal.type(f"stty tostop; {RUN} {command} &\n")
    terminal.wait(lambda rows: any(row.startswith("[1]") for row in rows))
    (tmp_path / "go").touch()
    terminal.wait(lambda _: any(is_stopped(pid) for pid in session(terminal.leader)))
    terminal.type("clear; fg\n")
    rows = terminal.wait(lambda rows: "done" in rows and any(row.endswith("$") for row in rows))
    assert (rows.count("first"), rows.count("done")) == (1, 1)


def test_what_it_writes_waits_for_a_terminal_that_is_held(talk: Path, terminal: Terminal, tmp_path: Path) -> None:
    command = says(talk, f"echo ready; until [ -e {tmp_path}/go ]; do sleep 0.05; done; seq 5000; echo err >&2")
    terminal.run("sh", "-c", f"{RUN} {command}")
    terminal.wait(lambda rows: rows[0] == "ready")
    terminal.type("\x13")
    (tmp_path / "go").touch()
    terminal.type("\x11")
    assert terminal.wait_end() == 0
    numbers = b"".join(b"%d\r\n" % number for number in range(1, 5001))
    assert terminal.seen.endswith(numbers + b"err\r\n")


def test_ctrl_c_ends_one_that_does_not_stop_writing(talk: Path, terminal: Terminal) -> None:
    command = says(talk, "while true; do echo words; sleep 0.01; done")
    terminal.bash()
    terminal.type(f"{RUN} {command}\n")
    terminal.wait(lambda rows: rows[-2] == "words")
    terminal.type("\x03")
    terminal.wait(lambda rows: any(row.endswith("$") for row in rows))
    terminal.type("echo status $?\n")
    terminal.wait(lambda rows: "status 130" in rows)


@pytest.mark.tool("unshare", "mount")
def test_where_there_is_no_pseudoterminal_it_has_the_terminal_itself(talk: Path, terminal: Terminal) -> None:
    command = says(talk, "test -t 1 && echo words; exit 5")
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no user namespaces")
    script = f"mount -t tmpfs none /dev/pts && mount --bind /dev/null /dev/ptmx; {RUN} {command}; echo status $?"
    terminal.run(*alone, "bash", "-c", script)
    assert terminal.wait_end() == 0
    said, *rows = terminal.rows()
    assert "the plugin for talk, which is left out" in said
    assert [row for row in rows if row][-2:] == ["words", "status 5"]


def test_ctrl_c_reaches_it_once(talk: Path, terminal: Terminal) -> None:
    command = says(talk, "trap 'echo heard; n=1' INT; echo ready; until [ $n ]; do sleep 0.05; done; sleep 0.3; exit 4")
    terminal.run("bash", "-c", f"{RUN} {command}; echo status $?")
    terminal.wait(lambda rows: rows[0] == "ready")
    terminal.type("\x03")
    terminal.wait(lambda rows: "heard" in "".join(rows))
    terminal.wait(lambda rows: "status" in "".join(rows) or not os.path.exists(f"/proc/{terminal.leader}/exe"))
    assert "".join(terminal.rows()).count("heard") == 1


def test_what_outlives_it_and_keeps_the_terminal_holds_nobody_up(talk: Path, terminal: Terminal) -> None:
    command = says(talk, "sleep 60 & echo last")
    terminal.run("sh", "-c", f"{RUN} {command}")
    assert terminal.wait_end() == 0
    assert terminal.rows()[0] == "last"


def test_a_closed_window_ends_it_as_it_would(talk: Path, terminal: Terminal, tmp_path: Path) -> None:
    command = says(talk, f"trap 'echo hung up >{tmp_path}/log; exit' HUP; echo ready; while true; do sleep 0.05; done")
    process = terminal.run("sh", "-c", f"exec {RUN} {command}")
    terminal.wait(lambda rows: rows[0] == "ready")
    os.close(terminal.slave)
    terminal.slave = -1
    terminal.hang_up()
    process.wait(PATIENCE)
    assert (tmp_path / "log").read_text() == "hung up\n"


def test_if_we_are_killed_it_loses_the_terminal_and_goes_on(talk: Path, terminal: Terminal, tmp_path: Path) -> None:
    script = f"echo by $PPID; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo lost; echo done >{tmp_path}/log"
    terminal.run("sh", "-c", f"{RUN} {says(talk, script)}; echo status $?; sleep 60")
    rows = terminal.wait(lambda rows: rows[0].startswith("by "))
    os.kill(int(rows[0].split()[1]), signal.SIGKILL)
    terminal.wait(lambda rows: "status 137" in rows)
    (tmp_path / "go").touch()
    terminal.wait(lambda _: (tmp_path / "log").exists())
    assert "lost" not in terminal.rows()


def test_a_command_that_is_not_to_be_prepared_has_the_terminal_itself(talk: Path, terminal: Terminal) -> None:
    command = says(talk, "readlink /proc/$$/fd/1")
    terminal.run("bash", "-c", f"readlink /proc/$$/fd/1; {RUN} --no-prepare {command}; {RUN} {command}")
    assert terminal.wait_end() == 0
    itself, unprepared, prepared = terminal.rows()[:3]
    assert itself == unprepared != prepared


WHOLE = [
    b"plain",
    b"\n",
    b"\x1b[1;31m",
    "█▍é…".encode(),
    b"\x1b]0;title\x07",
    b"\x1b(B",
    b"\x1b7",
    b"\x1b[?25l",
    b"\x1bPq\x1b\\",
]


@given(st.lists(st.sampled_from(WHOLE)), st.integers(1, 7))
def test_nothing_is_torn_however_it_comes(parts: list[bytes], size: int) -> None:
    data, ends, whole = b"".join(parts), {0}, b""
    for part in parts:
        pieces = [part] if part.startswith(b"\x1b") else [letter.encode() for letter in part.decode()]
        for piece in pieces:
            whole += piece
            ends.add(len(whole))
    through, passed = Untorn(Whole()), 0
    for at in range(0, len(data), size):
        passed += len(through.passing(data[at : at + size]))
        assert passed in ends
    assert passed == len(data)


@given(st.binary(), st.integers(1, 7))
def test_nothing_is_lost_whatever_comes(data: bytes, size: int) -> None:
    through = Untorn(Whole())
    assert (
        b"".join([*(through.passing(data[at : at + size]) for at in range(0, len(data), size)), through.end()]) == data
    )


def test_what_is_torn_for_good_is_let_go_when_nothing_comes() -> None:
    through = Untorn(Whole())
    assert through.passing(b"a\x1b[3") == b"a"
    assert through.passing(b"") == b"\x1b[3"
    assert through.end() == b""


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"words", b"\t"])), st.integers(1, 4))
def test_what_a_terminal_adds_to_newlines_is_taken_out(pieces: list[bytes], size: int) -> None:
    ours, theirs = os.openpty()  # which does that, as terminals do
    try:
        single = Single(ours)
    finally:
        os.close(ours)
        os.close(theirs)
    written = b"".join(pieces)
    data = written.replace(b"\n", b"\r\n")
    passed = [single.passing(data[at : at + size]) for at in range(0, len(data), size)]
    assert b"".join([*passed, single.rest()]) == written
    assert single.rest() == b""
