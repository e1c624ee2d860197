"""The configuration file: what it says, and one line with file and line number for each way to be wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from children import NOBODY
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pollprog.config import LARGEST, Configuration, Service, default_path, line_of, load, parse
from pollprog.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """\
# Ours.
[daemon]
interval = 0.5
jobs = 3

[operations.Backup]
description = "Bring it away."
argv = [
  "rsync",
  "-a",
  "{source:path}",
]
total = "@{source}"
help = { source = "What." }

[operations.Backup.environment]
LANG = "C"
"""


def said(text: str) -> str:
    """What is said of this file, without its name."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "here.toml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("here.toml")
    return line.removeprefix("here.toml")


def test_a_file_is_read_with_all_that_it_says() -> None:
    configuration = parse(WHOLE, "here.toml")
    assert configuration.daemon == Service(interval=0.5, jobs=3)
    backup = configuration.operations["Backup"]
    assert backup.argv == ["rsync", "-a", "{source:path}"]
    assert (backup.total, backup.environment, backup.help) == ("@{source}", {"LANG": "C"}, {"source": "What."})


def test_an_empty_file_says_what_no_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == f"{tmp_path}/pollprog/config.toml"
    assert load() == Configuration(path=default_path())
    os.mkdir(tmp_path / "pollprog")
    (tmp_path / "pollprog/config.toml").write_bytes(b"")
    assert load() == Configuration(path=default_path())
    (tmp_path / "pollprog/config.toml").write_text("[daemon]\njobs = 7\n")
    assert load().daemon.jobs == 7


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[deamon]\n", ", line 1: deamon is no section: there are [daemon], [operations.NAME] and [tools.NAME]"),
        ("\n[daemon]\nintervall = 1\n", ", line 3: daemon.intervall: there is no such key; there are initial_delay, interval,"),
        ("[daemon]\n\ninterval = 'soon'\n", ", line 3: daemon.interval: expected float, got str"),
        ("[daemon]\ninterval = 0.05\n", ", line 2: daemon.interval: expected float >= 0.1"),
        ("[daemon]\ninterval = nan\n", ", line 2: daemon.interval: expected float >= 0.1"),
        ("[daemon]\ninterval = inf\n", ", line 2: daemon.interval: expected float <= 86400.0"),
        ("[daemon]\njobs = 1.5\n", ", line 2: daemon.jobs: expected int, got float"),
        ("[daemon]\njobs = true\n", ", line 2: daemon.jobs: expected int, got bool"),
        ("[daemon]\n'jobs' = 0\n", ", line 2: daemon.jobs: expected int >= 1"),
        ("daemon.jobs = 0\n", ", line 1: daemon.jobs: expected int >= 1"),
        ("daemon = 3\n", ", line 1: daemon: expected object, got int"),
        ("daemon = { jobs = 'x' }\n", ", line 1: daemon.jobs: expected int, got str"),
        ("\noperations = 3\n", ", line 2: operations are written as [operations.NAME]"),
        ("[operations]\nA = 3\n", ", line 2: operations.A: expected object, got int"),
        ("[[operations.A]]\nargv = ['x']\n", ", line 1: operations.A: expected object, got array"),
        ("[operations.A]\n", ", line 1: operations.A: object missing required field argv"),
        ("[operations.A]\nargv = []\n", ", line 2: operations.A.argv: expected array of length >= 1"),
        ("[operations.A]\nargv = 'ls -l'\n", ', line 2: operations.A.argv: expected a list, as in ["a", "b"], got str'),
        ("[operations.A]\nargv = [\n'ls',\n3]\n", ", line 2: operations.A.argv: expected str, got int"),
        ("[operations.A]\nargv = ['ls']\nargs = 1\n", ", line 3: operations.A.args: there is no such key; there are argv, d"),
        ("[operations . A]\nargv = ['ls']\nhelp.x = 1\n", ", line 3: operations.A.help: expected str, got int"),
        ("[operations.A]\nargv = ['ls']\n[operations.A.defaults]\nx = 1.5\n", ", line 3: operations.A.defaults: expected int"),
        ("[operations.A]\nargv = ['ls']\ntotal = 2024-01-01\n", ", line 3: operations.A.total: expected str | null, got date"),
        ("[operations.'a\\nb`c']\n\"x\\ny`\" = 1\n", ", line 1: operations.a"),
        ("a = 1\na = 2\n", ", line 2: cannot overwrite a value"),
        ("[daemon\n", ", line 1: expected ']' at the end of a table declaration"),
        ("[daemon]\ninterval =\n", ", line 2: invalid value"),
        ("x = '''\n\n", ", line 2: "),
        ("[daemon]\njobs = " + "9" * 5000, ", line 2: exceeds the limit"),
        ("\x00", ", line 1: invalid statement"),
        ("x = " + "[" * 100_000, ": something in it is nested too deeply"),
        ("x = " + "{a=" * 100_000, ": something in it is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_its_place(text: str, line: str) -> None:
    assert said(text).lower().startswith(line.lower())


def test_a_key_of_a_great_many_parts_takes_no_time_to_speak_of() -> None:
    assert said("[operations.A]\nargv = ['x']\nhelp" + ".a" * 2000 + " = 1\n").startswith(
        ", line 3: operations.A.help:"
    )


def test_a_line_is_found_where_the_key_is_and_not_where_something_looks_like_it() -> None:
    text = '''\
# jobs = 1
[operations.A]
argv = ["x", """
[daemon]
jobs = 2
""",
"jobs = 3"]
[daemon]
jobs = 4
'''
    assert line_of(text, "daemon.jobs") == 9
    assert line_of(text, "operations.A.argv") == 3
    assert line_of(text, "operations.A.total") == 2
    assert line_of(text, "elsewhere") == 1


# --- the file itself


def refused(path: Path) -> str:
    """Why a file is not read."""
    with pytest.raises(ConfigurationError) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_a_file_that_is_not_there_is_missed_only_if_it_was_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.toml") == ": there is no such configuration file"


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    assert refused(tmp_path) == ": cannot be read: it is a directory"


def test_a_fifo_that_nobody_writes_to_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path / "fifo") == ": cannot be read: it is not a regular file"


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    os.symlink("/dev/zero", tmp_path / "endless")
    assert refused(tmp_path / "endless") == ": cannot be read: it is not a regular file"


def test_a_file_that_is_much_too_large_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(10 * LARGEST)
    assert refused(tmp_path / "large") == f": cannot be read: it has more than {LARGEST} bytes"


def test_a_path_with_a_nul_is_refused_like_any_other(tmp_path: Path) -> None:
    assert refused(tmp_path / "a\0b").startswith(": cannot be read: ")


def test_what_is_not_utf_8_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes("# one\n# two\n# dö\n".encode("latin-1"))
    assert refused(tmp_path / "latin.toml") == ", line 3: this is not UTF-8, as TOML has to be"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_text("\ufeff[daemon]\r\njobs = 3\r\n")
    assert load(str(tmp_path / "marked.toml")).daemon.jobs == 3


def test_a_file_that_is_closed_to_us_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").touch(0)
    us = os.geteuid()
    os.seteuid(us or NOBODY)  # root may read everything
    try:
        assert refused(tmp_path / "closed") == ": cannot be read: permission denied"
    finally:
        os.seteuid(us)


def test_a_daemon_does_not_start_with_a_configuration_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[operations.List]\nargv = ['ls']\n")
    words = ["daemon", "--config", str(tmp_path / "c.toml"), "--socket", str(tmp_path / "sock")]
    ran = subprocess.run([sys.executable, "-m", "pollprog", *words], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [
        f"pollprog: {tmp_path}/c.toml, line 1: operations.List: pollprog has that name already; choose another"
    ]


# --- any text


WORDS = st.sampled_from(
    ["daemon", "operations", "A", "argv", "jobs", "interval", '"a b"', "'x.y'", "help", "total", "1"]
)
VALUES = st.sampled_from(
    ["1", "0.5", "'x'", '["a", "b"]', "true", "{a=1}", "{}", '"""\n[daemon]\n"""', "[\n1,\n]", "nan"]
)
LINES = (
    st.builds("[{}]".format, st.lists(WORDS, min_size=1, max_size=3).map(".".join))
    | st.builds("{} = {}".format, st.lists(WORDS, min_size=1, max_size=3).map(".".join), VALUES)
    | st.text(max_size=20)
)


def check_line(line: str, text: str) -> None:
    """It is one line, and names one of the text."""
    found = re.match(r"here\.toml(?:, line (\d+))?: ", line)
    assert found
    assert line.isprintable()
    assert 1 <= int(found[1] or 1) <= text.count("\n") + 1


@given(st.lists(LINES, max_size=8).map("\n".join))
@example('[operations."\x00\x1b"]')
@settings(deadline=None)
def test_any_text_is_a_configuration_or_is_refused_in_one_line(text: str) -> None:
    try:
        parse(text, "here.toml")
    except ConfigurationError as error:
        check_line(str(error), text)


@given(st.lists(LINES, max_size=8))
@settings(deadline=None)
def test_a_line_that_is_named_is_one_that_mentions_the_key(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    for name in told:
        if re.fullmatch(r"[\w -]+", name):
            assert name in text.split("\n")[line_of(text, name) - 1]
