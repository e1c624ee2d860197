"""The best probe for a command, with real processes; tools that fail are made up, as ours do not."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import trio
from children import child, descriptors, wait_until

from pollprog import sweep as sweep_module
from pollprog import tools
from pollprog.errors import UsageError
from pollprog.probes import chooser as chooser_module
from pollprog.probes.chooser import Chooser, make_probe
from pollprog.probes.contract import STATUS
from pollprog.probes.evidence import Evidence
from pollprog.process import Process, ProcessTree
from pollprog.runner import Watch
from pollprog.sampler import Sampler
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pollprog.launch import Command
    from pollprog.probes import Target

pytestmark = pytest.mark.tool("sleep")  # and with it the other programs of that package

BOUND = 20.0
"""Seconds after which what should come counts as lost."""


@pytest.fixture(autouse=True)
def _every_look_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser_module, "LOOK_AGAIN", 0.0)


class Says:
    """A probe that says what the test tells it to."""

    def __init__(self, target: Target, act: Callable[[], Any]) -> None:
        self.target = target
        self.act = act
        self.looks = 0
        self.closed = 0
        self.heard: list[tuple[int, bytes]] = []

    def sample(self) -> Any:
        self.looks += 1
        return self.act()

    def feed(self, stream: int, record: bytes) -> None:
        self.heard.append((stream, record))

    def close(self) -> None:
        self.closed += 1


class Walks(Says):
    """The same, with a survey."""

    def __init__(self, target: Target, act: Callable[[], Any]) -> None:
        super().__init__(target, act)
        self.walk: Callable[[], Any] = lambda: None

    def survey(self) -> Any:
        return self.walk()


class MadeUp:
    """A tool for one program."""

    def __init__(self, name: str, act: Callable[[], Any]) -> None:
        self.name = name
        self.act = act
        self.kind: type[Says] = Says
        self.probes: list[Any] = []

    def recognise(self, command: Command) -> bool:
        return command.name == self.name

    def prepare(self, command: Command) -> Command:
        return command

    def probe(self, target: Target) -> Says:
        self.probes.append(self.kind(target, self.act))
        return self.probes[-1]


@pytest.fixture
def knows(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MadeUp]:
    """Makes a tool known: for this program, whose probe does that at each look."""

    def register(name: str, act: Callable[[], Any], tool: Any = None) -> Any:
        tool = tool or MadeUp(name, act)
        module = ModuleType(f"a_tool_for_{name}")
        module.TOOL = tool  # type: ignore[attr-defined] # as a plugin has it
        module.probe = lambda target, _: tool.probe(target)  # type: ignore[attr-defined] # the same
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(tools.TOOLS, name, module.__name__)
        monkeypatch.setitem(tools.PROBES, name, module.__name__)
        return tool

    return register


@contextmanager
def shell(script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A script that runs; it reads what the test writes, and it and all that it started end with the test."""
    running = subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        yield running
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        running.stdin.close()
        running.stdout.close()


@contextmanager
def choosing(pid: int, **chosen: Any) -> Iterator[Chooser]:
    """A chooser for this process and its tree."""
    chooser = Chooser(ProcessTree(Process(pid)), launched=True, **chosen)
    try:
        yield chooser
    finally:
        chooser.close()


def processes(pid: int) -> dict[int, str]:
    """The live processes of the tree below this one: pid and name of each."""
    tree = ProcessTree(Process(pid))
    try:
        return {process.pid: told.name for process, told in tree.look()}
    finally:
        tree.close()
        tree.root.close()


def end_of(root: int, name: str) -> None:
    """End the first process of this name below that one."""
    wait_until(lambda: name in processes(root).values())
    pid = min(pid for pid, called in processes(root).items() if called == name)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: pid not in processes(root))


def says(chooser: Chooser, source: str) -> Sample:
    """Wait until this source speaks; what it says."""
    said: list[Sample] = []

    def speaks() -> bool:
        sample = chooser.sample()
        if sample is not None and sample.source.startswith(source):
            said.append(sample)
        return bool(said)

    wait_until(speaks)
    return said[0]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 # what other threads do sets no event of trio
        await trio.sleep(0.002)


def survey(chooser: Chooser) -> None:
    """What the sampler does in a thread."""
    for _ in chooser.survey() or ():
        pass


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


SLEEPER = Sample(1, source="sleeper")
TOTAL = Sample(1, 10, source="with-total")


# --- who speaks


@pytest.mark.parametrize("named", [None, "sleep"])
def test_a_command_that_is_looked_at_within_its_exec_is_known_at_the_next_look(
    knows: Callable[..., MadeUp], monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    knows("sleep", lambda: SLEEPER)
    words, early = Process.argv, [[], []]
    monkeypatch.setattr(Process, "argv", lambda self: early.pop() if early else words(self))
    with subprocess.Popen(["sleep", "100"]) as running, choosing(running.pid, named=named) as chooser:
        said: list[Sample | None] = []
        try:
            wait_until(lambda: said.append(chooser.sample()) or said[-1] is not None)
        finally:
            running.kill()
        assert said == [*(len(said) - 1) * [None], SLEEPER], "and nothing else speaks until then"


@pytest.mark.tool("dd")
@pytest.mark.parametrize(
    "script",
    [
        "dd bs=1 count=1000 of=/dev/null 2>/dev/null; :",
        "cat | dd bs=1 count=1000 of=/dev/null 2>/dev/null; :",
        "(exec dd bs=1 count=1000 of=/dev/null 2>/dev/null); :",
    ],
    ids=["below a shell", "in a pipeline", "by exec"],
)
def test_a_tool_is_found_wherever_its_program_runs(script: str) -> None:
    with shell(script) as running, choosing(running.pid) as chooser:
        running.stdin.write(b"x" * 10)
        running.stdin.flush()
        sample = says(chooser, "dd")
        assert (sample.total, sample.phase) == (1000, "")
        assert 0 < sample.current <= 10


def test_where_nobody_knows_a_program_evidence_speaks() -> None:
    with child() as obedient, choosing(obedient.pid) as chooser:
        assert says(chooser, "evidence:").current >= 0


def test_a_tool_comes_before_evidence(knows: Callable[..., MadeUp]) -> None:
    knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        assert says(chooser, "sleeper") == SLEEPER


def test_a_tool_with_a_total_comes_before_one_without(knows: Callable[..., MadeUp]) -> None:
    knows("sleep", lambda: SLEEPER)
    knows("cat", lambda: TOTAL)
    with shell("sleep 60 | cat; :") as running, choosing(running.pid) as chooser:
        says(chooser, "with-total")
        assert [chooser.sample().source for _ in range(5)] == ["with-total"] * 5


def test_who_comes_behind_a_tool_with_a_total_is_not_looked_at(knows: Callable[..., MadeUp]) -> None:
    knows("sleep", lambda: TOTAL)
    behind = knows("cat", lambda: SLEEPER)
    with shell("sleep 60 | cat; :") as running:
        wait_until(lambda: {"sleep", "cat"} <= set(processes(running.pid).values()))
        with choosing(running.pid) as chooser:
            says(chooser, "with-total")
    assert [probe.looks for probe in behind.probes] == [0]


def test_while_a_tool_has_nothing_to_say_evidence_speaks(knows: Callable[..., MadeUp]) -> None:
    answers: list[Sample | None] = [None]
    knows("sleep", lambda: answers[0])
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        says(chooser, "evidence:")
        answers[0] = SLEEPER
        says(chooser, "sleeper")
        answers[0] = None
        says(chooser, "evidence:")


def test_when_the_process_of_a_tool_ends_evidence_speaks_again(knows: Callable[..., MadeUp]) -> None:
    tool = knows("cat", lambda: TOTAL)
    with shell("cat; exec tail -f /dev/null") as running, choosing(running.pid) as chooser:
        says(chooser, "with-total")
        running.stdin.close()
        says(chooser, "evidence:")
        assert tool.probes[0].closed == 1
        assert tool.probes[0].looks >= 1


def test_a_process_that_becomes_another_program_is_known_by_its_new_name(knows: Callable[..., MadeUp]) -> None:
    knows("cat", lambda: TOTAL)
    with shell("read line; exec cat") as running, choosing(running.pid) as chooser:
        says(chooser, "evidence:")
        running.stdin.write(b"go\n")
        running.stdin.flush()
        says(chooser, "with-total")


def test_a_process_that_has_its_new_name_before_its_new_words_is_looked_at_again(
    knows: Callable[..., MadeUp], monkeypatch: pytest.MonkeyPatch
) -> None:
    knows("sleep", lambda: SLEEPER)
    monkeypatch.setattr(chooser_module, "FIRST", 60.0)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        wait_until(
            lambda: b"sleep\x0060\0" in [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes(running.pid)]
        )
        with monkeypatch.context() as within_an_exec:
            within_an_exec.setattr(Process, "argv", lambda _: [])
            assert chooser.sample() != SLEEPER
        assert chooser.sample() == SLEEPER


def test_the_second_process_of_a_tool_is_a_phase_of_its_own(knows: Callable[..., MadeUp]) -> None:
    knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; sleep 61; sleep 62; :") as running, choosing(running.pid) as chooser:
        phases = []
        for _ in range(3):
            phases.append(says(chooser, "sleeper").phase)
            end_of(running.pid, "sleep")
    assert phases == ["", "sleep, part 2", "sleep, part 3"]


def test_the_phases_of_a_tool_stay_its_own(knows: Callable[..., MadeUp]) -> None:
    knows("sleep", lambda: Sample(1, source="sleeper", phase="pass 1"))
    with shell("sleep 60; sleep 61; :") as running, choosing(running.pid) as chooser:
        assert says(chooser, "sleeper").phase == "pass 1"
        end_of(running.pid, "sleep")
        wait_until(lambda: says(chooser, "sleeper").phase == "pass 1, part 2")


# --- tools that fail


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


BAD = {
    "raises": raising(ValueError("what")),
    "exits": raising(SystemExit(1)),
    "not a sample": lambda: 42,
    "negative": lambda: Sample(-1),
    "a total below nothing": lambda: Sample(1, -5),
    "not a number": lambda: Sample(float("nan")),
}


@pytest.mark.parametrize("act", BAD.values(), ids=BAD)
def test_a_tool_that_fails_is_left_out_and_the_next_best_speaks_at_once(
    act: Callable[[], Any], knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    bad = knows("tail", act)
    knows("sleep", lambda: SLEEPER)
    with shell("tail -f /dev/null & sleep 60; :") as running, choosing(running.pid) as chooser:
        wait_until(lambda: says(chooser, "sleeper") and bad.probes)
        assert [chooser.sample().source for _ in range(3)] == ["sleeper"] * 3
    assert [(probe.looks, probe.closed) for probe in bad.probes] == [(1, 1)]
    (line,) = warnings_in(caplog)
    assert line.startswith("the probe tail is dropped: ")


def test_a_tool_that_fails_is_left_out_wherever_its_program_runs(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    bad = knows("sleep", raising(ValueError("what")))
    with shell("sleep 60 & sleep 61 & sleep 62; :") as running:
        wait_until(lambda: list(processes(running.pid).values()).count("sleep") == 3)
        with choosing(running.pid) as chooser:
            assert [says(chooser, "evidence:").source for _ in range(3)]
    assert sum(probe.looks for probe in bad.probes) == 1
    assert all(probe.closed == 1 for probe in bad.probes)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("where", ["recognise", "probe"])
def test_a_plugin_that_raises_when_it_is_asked_is_left_out(
    where: str, knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    bad = knows("sleep", lambda: SLEEPER)

    def fail(_: object) -> bool:
        raise RuntimeError("what")

    setattr(bad, where, fail)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        wait_until(lambda: says(chooser, "evidence:") and warnings_in(caplog))
        says(chooser, "evidence:")
    assert [line.partition(" (")[0] for line in warnings_in(caplog)] == [
        "the probe sleep is dropped: RuntimeError: what"
    ]


def test_a_plugin_that_cannot_be_imported_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(tools.TOOLS, "sleep", "pollprog.there_is_no_such_module")
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        wait_until(lambda: says(chooser, "evidence:") and warnings_in(caplog))
        says(chooser, "evidence:")
    (line,) = warnings_in(caplog)
    assert line.startswith("the probe sleep is dropped: ModuleNotFoundError: ")


@pytest.mark.parametrize(
    "script", ["cat; exec tail -f /dev/null", "exec 3<&0; cat <&3 & exec tail -f /dev/null"], ids=["reaped", "a zombie"]
)
def test_a_probe_whose_process_has_ended_is_no_failure(
    script: str, knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = knows("cat", lambda: SLEEPER)
    with shell(script) as running, choosing(running.pid) as chooser:
        says(chooser, "sleeper")
        monkeypatch.setattr(chooser_module, "LOOK_AGAIN", 3600.0)  # so that its probe is still looked at
        tool.probes[0].act = lambda: os.readlink("/proc/no such process")  # as one that looks into /proc does
        process = tool.probes[0].target.process
        end_of(running.pid, "cat")
        wait_until(
            lambda: chooser_module.gone(process) and ("3" in script or not os.path.exists(f"/proc/{process.pid}"))
        )
        says(chooser, "evidence:")
    assert tool.probes[0].looks >= 2
    assert warnings_in(caplog) == []


def test_a_probe_that_finds_no_process_is_no_failure(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    tool = knows("sleep", raising(ProcessLookupError("gone")))
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        wait_until(lambda: "sleep" in processes(running.pid).values())
        says(chooser, "evidence:")
        tool.probes[0].act = lambda: SLEEPER
        says(chooser, "sleeper")
    assert warnings_in(caplog) == []


def test_of_very_many_processes_not_all_are_remembered(
    knows: Callable[..., MadeUp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chooser_module, "MOST_SEEN", 1)
    knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        says(chooser, "sleeper")
        assert [chooser.sample() for _ in range(3)] == [SLEEPER] * 3
        assert len(chooser._known) == 1


def test_evidence_that_fails_is_left_out_as_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = []

    def fail(self: Evidence) -> None:
        looks.append(self)
        raise ValueError("what")

    monkeypatch.setattr(Evidence, "sample", fail)
    with child() as obedient, choosing(obedient.pid) as chooser:
        assert [chooser.sample() for _ in range(4)] == [None] * 4
    assert len(looks) == 1
    assert [line.partition(" (")[0] for line in warnings_in(caplog)] == [
        "the probe evidence is dropped: ValueError: what"
    ]


def test_who_is_excluded_does_not_speak(knows: Callable[..., MadeUp]) -> None:
    bad = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running:
        wait_until(lambda: "sleep" in processes(running.pid).values())
        with choosing(running.pid, excluded={"sleep"}) as chooser:
            says(chooser, "evidence:")
        with choosing(running.pid, excluded={"sleep", "evidence"}) as chooser:
            assert chooser.sample() is None
    assert bad.probes == []


def test_what_hangs_is_left_out_by_the_next_chooser(
    knows: Callable[..., MadeUp], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sweep_module, "PATIENCE", 0.2)
    gate = threading.Event()
    tool = knows("sleep", lambda: gate.wait(BOUND) and None)
    reported: list[Sample] = []

    async def run(pid: int) -> None:
        sampler = Sampler()
        with trio.fail_after(BOUND):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sampler.run)
                watch = Watch(ProcessTree(Process(pid)), sampler, reported.append, interval=0.01, launched=True)
                await until(lambda: len(reported) > 3 and warnings_in(caplog))
                gate.set()
                await until(lambda: tool.probes[0].closed)
                looks = len(reported)
                await until(lambda: len(reported) >= looks + 3)
                watch.stop()
                nursery.cancel_scope.cancel()

    with shell("sleep 60; :") as running:
        wait_until(lambda: "sleep" in processes(running.pid).values())
        before = descriptors()
        trio.run(run, running.pid)
        wait_until(lambda: descriptors() <= before)
    assert {sample.source.partition(":")[0] for sample in reported} == {"evidence"}
    assert warnings_in(caplog) == ["the probe sleep is dropped: it did not return within 0.2 seconds"]


# --- the one that the user named


def test_the_probe_that_the_user_named_comes_first(knows: Callable[..., MadeUp]) -> None:
    knows("sleep", lambda: TOTAL)
    with shell("sleep 60; :") as running, choosing(running.pid, named="procio:rchar") as chooser:
        assert says(chooser, "procio:rchar").current > 0
        assert chooser.sample().source == "procio:rchar"


def test_what_the_user_named_is_alone_also_while_it_has_nothing_to_say(tmp_path: Any) -> None:
    out = tmp_path / "out"
    script = f"read line; echo 12345 > {out}.new; mv {out}.new {out}; read line"  # whole from the first
    with shell(script) as running, choosing(running.pid, named=f"filesize:{out}") as chooser:
        assert [chooser.sample() for _ in range(3)] == [None] * 3
        running.stdin.write(b"go\n")
        running.stdin.flush()
        assert says(chooser, "filesize").current == 6


def test_a_named_tool_is_waited_for_and_measured_each_time_it_comes(knows: Callable[..., MadeUp]) -> None:
    tool = knows("cat", lambda: TOTAL)
    knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; cat; cat; sleep 61; :") as running, choosing(running.pid, named="cat") as chooser:
        assert [chooser.sample() for _ in range(3)] == [None] * 3
        for phase in ("", "cat, part 2"):
            end_of(running.pid, "sleep" if not phase else "cat")
            assert says(chooser, "with-total").phase == phase
        end_of(running.pid, "cat")
        wait_until(lambda: chooser.sample() is None)
    assert [probe.closed for probe in tool.probes] == [1, 1]


def test_that_a_named_tool_finds_no_program_is_said_once(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows("cat", lambda: TOTAL)
    monkeypatch.setattr("pollprog.probes.chooser.LOOK_AGAIN", 0.0)
    with shell("sleep 60; :") as running, choosing(running.pid, named="cat") as chooser:
        wait_until(lambda: "sleep" in processes(running.pid).values())
        assert chooser.sample() is None
        assert not warnings_in(caplog)
        monkeypatch.setattr("pollprog.probes.chooser.UNFOUND", 0.0)
        assert [chooser.sample() for _ in range(3)] == [None] * 3
    (line,) = warnings_in(caplog)
    assert "(sh, sleep)" in line
    assert "the probe cat" in line
    assert "without --probe" in line


def test_a_named_tool_whose_program_has_come_and_gone_is_not_missed(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows("cat", lambda: TOTAL)
    monkeypatch.setattr("pollprog.probes.chooser.LOOK_AGAIN", 0.0)
    with shell("cat; sleep 60; :") as running, choosing(running.pid, named="cat") as chooser:
        says(chooser, "with-total")
        end_of(running.pid, "cat")
        monkeypatch.setattr("pollprog.probes.chooser.UNFOUND", 0.0)
        wait_until(lambda: chooser.sample() is None)
        assert chooser.sample() is None
    assert not warnings_in(caplog)


def test_a_named_probe_that_nobody_knows_is_dropped_and_the_others_speak(caplog: pytest.LogCaptureFixture) -> None:
    with child() as obedient, choosing(obedient.pid, named="nosuch") as chooser:
        says(chooser, "evidence:")
        says(chooser, "evidence:")
    (line,) = warnings_in(caplog)
    assert line.startswith("the probe nosuch is dropped: there is no probe 'nosuch'; there are: 7z, apt, ")


def test_a_named_probe_that_fails_gives_way_to_the_tools(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows("tail", raising(ValueError("what")))
    knows("sleep", lambda: SLEEPER)
    monkeypatch.setattr(chooser_module, "LOOK_AGAIN", 3600.0)
    with shell("tail -f /dev/null & sleep 60; :") as running:
        wait_until(lambda: {"tail", "sleep"} <= {(Process(pid).argv() or [""])[0] for pid in processes(running.pid)})
        with choosing(running.pid, named="tail") as chooser:
            assert chooser.sample().source.startswith("evidence:")
            assert chooser.sample().source == "sleeper"
    assert [line.partition(" (")[0] for line in warnings_in(caplog)] == ["the probe tail is dropped: ValueError: what"]


def test_make_probe_says_which_probes_there_are() -> None:
    with pytest.raises(UsageError, match=r"there are: 7z, apt, .*e2fsck, evidence, "):
        make_probe("nosuch:1", None)  # type: ignore[arg-type] # it does not come that far


def test_only_a_tool_that_the_user_named_may_send_signals(knows: Callable[..., MadeUp]) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running:
        for named in (None, "sleep"):
            with choosing(running.pid, named=named) as chooser:
                says(chooser, "sleeper")
        with choosing(running.pid, named="nosuch") as chooser:
            says(chooser, "sleeper")
    assert [probe.target.signals for probe in tool.probes] == [False, True, False]


def test_a_tool_is_given_what_it_is_to_measure(knows: Callable[..., MadeUp]) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    heard = object()
    given = {"total": 77, "claims": {2: heard}, "ends": {2: 9}}
    with shell("sleep 60; :") as running, choosing(running.pid, **given) as chooser:
        says(chooser, "sleeper")
        target = tool.probes[0].target
        assert target.process.stat().name == "sleep"
        assert target.tree.root.pid == running.pid
    assert (target.total, target.launched, target.claims, target.ends) == (77, True, {2: heard}, {2: 9})


# --- what the command says


def test_what_is_heard_goes_to_the_probe_that_listens(knows: Callable[..., MadeUp]) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        for number in range(300):
            chooser.feed(2, b"%d of 999" % number)  # what is said before it listens is kept for it
        says(chooser, "sleeper")
        chooser.feed(2, b"300 of 999")
    assert tool.probes[0].heard == [(2, b"%d of 999" % number) for number in range(301)]


def test_what_is_written_to_the_status_descriptor_is_heard_too(knows: Callable[..., MadeUp]) -> None:
    class Written:
        closed = 0
        said: ClassVar = [[b"1", b"2"], [], [b"3"]]

        def records(self) -> list[bytes]:
            return self.said.pop(0) if self.said else []

        def close(self) -> None:
            self.closed += 1

    written = Written()
    tool = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running, choosing(running.pid, status=written) as chooser:
        for _ in range(3):
            says(chooser, "sleeper")
    assert tool.probes[0].heard == [(STATUS, b"1"), (STATUS, b"2"), (STATUS, b"3")]
    assert written.closed == 1


def test_a_probe_that_raises_at_what_it_hears_is_left_out(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        says(chooser, "sleeper")
        tool.probes[0].feed = lambda *_: 1 / 0  # type: ignore[method-assign] # a bad one
        chooser.feed(2, b"x")
        says(chooser, "evidence:")
    assert tool.probes[0].closed == 1
    assert len(warnings_in(caplog)) == 1


# --- the user's total


def test_the_users_total_comes_before_any_other(tmp_path: Any) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(1 << 20))
    with child() as obedient, choosing(obedient.pid, total=5 << 20) as chooser:
        obedient.does(f"f = open({str(source)!r}, 'rb'); f.read(1000)")
        assert chooser.sample().total == 5 << 20


def test_a_folder_is_surveyed_for_the_total_and_none_is_told_meanwhile(
    tmp_path: Any, knows: Callable[..., MadeUp], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deeper").mkdir()
    for name, size in {"a": 3000, "b": 4000, "deeper/c": 5000}.items():
        (tmp_path / name).write_bytes(bytes(size))
    tool = knows("sleep", lambda: Sample(1, tool.probes[-1].target.total or 10, source="sleeper"))
    with shell("sleep 60; :") as running, choosing(running.pid, total=str(tmp_path)) as chooser:
        assert says(chooser, "sleeper").total is None
        monkeypatch.setattr(chooser_module, "LOOK_AGAIN", 3600.0)
        survey(chooser)
        assert chooser.sample() == Sample(1, 12000, source="sleeper")
        assert chooser.survey() is None
    assert [probe.closed for probe in tool.probes] == [1, 1]


def test_a_folder_with_nothing_in_it_is_no_total(
    tmp_path: Any, knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    tool = knows("sleep", lambda: TOTAL)
    with shell("sleep 60; :") as running, choosing(running.pid, total=str(tmp_path)) as chooser:
        survey(chooser)
        assert says(chooser, "with-total").total == 10
    assert tool.probes[-1].target.total is None
    assert warnings_in(caplog) == [f"there is nothing in {tmp_path}: it cannot be the total"]


def test_a_total_that_is_less_than_what_is_done_is_given_up_with_one_warning(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with child() as obedient, choosing(obedient.pid, total=5000) as chooser:
        obedient.does(f"f = open({str(tmp_path / 'out')!r}, 'wb', buffering=0)")
        chooser.sample()
        obedient.does("f.write(bytes(4000))")
        assert chooser.sample().total == 5000
        obedient.does("f.write(bytes(4000))")
        wait_until(lambda: chooser.sample().total is None)
        obedient.does("f.write(bytes(4000))")
        assert [chooser.sample().total for _ in range(3)] == [None] * 3
    assert warnings_in(caplog) == ["more is done than --total says (5000): it is not believed any more"]


@pytest.mark.parametrize(("bound", "believed"), [(Bound.ESTIMATE, True), (Bound.UPPER, True), (Bound.EXACT, False)])
def test_an_estimate_may_be_a_little_above_the_total(
    bound: Bound, believed: bool, knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    knows("sleep", lambda: Sample(1050, 1000, source="sleeper", bound=bound))
    with shell("sleep 60; :") as running:
        wait_until(lambda: "sleep" in processes(running.pid).values())  # else evidence speaks first
        with choosing(running.pid, total=1000) as chooser:
            sample = says(chooser, "sleeper")
    assert (sample.total == 1000) is believed
    assert len(warnings_in(caplog)) == (not believed)


def test_a_tool_that_counts_something_else_has_its_own_total(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    knows("sleep", lambda: Sample(70, 90, unit=Unit.ITEMS, source="sleeper"))
    with shell("sleep 60; :") as running:
        wait_until(lambda: "sleep" in processes(running.pid).values())
        with choosing(running.pid, total=50) as chooser:
            assert says(chooser, "sleeper").total == 90
    assert warnings_in(caplog) == []


# --- surveys, and the end


def test_the_survey_of_the_probe_that_speaks_is_the_one_that_is_walked(knows: Callable[..., MadeUp]) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    for kind in (Says, Walks):
        tool.kind = kind
        with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
            assert chooser.survey() is None
            says(chooser, "sleeper")
            assert chooser.survey() is None  # it has none, or wants none
            if kind is Walks:
                tool.probes[-1].walk = lambda: iter([1, 2, 3])
                assert list(chooser.survey() or ()) == [1, 2, 3]


def test_a_probe_that_raises_when_it_is_asked_for_a_survey_is_left_out(
    knows: Callable[..., MadeUp], caplog: pytest.LogCaptureFixture
) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    tool.kind = Walks
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        says(chooser, "sleeper")
        tool.probes[0].walk = raising(ValueError("what"))
        assert chooser.survey() is None
        says(chooser, "evidence:")
    assert len(warnings_in(caplog)) == 1


def test_a_look_that_searches_for_tools_looks_at_the_tree_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[ProcessTree] = []
    look = ProcessTree.look
    monkeypatch.setattr(ProcessTree, "look", lambda tree: looks.append(tree) or look(tree))
    with child() as obedient, choosing(obedient.pid) as chooser:
        says(chooser, "evidence:")
        looks.clear()
        chooser.sample()
        assert len(looks) == 1
        monkeypatch.setattr(chooser_module, "LOOK_AGAIN", 60.0)
        looks.clear()
        chooser.sample()
        assert len(looks) == 1, "and one that does not, just so"


def test_the_log_calls_the_probe_by_name_that_is_looked_at(knows: Callable[..., MadeUp]) -> None:
    names: list[str] = []
    knows("sleep", lambda: names.append(chooser.name) or SLEEPER)
    with shell("sleep 60; :") as running, choosing(running.pid) as chooser:
        assert chooser.name == "chooser"
        says(chooser, "sleeper")
    assert set(names) == {"sleep"}


def test_a_tree_that_cannot_be_looked_at_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    blamed: list[str] = []
    with child() as obedient, choosing(obedient.pid) as chooser:
        says(chooser, "evidence:")
        monkeypatch.setattr(ProcessTree, "look", lambda _: blamed.append(chooser.at) or [])
        chooser.sample()
    assert blamed[0] == ""


def test_evidence_is_closed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Evidence] = []
    monkeypatch.setattr(Evidence, "close", lambda self: closed.append(self))  # noqa: PLW0108 # append is no method of it
    with child() as obedient, choosing(obedient.pid) as chooser:
        says(chooser, "evidence:")
    assert len(closed) == 1


def test_close_closes_every_probe_once_and_gives_back_every_descriptor(knows: Callable[..., MadeUp]) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60 & sleep 61; :") as running:
        wait_until(lambda: list(processes(running.pid).values()).count("sleep") == 2)
        before = descriptors()
        with choosing(running.pid) as chooser:
            says(chooser, "sleeper")
            assert descriptors() > before
            chooser.close()
        assert descriptors() == before
    assert [probe.closed for probe in tool.probes] == [1] * len(tool.probes)
    assert tool.probes


def test_a_probe_that_raises_when_it_is_closed_leaves_nothing_open(knows: Callable[..., MadeUp]) -> None:
    tool = knows("sleep", lambda: SLEEPER)
    with shell("sleep 60 & sleep 61; :") as running:
        wait_until(lambda: list(processes(running.pid).values()).count("sleep") == 2)
        before = descriptors()
        with choosing(running.pid) as chooser:
            wait_until(lambda: chooser.sample() is not None and len(tool.probes) == 2)
            first, second = tool.probes
            first.close = raising(SystemExit())  # type: ignore[method-assign] # a bad one
        assert descriptors() == before
    assert second.closed == 1
