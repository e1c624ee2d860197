from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from dd_runs import SIZE, Fifo, Run, answered, assert_never_asked, looks, make_source

from pollprog.launch import Command
from pollprog.probes import Target, dd_probe
from pollprog.probes.dd import TOOL
from pollprog.probes.dd_arguments import parse
from pollprog.probes.dd_probe import DdProbe, file_system
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GNU_REPORT = re.compile(rb"\d+\+\d+ records in\n\d+\+\d+ records out\n\d+ bytes? .*copied, .*/s\n")
BUSYBOX_REPORT = re.compile(rb"\d+\+\d+ records in\n\d+\+\d+ records out\n(\d+ bytes .*/s\n)?")

pytestmark = pytest.mark.tool("dd")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    with Fifo(tmp_path / "fifo") as made:
        yield made


def take_words_for(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Let a probe take the words of its process for these."""
    arguments = parse(words)
    monkeypatch.setattr(dd_probe, "parse", lambda *_, **__: arguments)


# -- asking


STARTS = [
    pytest.param("dd {}", GNU_REPORT, id="dd"),
    pytest.param("exec dd {}", GNU_REPORT, id="a shell that becomes dd"),
    pytest.param("sleep 0.02; exec dd {}", GNU_REPORT, id="a shell that becomes dd after a while"),
    pytest.param("dd {}; true", GNU_REPORT, id="dd below a shell"),
    pytest.param("busybox dd {}", BUSYBOX_REPORT, id="busybox", marks=pytest.mark.tool("busybox")),
    pytest.param("busybox dd {}; true", BUSYBOX_REPORT, id="busybox below a shell", marks=pytest.mark.tool("busybox")),
]


def words(start: str, operands: str) -> list[str]:
    """The words of a command: through a shell, where it needs one."""
    line = start.format(operands)
    return ["sh", "-c", line] if ";" in line or "exec" in line or "|" in line else line.split()


@pytest.mark.parametrize(("start", "report"), STARTS)
def test_a_dd_is_asked_and_nobody_sees_it(start: str, report: re.Pattern[bytes], source: Path, fifo: Fifo) -> None:
    with Run(words(start, f"if={source} of={fifo} bs=4k")) as run:
        probe = run.probe()
        sample = answered(probe)
        assert sample.current <= SIZE
        assert (sample.total, sample.unit, sample.bound) == (SIZE, Unit.BYTES, Bound.EXACT)
        fifo.read(SIZE // 2)
        seen = probe.sent
        wait_until(lambda: probe.sample() and probe.sent > seen + 3)
        assert not run.said
        assert fifo.read(SIZE) == source.read_bytes()[SIZE // 2 :]
        assert run.wait() == (0, None)
        assert report.fullmatch(run.said), "its own report, and no other"
    assert str(SIZE // 4096).encode() in run.said


@pytest.mark.parametrize(("start", "report"), STARTS)
def test_a_dd_that_has_just_begun_is_not_killed(
    start: str, report: re.Pattern[bytes], source: Path, fifo: Fifo
) -> None:
    for _ in range(5):
        with Run(words(start, f"if={source} of={fifo} bs=4k")) as run:
            wait_until(run.find)
            probe = DdProbe(run.target(), interval=0.0)
            wait_until(lambda probe=probe: probe.sample() and probe.sent)  # type: ignore[misc] # each run has its own
            assert fifo.read(SIZE) == source.read_bytes()
            assert run.wait() == (0, None)
            assert report.fullmatch(run.said)


def test_the_numbers_are_those_of_the_report(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000"]) as run:
        run.full()
        probe = run.probe(interval=3600)
        wait_until(lambda: run.through.holding)
        sample = answered(probe)
        report = run.through.report
        assert report is not None
        assert sample.current == report.copied == report.written[0] * 1000


def test_a_block_that_was_read_and_is_not_written_yet_is_not_told(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", f"bs={SIZE // 2}"]) as run:
        probe = run.probe()
        wait_until(lambda: (sample := probe.sample()) and sample.source == "dd")
        told = probe.sample()
        assert told is not None
        assert (told.current, run.full().current) == (0, SIZE // 2)


@pytest.mark.tool("busybox")
def test_without_bytes_in_the_report_whole_blocks_count(source: Path, fifo: Fifo) -> None:
    with Run(["busybox", "dd", f"if={source}", f"of={fifo}", "bs=1000"]) as run:
        assert answered(run.probe()).current % 1000 == 0


def test_a_report_of_two_lines_is_enough(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "status=noxfer"]) as run:
        assert answered(run.probe()).current % 1000 == 0
        fifo.read(SIZE)
        run.wait()
        assert run.said == b"1000+0 records in\n1000+0 records out\n"


@pytest.mark.parametrize("language", ["de", "uk", "zh_CN"])
def test_dd_is_understood_in_any_language(language: str, source: Path, fifo: Fifo) -> None:
    speaking = ["env", "LC_ALL=C.UTF-8", f"LANGUAGE={language}", "dd", f"if={source}", f"of={fifo}", "bs=1000"]
    with Run(speaking) as run:
        assert answered(run.probe()).current % 1000 == 0
        fifo.read(SIZE)
        run.wait()
        assert run.said.count(b"1000+0") == 2
        assert run.said.count(b"\n") == 3


def test_the_users_own_signal_is_answered_to_the_user(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        run.full()
        answered(run.probe(interval=3600))
        run.process.send(signal.SIGUSR1)
        wait_until(lambda: GNU_REPORT.fullmatch(run.said))
        fifo.read(SIZE)
        run.wait()
        assert len(GNU_REPORT.findall(run.said)) == 2


def test_a_dd_that_is_killed_says_nothing_for_us(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        run.full()
        probe = run.probe(interval=3600)
        answered(probe)
        wait_until(lambda: run.through.holding)
        probe.sample()
        fifo.read(SIZE // 2)  # it goes on
        wait_until(lambda: probe.sample() and not run.through.holding)
        run.process.send(signal.SIGKILL)
        assert run.wait() == (None, signal.SIGKILL)
        assert run.said == b""


def test_a_second_signal_waits_for_the_answer_to_the_first(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = run.unheard()
        run.process.send(signal.SIGSTOP)
        wait_until(lambda: run.process.stat().state == "T")
        probe = DdProbe(run.target(), interval=0.0)
        looks(probe)
        assert probe.sent == 1
        run.process.send(signal.SIGCONT)
        wait_until(lambda: probe.sample() and probe.sent > 1)
        fifo.read(SIZE)
        run.wait()
        assert GNU_REPORT.fullmatch(run.said)


def test_signals_keep_their_distance(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        run.full()
        probe = run.probe(interval=3600)
        answered(probe)
        looks(probe)
        assert probe.sent == 1


def test_when_dd_is_silent_for_long_its_position_is_told(
    source: Path, fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = run.probe(interval=0.0)
        answered(probe)
        run.process.send(signal.SIGSTOP)
        wait_until(lambda: run.process.stat().state == "T")
        monkeypatch.setattr(dd_probe, "PATIENCE", 0.0)
        sample = probe.sample()
        assert sample is not None
        assert sample.source == "dd:input-position"


def test_the_last_report_of_a_dd_below_a_shell_comes_before_what_the_shell_says(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"dd if={source} of={fifo} bs=4k; echo done >&2"]) as run:
        probe = run.probe()
        answered(probe)
        fifo.read(SIZE)
        while run.find():
            probe.sample()
        run.wait()
        report, _, rest = bytes(run.said).rpartition(b"done\n")
        assert rest == b""
        assert GNU_REPORT.fullmatch(report)


def test_what_is_unread_of_a_dd_is_known_once_it_has_ended(source: Path, fifo: Fifo, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    ours, theirs = os.pipe()
    with Run(["sh", "-c", f"dd if={source} of={fifo} bs=4k; read go <{tmp_path}/go"]) as run:
        target = run.target()
        target.ends = {2: ours}
        probe = DdProbe(target)
        os.write(theirs, b"five!")
        assert probe._unread() is None
        fifo.read(SIZE)
        wait_until(lambda: probe._unread() == 5)
        os.read(ours, 5)
        assert probe._unread() == 0
        os.close(ours)
        assert probe._unread() == 0
        os.close(theirs)


def test_a_signal_that_cannot_be_sent_is_not_waited_for(
    source: Path, fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = run.unheard()
        probe = DdProbe(run.target(), interval=0.0)

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(type(run.process), "send", refuse)
        looks(probe)
        assert probe.sent == 0
        assert not run.through.expects((run.process.pid, run.process.start))
        monkeypatch.undo()
        answered(probe)


# -- not asking


@pytest.mark.parametrize("operand", ["status=none", "status=progress", "conv=noerror", "conv=sync"])
def test_a_dd_that_would_not_answer_or_reports_by_itself_is_never_asked(operand: str, source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k", operand]) as run:
        probe = run.probe()
        assert_never_asked(probe, operand.replace("conv=sync", "something else than its input"))
        sample = probe.sample()
        assert sample is not None
        assert sample.source == "dd:input-position"


def test_a_dd_that_is_posixly_correct_is_never_asked(source: Path, fifo: Fifo) -> None:
    with Run(["env", "POSIXLY_CORRECT=1", "dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        assert_never_asked(run.probe(), "POSIXLY_CORRECT")


def test_a_dd_that_reads_a_pipe_is_never_asked(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"cat {source} | dd of={fifo} bs=4k"]) as run:
        assert_never_asked(run.probe(), "shorten")


def test_a_dd_that_reads_a_device_is_never_asked(fifo: Fifo) -> None:
    for device in ("/dev/zero", "/dev/urandom"):
        with Run(["dd", f"if={device}", f"of={fifo}", "bs=4k", "count=500"]) as run:
            assert_never_asked(run.probe(), "shorten")
            assert len(fifo.read(500 * 4096)) == 500 * 4096
            run.wait()


def test_a_dd_that_reads_a_terminal_is_never_asked() -> None:
    ours, theirs = os.openpty()
    try:
        with Run(["dd", f"if={os.ttyname(theirs)}", "of=/dev/null", "bs=4k"]) as run:
            os.write(ours, b"a line\n")
            assert_never_asked(run.probe(), "shorten")
    finally:
        os.close(ours)
        os.close(theirs)


def test_with_full_blocks_a_dd_that_reads_a_pipe_is_asked_and_copies_all_of_it(source: Path, fifo: Fifo) -> None:
    count = SIZE // 4000
    with Run(["sh", "-c", f"cat {source} | dd of={fifo} bs=4000 count={count} iflag=fullblock"]) as run:
        probe = run.probe()
        assert answered(probe).total == SIZE
        fifo.read(SIZE // 2)
        seen = probe.sent
        wait_until(lambda: probe.sample() and probe.sent > seen + 3)
        assert fifo.read(SIZE) == source.read_bytes()[SIZE // 2 :]
        assert run.wait() == (0, None)
        assert GNU_REPORT.fullmatch(run.said)


@pytest.mark.parametrize(("kind", "asked"), [("ext4", True), ("fuse.sshfs", False), ("", False)])
def test_a_dd_that_counts_blocks_is_asked_only_where_no_signal_cuts_a_read_short(
    kind: str, asked: bool, source: Path, fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dd_probe, "file_system", lambda _: kind)
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k", "count=200"]) as run:
        probe = run.probe()
        if asked:
            answered(probe)
        else:
            assert_never_asked(probe, "shorten")


def test_a_dd_whose_errors_go_elsewhere_is_never_asked(source: Path, fifo: Fifo, tmp_path: Path) -> None:
    with Run(["sh", "-c", f"dd if={source} of={fifo} bs=4k 2>{tmp_path}/dd.log"]) as run:
        assert_never_asked(run.probe(), "not heard")
        fifo.read(SIZE)
        run.wait()
        assert GNU_REPORT.fullmatch((tmp_path / "dd.log").read_bytes())


def test_a_dd_that_was_attached_to_is_never_asked(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = DdProbe(Target(run.tree, run.dd(), launched=False, signals=True), interval=0.0)
        wait_until(probe.sample)
        assert_never_asked(probe, "not heard")


def test_a_dd_that_shares_its_errors_with_another_is_never_asked(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"dd if={source} bs=4k | dd of={fifo} bs=4k iflag=fullblock"]) as run:
        wait_until(lambda: sum(TOOL.recognise(Command(process.argv())) for process, _ in run.tree.look()) == 2)
        for process, _ in run.tree.look():
            if TOOL.recognise(Command(process.argv())):
                probe = DdProbe(run.target(process), interval=0.0)
                wait_until(probe.sample)
                assert_never_asked(probe, "another dd")


def test_a_program_called_dd_without_a_handler_is_never_asked(source: Path, fifo: Fifo, tmp_path: Path) -> None:
    cat = shutil.which("cat")
    assert cat is not None
    (tmp_path / "bin").mkdir()
    shutil.copy(cat, tmp_path / "bin" / "dd")
    with Run(["sh", "-c", f"exec {tmp_path}/bin/dd <{source} >{fifo}"]) as run:
        assert_never_asked(run.probe(), "no handler")
        assert fifo.read(SIZE) == source.read_bytes()
        assert run.wait() == (0, None)


def test_a_script_called_dd_is_never_asked(
    source: Path, fifo: Fifo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dd"
    script.write_text(
        f"#!{sys.executable} -S\nimport signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(1))\n"
        "sys.argv[0] = 'dd'\nwhile data := sys.stdin.buffer.read(4096):\n sys.stdout.buffer.write(data)\n"
    )
    script.chmod(0o755)
    with Run(["sh", "-c", f"exec {script} <{source} >{fifo}"]) as run:
        wait_until(lambda: run.process.catches(signal.SIGUSR1))
        assert not run.find()
        take_words_for(monkeypatch, "dd")
        probe = DdProbe(run.target(run.process), interval=0.0)
        assert_never_asked(probe, "not dd")
        assert fifo.read(SIZE) == source.read_bytes()
        assert run.wait() == (0, None)


def test_a_shell_that_will_become_dd_is_never_asked_before(
    source: Path, fifo: Fifo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "go")
    line = f"trap 'exit 3' USR1; read go <{tmp_path}/go; exec dd bs=4k <{source} >{fifo}"
    with Run(["sh", "-c", f"exec <{source}; {line}"]) as run:
        wait_until(lambda: run.process.catches(signal.SIGUSR1))
        take_words_for(monkeypatch, "dd", "bs=4k")
        assert_never_asked(DdProbe(run.target(run.process), interval=0.0), "not dd")
        monkeypatch.undo()
        (tmp_path / "go").write_text("\n")
        answered(run.probe())
        assert fifo.read(SIZE) == source.read_bytes()
        assert run.wait() == (0, None)


def test_a_dd_that_has_not_begun_to_copy_is_never_asked(source: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "unread")
    with Run(["dd", f"if={source}", f"of={tmp_path}/unread"]) as run:
        probe = DdProbe(run.target(), interval=0.0)
        wait_until(lambda: probe.forbidden() == "")  # all guards would let it pass, but it waits for a reader
        looks(probe)
        assert probe.sent == 0


def test_a_dd_with_words_that_dd_refuses_is_never_asked(
    source: Path, fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        run.full()
        take_words_for(monkeypatch, "dd", "bs=nonsense")
        probe = DdProbe(run.target(), interval=0.0)
        assert probe.sample() is None
        assert "not understood" in probe.forbidden()


# -- its end


def test_a_dd_that_has_ended_has_nothing_to_say(source: Path) -> None:
    with Run(["dd", f"if={source}", "of=/dev/null"]) as run:
        probe = DdProbe(run.target(run.process))
        wait_until(lambda: run.process.stat().state == "Z")
        assert probe.sample() is None
        run.wait()
        assert probe.sample() is None
        probe.close()


def test_the_kind_of_a_file_system_is_looked_up_by_its_number() -> None:
    assert file_system(os.stat("/proc/self").st_dev) == "proc"
    assert file_system(os.makedev(4095, 1)) == ""
