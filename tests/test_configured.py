"""Operations of the configuration: what they become, what is wrong with them, and that they run as they are written."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from compiled import compiled
from daemons import serving
from descriptions import Understood
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog import daemon
from pollprog.catalogue import catalogue
from pollprog.config import Configuration, Configured, parse
from pollprog.configured import Declaration, operations_of, probe_of, total_of
from pollprog.errors import ConfigurationError, InvalidParameter
from pollprog.placeholders import argument
from pollprog.sizes import Directory
from pollprog.varlink import decode

if TYPE_CHECKING:
    from pathlib import Path

BACKUP = """
[operations.Backup]
description = "Bring a folder away."
argv = ["tool", "--level={level:1|6|9}", "-n", "{count:integer}", "{from:path}", "{to:path}", "{from}/{name:string}"]
total = "{most:size}"
probe = "filesize:{to}"
help = { from = "What.", level = "How well." }
defaults = { level = "6", count = 3, most = "4G" }
"""


def one(text: str) -> Any:
    """The one operation of a configuration."""
    (operation,) = operations_of(parse(text, "here.toml"))
    return operation


def test_a_table_becomes_an_operation_like_ours() -> None:
    operation = one(BACKUP)
    assert (operation.name, operation.doc, operation.origin, operation.progress) == (
        "Backup",
        "Bring a folder away.",
        "configuration",
        True,
    )
    assert [(p.name, p.kind, p.doc, p.required, p.default) for p in operation.parameters] == [
        ("level", "choice", "How well.", False, "6"),
        ("count", "integer", "", False, 3),
        ("from", "path", "What.", True, None),
        ("to", "path", "", True, None),
        ("name", "string", "", True, None),
        ("most", "size", "", False, 4 << 30),
    ]


def test_it_is_in_the_description_like_ours() -> None:
    understood = Understood(daemon.interface_of(catalogue(parse(BACKUP, "here.toml"))).description)
    assert understood.fields("Backup") == {
        "level": "?string",
        "count": "?int",
        "from": "string",
        "to": "string",
        "name": "string",
        "most": "?int",
        "job": "?string",
        "interval": "?float",
    }
    assert understood.fields("Backup", "out_type") == {"status": "?Status", "result": "?Ran"}
    assert understood.marked("Backup") == "Supports"
    assert 'Bring a folder away. [Supports \'more\' flag] How well. One of "1", "6", "9". What.' in understood.comments(
        "Backup"
    )


def test_a_path_reaches_the_command_as_it_came() -> None:
    operation = one(BACKUP)
    given = decode(b'{"from":"/a//b/","to":"/c/../d","name":"x"}', operation.struct)
    assert operation.arguments(given)["from"] == "/a//b/"
    assert operation.title(operation.arguments(given)) == "Backup /a//b/ /c/../d x"


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"level": "7"}, "level"),
        ({"count": "3"}, "count"),
        ({"count": 1.5}, "count"),
        ({"most": -1}, "most"),
        ({"name": ["a", "b"]}, "name"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_value_of_another_type_is_refused(given: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        decode(msgspec.json.encode({"from": "/a", "to": "/b", "name": "x", **given}), one(BACKUP).struct)
    assert caught.value.parameter == parameter


A = "[operations.A]\nargv = ['x'"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[operations.backup]\nargv = ['x']", "1: operations.backup: an operation's name begins with a capital"),
        ("[operations.'Back-up']\nargv = ['x']", "1: operations.Back-up: an operation's name"),
        ("[operations.A]\nargv = ['']", "2: operations.A.argv: the program stands first"),
        ("[operations.A]\nargv = ['{x:string}']", "2: operations.A.argv: the program stands first"),
        ("[operations.A]\nargv = ['/bin/{x:string}']", "2: operations.A.argv: the program stands first"),
        (A + ", '{x}']", "2: operations.A.argv: {x:}: a type is path, string, integer, size, or a choice of words"),
        (A + ", '{x:file}']", "2: operations.A.argv: {x:file}: a type is"),
        (A + ", '{x:a|}']", "2: operations.A.argv: {x:a|}: a type is"),
        (A + ", '{x:-a|b}']", "2: operations.A.argv: {x:-a|b}: a type is"),
        (A + ", '{x:path ']", "2: operations.A.argv: '{x:path ' has a single brace"),
        (A + ", '{x y:path}']", "2: operations.A.argv: '{x y:path}' is no placeholder"),
        (A + ", '{job:path}']", "2: operations.A.argv: {job}: every operation has job already"),
        (A + ", '{x:path}', '{x:string}']", "2: operations.A.argv: {x:string}: its type stands where it comes first"),
        (A + ', "a\\u0000"]', "2: operations.A.argv: there is a NUL character in it"),
        (A + ", '-{x:string}']", "2: operations.A.argv: '-{x:string}': a string there would choose the option"),
        (A + ", '--{x:string}=1']", "2: operations.A.argv: '--{x:string}=1': a string there would choose the option"),
        (A + ", '-{l:1|2}{x:string}']", "2: operations.A.argv: '-{l:1|2}{x:string}': a string there"),
        (A + "]\ndefaults = { x = 1 }", "3: operations.A.defaults.x: there is no placeholder {x}"),
        (A + "]\n[operations.A.help]\ny = ''\n", "4: operations.A.help.y: there is no placeholder {y}"),
        (A + ", '{x:integer}']\ndefaults.x = '1'", "3: operations.A.defaults.x: '1' does not fit {x:integer}: Expected int"),
        (A + ", '{x:path}']\ndefaults.x = 'a'", "3: operations.A.defaults.x: 'a' does not fit {x:path}: it has to be absolute"),
        (A + ", '{x:string}']\ndefaults.x = 1", "3: operations.A.defaults.x: 1 does not fit {x:string}"),
        (A + ", '{x:a|b}']\ndefaults.x = 'c'", "3: operations.A.defaults.x: 'c' does not fit {x:a|b}"),
        (A + ", '{x:size}']\ndefaults.x = 'big'", "3: operations.A.defaults.x: 'big' does not fit {x:size}: 'big' is not a size"),
        (A + ", '{x:size}']\ndefaults.x = 9223372036854775808", "3: operations.A.defaults.x: 9223372036854775808 does not fit"),
        (A + ", '{x:string}']\ndefaults.x = '-v'", "3: operations.A.defaults.x: x: '-v' begins with -"),
        (A + ', \'a{x:string}\']\ndefaults.x = "\\u0000"', "3: operations.A.defaults.x: x: no argument has a NUL"),
        (A + "]\nprobe = 'guess'", "3: operations.A.probe: there is no probe 'guess'"),
        (A + "]\nprobe = 'filesize'", "3: operations.A.probe: --probe 'filesize' cannot be"),
        (A + ", '{folder:path}']\ntotal = '@{foldr}'", "3: operations.A.total: argv has no {foldr}; there is {folder}"),
        (A + ", '{folder:path}', '{foldr}']", "2: operations.A.argv: {foldr} has no type: write {foldr:path}"),
        (A + "]\nprobe = 'filesize:{x}'", "3: operations.A.probe: {x:}: a type is"),
        (A + "]\ntotal = 'much'", "3: operations.A.total: 'much' is not a size"),
        (A + "]\ntotal = '@here'", "3: operations.A.total: what stands behind the @ has to be absolute"),
        (A + ", '{x:string}']\ntotal = '@{x}'", "3: operations.A.total: what stands behind the @ has to be absolute"),
        (A + "]\ntotal = '{x:size'", "3: operations.A.total: '{x:size' has a single brace"),
        (A + "]\ndirectory = 'here'", "3: operations.A.directory: it has to be absolute"),
        (A + ']\ndirectory = "/a\\u0000"', "3: operations.A.directory: it has to be absolute"),
        (A + "]\n[operations.A.environment]\n'A=B' = ''", "4: operations.A.environment.A=B: 'A=B' cannot be a variable"),
        (A + ']\nenvironment.LANG = "\\u0000"', "3: operations.A.environment.LANG: 'LANG' cannot be a variable"),
        ("[operations.Run]\nargv = ['x']", "1: operations.Run: pollprog has that name already; choose another"),
        ("[operations.List]\nargv = ['x']", "1: operations.List: pollprog has that name already"),
        ("[operations.Status]\nargv = ['x']", "1: operations.Status: pollprog has that name already"),
        ("[operations.Ran]\nargv = ['x']", "1: operations.Ran: pollprog has that name already"),
        ("[operations.NoSpace]\nargv = ['x']", "1: operations.NoSpace: pollprog has that name already"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line_with_its_place(text: str, line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        catalogue(parse(text, "here.toml"))
    assert str(caught.value).startswith(f"here.toml, line {line}")
    assert str(caught.value).isprintable()


# --- probe and total


def test_a_probe_is_filled_and_checked_at_the_call() -> None:
    assert probe_of("filesize:{to}", {"to": "/a"}) == "filesize:/a"
    assert probe_of(None, {}) is None
    with pytest.raises(InvalidParameter, match="probe: "):
        probe_of("filesize:{to}", {"to": ""})


def test_a_total_is_a_size_or_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert total_of("{x}", {"x": "12"}) == 12
    assert total_of("@{x}", {"x": f"{tmp_path}/file"}) == 5
    assert total_of("@{x}", {"x": str(tmp_path)}) == Directory(tmp_path)
    assert total_of(None, {}) is None
    with pytest.raises(InvalidParameter, match="total: 'much' is not a size"):
        total_of("{x}", {"x": "much"})


def test_a_total_that_cannot_be_measured_is_none_so_that_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in "empty", "none", "a\nb":
        assert total_of("@{x}", {"x": f"{tmp_path}/{name}"}) is None


# --- no option


KINDS = st.sampled_from(["path", "string", "integer", "size", "a|b", "1|x-y"])
LITERALS = st.text("-=a{}/ ", max_size=4)
TEMPLATES = st.lists(st.lists(st.tuples(LITERALS, KINDS | st.none()), min_size=1, max_size=3), min_size=1, max_size=4)
TEXT = st.text() | st.sampled_from(["-", "--", "-x", "--a=b", ""])


def escaped(literal: str) -> str:
    return literal.replace("{", "{{").replace("}", "}}")


@given(TEMPLATES, st.data())
@settings(deadline=None, max_examples=200)
def test_no_value_makes_an_option_or_another_number_of_arguments(
    templates: list[list[tuple[str, str | None]]], data: st.DataObject
) -> None:
    argv, values = ["tool"], {}
    for at, pieces in enumerate(templates):
        argv.append("")
        for part, (literal, kind) in enumerate(pieces):
            argv[-1] += escaped(literal) + (f"{{x{at}y{part}:{kind}}}" if kind else "")
            if kind:
                drawn = {
                    "path": TEXT.map(lambda text: f"/{text}"),
                    "string": TEXT,
                    "integer": st.integers(-(2**63), 2**63 - 1).map(str),
                    "size": st.integers(0, 2**63 - 1).map(str),
                }.get(kind, st.sampled_from(kind.split("|")))
                values[f"x{at}y{part}"] = data.draw(drawn)
    try:
        Declaration("A", Configured(argv), Configuration()).read()
        filled = [argument(text, values) for text in argv]
    except (ConfigurationError, InvalidParameter):
        return
    assert len(filled) == 1 + len(templates)
    for at, (pieces, whole) in enumerate(zip(templates, filled[1:], strict=True)):
        written = literals_before_a_placeholder(pieces)
        assert whole.startswith("-") == written.startswith("-"), at
        named = False  # the option has its whole name
        for literal, kind in pieces:
            named = named or "=" in literal
            assert not written.startswith("-") or kind != "string" or named


def literals_before_a_placeholder(pieces: list[tuple[str, str | None]]) -> str:
    """What is written down at the beginning of an argument."""
    written = ""
    for literal, kind in pieces:
        written += literal
        if kind:
            break
    return written


# --- running


ECHO = """
[operations.Tell]
argv = ["python3", "-c", "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), os.environ['WHO'], os.environ.get('HOME')]))",
        "{first:string}", "--second={second:string}", "-c{level:1|9}", "{file:path}", "{{}}", "{empty:string}"]
directory = "DIR"
environment = { WHO = "{nobody}" }
defaults = { empty = "", second = "2" }

[operations.Write]
argv = ["python3", "-c", '''
import sys, time
with open(sys.argv[1], "wb", 0) as file:
    for _ in range(10):
        file.write(bytes(100_000))
        time.sleep(0.05)
''', "{to:path}"]
probe = "filesize:{to}"
total = "{most:size}"

[operations.Broken]
argv = ["sh", "-c", "echo one; echo two >&2; exit 3"]

[operations.Missing]
argv = ["no-such-program-anywhere"]
"""


@pytest.mark.tool("python3")
def test_commands_of_the_configuration_run_as_they_are_written(tmp_path: Path) -> None:
    with serving(tmp_path, ECHO.replace("DIR", str(tmp_path))) as served:
        first = "a b\n$(id) `id` ; {file} * é"
        reply = served.call("Tell", first=first, level="9", file="/x/../y/")
        told, directory, who, home = json.loads(reply["result"]["output"])
        assert told == [first, "--second=2", "-c9", "/x/../y/", "{}", ""]
        assert (directory, who, home) == (str(tmp_path), "{nobody}", os.environ.get("HOME"))
        refused = served.call("Tell", first="-x", level="9", file="/")
        assert (refused["error"], refused["parameter"]) == ("org.varlink.service.InvalidParameter", "first")
        assert served.call("Tell", first="x", level="9", file="y")["error"].endswith(".PathNotAbsolute")
        failed = served.call("Broken")
        assert failed["error"] == "org.pollprog.operations.CommandFailed"
        assert (failed["exit"], failed["output"]) == (3, "one\ntwo\n")
        assert served.call("Missing")["error"].endswith(".CommandNotFound")


@pytest.mark.tool("python3")
def test_its_probe_and_its_total_are_what_the_caller_chose(tmp_path: Path) -> None:
    with serving(tmp_path, ECHO.replace("DIR", "/")) as served:
        *statuses, last = served.conversation("Write", {"to": f"{tmp_path}/made", "most": 1_000_000, "interval": 0.1})
        assert last == {"result": {"output": ""}}
        fractions = [reply["status"].get("fraction", 0.0) for reply in statuses]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        told = [reply["status"] for reply in statuses if "total" in reply["status"]]
        assert {status["total"] for status in told} == {1_000_000}
        assert {status["source"].partition(":")[0] for status in told} == {"filesize"}


@pytest.mark.tool("gcc")
def test_nothing_is_added_to_a_command_that_is_not_to_be_prepared(tmp_path: Path) -> None:
    program = compiled(tmp_path / "e2fsck", "#!/bin/sh\necho $*\n", "[-C fd]")
    table = f'argv = ["{program}", "image"]'
    with serving(tmp_path, f"[operations.With]\n{table}\n[operations.Without]\n{table}\nprepare = false\n") as served:
        assert served.call("Without")["result"]["output"] == "image\n"
        with_ = served.call("With")["result"]["output"].split()
        assert (with_[0], with_[2]) == ("-C", "image")
