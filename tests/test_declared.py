"""Tools that the configuration declares: found by name, checked to the last word, and heard as any other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from terminals import ENVIRONMENT, pollprog
from tool_runs import PLACES, gets, told

from pollprog import config, declared, tools
from pollprog.config import parse
from pollprog.errors import ConfigurationError, UsageError
from pollprog.launch import Command
from pollprog.probes.declared import DeclaredTool
from pollprog.probes.declared_probe import WithTotal, checked, filled
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPO = Path(__file__).parents[1]
EXAMPLE = (REPO / "examples/tools.toml").read_text()
TABLE = """\
[tools.counter]
programs = ["counter", "recount"]
stream = "stderr"
pattern = "(?P<current>[0-9]+)/(?P<total>[0-9]+) (?P<phase>[a-z]+)"
unit = "items"
bound = "lower"
"""
Declare = "Callable[[str], Path]"


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Write the configuration that is at the usual place: for this process, and for those that it starts."""
    folder = tmp_path / "settings"
    path = folder / "pollprog" / "config.toml"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setitem(ENVIRONMENT, "XDG_CONFIG_HOME", str(folder))

    def write(text: str) -> Path:
        path.write_text(text)
        declared.use("")
        return path

    declared.use("")
    yield write
    declared.use("")


def test_it_is_where_the_configuration_is(declare: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert declared.path() == str(declare("")) == config.default_path()
    for value in ("", " "):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert declared.path() == config.default_path()
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert declared.path() == config.default_path()


def test_a_table_is_found_by_its_programs_and_else_by_its_name(declare: Callable[[str], Path]) -> None:
    declare(TABLE + "[tools.other]\nstream = 'stdout'\n")
    assert list(declared.find(["recount"])) == list(declared.find(["no", "counter"])) == ["counter"]
    assert list(declared.find(["other"])) == ["other"]
    assert declared.find(["stderr"]) == declared.find([""]) == {}
    declare(TABLE.replace("recount", "again"))
    assert declared.find(["recount"]) == {}, "a file that was changed is read again"


@pytest.mark.parametrize(
    "text", ["[tools.counter\n", "tools = 'counter'\n", "[tools]\ncounter = 3\n", "\xff counter tools"]
)
def test_a_file_that_is_wrong_declares_nothing(text: str, declare: Callable[[str], Path]) -> None:
    declare("").write_bytes(text.encode("latin-1"))
    assert declared.find(["counter"]) == {}


def test_a_file_that_is_wrong_is_told_once_with_its_line(
    declare: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = declare(TABLE + "[tools.x\n")
    for _ in range(2):
        assert tools.offers(Command(["counter"])) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"the configuration declares no tools: {path}, line 7: expected ']' at the end of a table declaration"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.replace('["counter", "recount"]', '"recount"'), "line 2: tools.counter.programs: expected a list"),
        (TABLE.replace("programs", "program"), "line 2: tools.counter.program: there is no such key"),
        (TABLE.replace("tools.counter", "tool.counter"), "line 1: tool is no section: there are "),
    ],
)
def test_what_keeps_a_table_from_its_program_is_told_when_that_runs(
    text: str, said: str, declare: Callable[[str], Path], tmp_path: Path
) -> None:
    path = declare(text)
    (tmp_path / "recount").write_text("#!/bin/sh\nsleep 1\n")
    (tmp_path / "recount").chmod(0o755)
    done = pollprog("run", "--progress", "log", str(tmp_path / "recount"))
    assert [line for line in done.stderr.splitlines() if f"{path}, {said}" in line]


def test_it_comes_before_plugins(declare: Callable[[str], Path]) -> None:
    declare(TABLE.replace("recount", "xz"))
    assert [name for name, _ in tools.offers(Command(["xz", "a"]))] == ["tools.counter", "xz"]
    found = tools.find(Command(["xz", "a"]))
    assert isinstance(found, DeclaredTool)


def test_it_can_be_named(declare: Callable[[str], Path]) -> None:
    declare(TABLE)
    tools.check("counter")
    assert tools.is_tool("counter")
    assert isinstance(tools.named("counter"), DeclaredTool)
    with pytest.raises(UsageError):
        tools.check("counter:1")


def test_a_running_script_is_known_by_its_name() -> None:
    tool = DeclaredTool("counter", {})
    for words in (["python3", "/opt/counter"], ["python3", "-sP", "/opt/counter"], ["/bin/sh", "./counter", "x"]):
        assert tool.recognise(Command(words, executable="/usr/bin/python3.11")), words
        assert not tool.recognise(Command(words)), words
    for words in (["sh", "-c", "/opt/counter"], ["sh", "counter"], ["sh"], ["python3", "-m", "a/counter"]):
        assert not tool.recognise(Command(words, executable="/bin/dash")), words


# --- before the command starts


def test_a_status_descriptor_is_told_where_the_table_says() -> None:
    tool = DeclaredTool("x", {"status": ["--status-fd", "{fd}"]})
    command = tool.prepare(Command(["x", "a"]))
    assert command.status is not None
    assert list(command.status(command.argv, 7)) == ["x", "--status-fd", "7", "a"]
    tool = DeclaredTool("x", {"status": ["--fd={fd}"], "after": "create"})
    command = tool.prepare(Command(["x", "-v", "create", "a"]))
    assert command.status is not None
    assert list(command.status(command.argv, 7)) == ["x", "-v", "create", "--fd=7", "a"]
    assert tool.prepare(Command(["x", "list"])).status is None


@pytest.mark.parametrize("word", ["--status-fd", "--status-fd=3", "--stat"])
def test_the_users_own_option_wins(word: str) -> None:
    assert DeclaredTool("x", {"status": ["--status-fd", "{fd}"]}).prepare(Command(["x", word, "a"])).status is None


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"status": "-C {fd}"},
        {"status": [1, "{fd}"]},
        {"status": ["-C"]},
        {"stream": 2},
        {"stream": "both"},
        {"after": 1},
    ],
)
def test_a_table_that_is_wrong_adds_nothing(table: dict[str, object]) -> None:
    command = Command(["x", "a"])
    assert DeclaredTool("x", {"programs": [3], **table}).prepare(command) is command


def test_nothing_is_parsed_for_a_program_that_is_not_in_the_file(declare: Callable[[str], Path]) -> None:
    declare(TABLE)
    code = (
        "import sys; sys.modules.pop('tomllib', None);"  # a coverage run has loaded it
        "from pollprog import tools; from pollprog.launch import Command;"
        "tools.find(Command([sys.argv[1], 'a', 'b'])); print(*sys.modules)"
    )
    loaded = {
        name: subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, check=True
        ).stdout.split()
        for name in ("cp", "counter")
    }
    assert "tomllib" not in loaded["cp"]
    assert "tomllib" in loaded["counter"]
    assert "msgspec" not in loaded["counter"]


# --- the example, and the page


def test_the_page_shows_the_example_as_it_is_and_every_key() -> None:
    page = (REPO / "docs/write-a-plugin.md").read_text()
    part = page.partition("## Without Python")[2].partition("\n## ")[0]
    assert re.findall(r"^```toml\n(.*?)^```", part, re.MULTILINE | re.DOTALL) == [EXAMPLE]
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)))
    assert sorted(keys) == sorted(config.Declared.__struct_fields__)


@pytest.mark.parametrize("name", ["pv", "backup", "render"])
def test_the_example_can_be(name: str) -> None:
    file = parse(EXAMPLE, "tools.toml")
    assert checked(name, file.tools[name], file)


def test_the_example_tells_what_such_programs_say(declare: Callable[[str], Path]) -> None:
    declare(EXAMPLE)
    tool = tools.find(Command(["backup", "create"]))
    assert tool is not None
    said = b"scan\nhello\ncopy 5 of 10 KiB\ncopy 10 of 10 KiB\n"
    samples = play(tool, Recording(["backup", "create"], {3: said}), size=9)
    assert [one.current for one in samples] == sorted(one.current for one in samples)
    assert (samples[-1].current, samples[-1].total, samples[-1].phase) == (1_000_000, 1_000_000, "copy")


@pytest.mark.tool("pv")
def test_the_example_measures_a_real_program(declare: Callable[[str], Path], tmp_path: Path) -> None:
    declare(EXAMPLE)
    (tmp_path / "input").write_bytes(bytes(4 << 20))
    *lines, last = told("pv -n -i 0.1 -L 2M input 2>log", tmp_path, "pv")
    assert len(lines) >= 2
    assert [line["fraction"] for line in lines] == sorted(line["fraction"] for line in lines)
    assert last["fraction"] == 1
    assert "100" in (tmp_path / "log").read_text().splitlines()


@pytest.mark.tool("bash")
def test_the_example_measures_by_a_file_with_the_size_of_another(
    declare: Callable[[str], Path], tmp_path: Path
) -> None:
    declare(EXAMPLE)
    (tmp_path / "input").write_bytes(bytes(3000))
    (tmp_path / "render-hd").write_text(RENDER)
    (tmp_path / "render-hd").chmod(0o755)
    *lines, _ = told("./render-hd --fast input output", tmp_path, "render")
    assert len(lines) >= 2
    assert {(line["total"], line["unit"]) for line in lines} == {(3000, "bytes")}


# --- what a table may say


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pattern = '(?P<percent>.)'\n", "1: tools.x: say one of stream, status and file: "),
        ("stream = 'stdout'\nfile = 'a'\n", "3: tools.x.file: say one of stream, status and file: "),
        ("stream = 'stdin'\n", "2: tools.x.stream: 'stdin' is none of stdout, stderr"),
        ("stream = 'stdout'\n", "1: tools.x: say one of pattern and patterns: "),
        ("stream = 'stdout'\npattern = '(?P<percent>.)'\npatterns = ['(?P<percent>.)']\n", "3: tools.x.pattern: say one of"),
        ("stream = 'stdout'\npatterns = []\n", "3: tools.x.patterns: expected array of length >= 1"),
        ("stream = 'stdout'\npattern = '(?P<percent>'\n", "3: tools.x.pattern: missing ), unterminated subpattern"),
        ("stream = 'stdout'\npattern = '(?P<share>.)'\n", "3: tools.x.pattern: '(?P<share>.)': its groups are "),
        ("stream = 'stdout'\npattern = '.*'\n", "3: tools.x.pattern: '.*': its groups are "),
        ("stream = 'stdout'\npattern = '((a+)+)(?P<percent>.)'\n", "3: tools.x.pattern: a pattern that repeats what can be split"),
        ("stream = 'stdout'\npatterns = [\n'(?P<percent>.)',\n'.*a.*b.*(?P<phase>c)']\n", "3: tools.x.patterns: b'.*a.*b.*"),
        ("stream = 'stdout'\nunit = 'bits'\n", "3: tools.x.unit: 'bits' is none of bytes, items, parts"),
        ("status = ['-C', '3']\n", "2: tools.x.status: the number of the descriptor has no place in it: write {fd}"),
        ("stream = 'stdout'\nafter = 'create'\n", "3: tools.x.after: there is no status"),
        ("file = 'a'\npattern = '(?P<percent>.)'\n[tools.x.phases]\na = 1\n", "4: tools.x.phases: in a file"),
        ("stream = 'stdout'\npattern = '(?P<percent>.)'\nphases.a = 0\n", "4: tools.x.phases: expected float > 0"),
        ("programs = 'a'\n", '2: tools.x.programs: expected a list, as in ["a", "b"], got str'),
        ("status = '-C {fd}'\n", '2: tools.x.status: expected a list, as in ["a", "b"], got str'),
        ("stream = 'stdout'\npattern = \"(?P<percent>\\d+)\"\n", "3: unescaped '\\' in a string; between ' and ', "),
        ("colour = 'red'\n", "2: tools.x.colour: there is no such key; there are programs, stream, status, "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    def read() -> None:
        file = parse(f"[tools.x]\n{text}", "here.toml")
        checked("x", file.tools["x"], file)

    with pytest.raises(ConfigurationError) as caught:
        read()
    assert str(caught.value).startswith(f"here.toml, line {said}")


def test_words_of_the_command_fill_the_places() -> None:
    argv = ["x", "-v", "a", "--b", "c"]
    assert filled("{1}.log", argv) == "a.log"
    assert filled("@{-1}", argv) == "@c"
    assert filled("{3}", argv) is filled("{-3}", argv) is None
    assert filled("{fd} {0}", argv) == "{fd} {0}"


def test_a_total_is_told_where_the_program_says_none(tmp_path: Path) -> None:
    class Says:
        said: Sample | None = None

        def sample(self) -> Sample | None:
            return self.said

        def close(self) -> None:
            self.said = None

    says = Says()
    for total in (10, str(tmp_path)):
        (tmp_path / "file").write_bytes(b"0123456789")
        probe = WithTotal(says, total)
        probe.feed(1, b"")
        for _ in probe.survey() or ():
            pass
        assert probe.survey() is None
        for current, known, expected in ((3, None, 10), (11, None, None), (3, 4, 4)):
            says.said = Sample(current, known)
            assert probe.sample() == Sample(current, expected)
    probe.close()
    assert probe.sample() is None


def test_a_recording_is_told(declare: Callable[[str], Path]) -> None:
    declare(TABLE)
    tool = tools.find(Command(["counter"]))
    assert tool is not None
    samples = play(tool, Recording(["counter"], {2: b"1/4 scan\nhello\n\xff/3\n3/4 scan\n1/2 copy\n"}), size=3)
    assert [(one.current, one.total, one.phase) for one in samples[-1:]] == [(1, 2, "copy")]
    assert {(one.unit, one.bound, one.source) for one in samples} == {(Unit.ITEMS, Bound.LOWER, "counter")}


# --- the real thing

RENDER = """\
#!/bin/bash
for i in $(seq 1 18); do
  echo "bytes=${i}00" > "$3.progress"
  sleep 0.1
done
"""
COUNTER = """\
#!/bin/bash
for i in $(seq 1 18); do
  case $1 in
    --fd) printf '%d/18 scan\\n' $i >&"$2";;
    file) printf '%d/18 scan\\n' $i > "$2.new"; mv "$2.new" "$2";;
    *) printf '%d/18 scan\\n' $i >&2;;
  esac
  sleep 0.1
done
echo done
"""


@pytest.fixture
def counter(tmp_path: Path) -> str:
    """A script that counts to 18, and says so on standard error, a descriptor or in a file."""
    path = tmp_path / "counter"
    path.write_text(COUNTER)
    path.chmod(0o755)
    return str(path)


@pytest.mark.tool("bash")
@pytest.mark.parametrize(
    ("way", "words", "place"),
    [
        ('stream = "stderr"', "", "2>err"),
        ('status = ["--fd", "{fd}"]', "", ""),
        ('file = "{2}"', "file kept", ""),
    ],
)
def test_a_script_is_told_as_its_table_says(
    way: str, words: str, place: str, counter: str, declare: Callable[[str], Path], tmp_path: Path
) -> None:
    declare(TABLE.replace('stream = "stderr"', way))
    *lines, last = told(f"{counter} {words} {place}", tmp_path, "counter")
    assert len(lines) >= 2
    assert {line["total"] for line in lines} == {18}
    assert [line["current"] for line in lines] == sorted(line["current"] for line in lines)
    assert last["fraction"] == 1


@pytest.mark.tool("bash")
def test_what_it_prints_is_as_without_us(counter: str, declare: Callable[[str], Path], tmp_path: Path) -> None:
    declare(TABLE)
    Path(counter).write_text(COUNTER.replace("sleep 0.1", ":"))
    for place in PLACES:
        assert b"done\n" in b"".join(gets(counter, place, tmp_path))
    assert b"18/18 scan" in gets(counter, "", tmp_path, terminal=True)[0]


@pytest.mark.tool("bash")
def test_a_table_that_is_wrong_costs_a_line_and_evidence_speaks(counter: str, declare: Callable[[str], Path]) -> None:
    path = declare(TABLE.replace("[a-z]+", "(a+)+"))
    done = pollprog("run", "--progress", "log", "--", counter)
    assert done.returncode == 0
    assert done.stdout == "done\n"
    lines = [line for line in done.stderr.splitlines() if "config.toml" in line]
    assert lines == [line for line in lines if f"{path}, line 4: tools.counter.pattern: " in line]
    assert len(lines) == 1


def test_what_is_wrong_is_told_by_probes_too(declare: Callable[[str], Path]) -> None:
    declare(TABLE)
    assert "counter" in pollprog("probes").stdout
    assert "pattern = " in pollprog("probes", "counter").stdout
    path = declare(TABLE.replace("[a-z]+", "(a+)+"))
    done = pollprog("probes", "counter")
    assert done.returncode != 0
    assert f"{path}, line 4: " in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.replace("pattern = ", "pattern "), "line 4: "),
        (TABLE.replace("tools.counter", "tool.counter"), "line 1: tool is no section"),
    ],
)
def test_where_no_table_can_be_read_a_name_is_told_why_there_is_none(
    text: str, said: str, declare: Callable[[str], Path]
) -> None:
    path = declare(text)
    done = pollprog("probes", "counter")
    assert done.returncode == 2
    assert (
        f"there is no probe 'counter'; and what the configuration declares cannot be read: {path}, {said}"
        in done.stderr
    )


def test_a_name_that_is_mistyped_is_told_the_others_with_those_of_the_configuration(
    declare: Callable[[str], Path],
) -> None:
    declare(TABLE)
    done = pollprog("run", "--probe", "countre", "true")
    assert done.returncode == 2
    assert ", counter, " in done.stderr


def test_what_is_counted_may_be_gibibytes() -> None:
    file = parse(f"{TABLE}scale = 1073741824\n", "here.toml")
    assert checked("counter", file.tools["counter"], file)[0].scale == 1 << 30
