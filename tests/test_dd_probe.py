from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from dd_runs import Fifo, Run, answered

from pollprog.launch import Command
from pollprog.probes import Target, dd_probe
from pollprog.probes.dd import TOOL
from pollprog.probes.dd_probe import DdProbe, file_system
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 1_000_000
"""Bytes of the source: much more than a pipe holds."""
LOOKS = 20

GNU_REPORT = re.compile(rb"\d+\+\d+ records in\n\d+\+\d+ records out\n\d+ bytes? .*copied, .*/s\n")
BUSYBOX_REPORT = re.compile(rb"\d+\+\d+ records in\n\d+\+\d+ records out\n(\d+ bytes .*/s\n)?")

pytestmark = pytest.mark.tool("dd")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(os.urandom(SIZE))
    return file


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    made = Fifo(tmp_path / "fifo")
    yield made
    made.close()


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[int]:
    """Our end of a pipe called ``feed`` that a dd reads from; it can be opened at once."""
    os.mkfifo(tmp_path / "feed")
    end = os.open(tmp_path / "feed", os.O_RDWR | os.O_CLOEXEC)
    yield end
    os.close(end)


def looks(probe: DdProbe, many: int = LOOKS) -> None:
    """Give the probe every chance to send a signal."""
    for _ in range(many):
        probe.sample()


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


# -- not asking


def assert_never_asked(probe: DdProbe, because: str) -> None:
    """However often it is looked at."""
    looks(probe)
    assert because in probe.forbidden()
    assert probe.sent == 0


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


def test_a_script_called_dd_is_never_asked(source: Path, fifo: Fifo, tmp_path: Path) -> None:
    script = tmp_path / "dd"
    script.write_text(
        f"#!{sys.executable} -S\nimport signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(1))\n"
        "sys.argv[0] = 'dd'\nwhile data := sys.stdin.buffer.read(4096):\n sys.stdout.buffer.write(data)\n"
    )
    script.chmod(0o755)
    with Run(["sh", "-c", f"exec {script} <{source} >{fifo}"]) as run:
        wait_until(lambda: run.process.catches(signal.SIGUSR1))
        assert not run.find()
        probe = DdProbe(run.target(run.process), interval=0.0)
        probe._arguments = dd_probe.parse(["dd"])
        assert_never_asked(probe, "not dd")
        assert fifo.read(SIZE) == source.read_bytes()
        assert run.wait() == (0, None)


def test_a_shell_that_will_become_dd_is_never_asked_before(source: Path, fifo: Fifo, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    line = f"trap 'exit 3' USR1; read go <{tmp_path}/go; exec dd bs=4k <{source} >{fifo}"
    with Run(["sh", "-c", f"exec <{source}; {line}"]) as run:
        wait_until(lambda: run.process.catches(signal.SIGUSR1))
        early = DdProbe(run.target(run.process), interval=0.0)
        early._arguments = dd_probe.parse(["dd", "bs=4k"])
        assert_never_asked(early, "not dd")
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


def test_a_dd_with_words_that_dd_refuses_is_never_asked(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = run.unheard()
        probe = DdProbe(run.target(), interval=0.0)
        probe._arguments = dd_probe.parse(["dd", "bs=nonsense"])
        assert probe.sample() is None
        assert "not understood" in probe.forbidden()


# -- looking


def test_the_position_in_the_input_is_counted_from_where_dd_began(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "skip=300", "count=500"]) as run:
        sample = run.full()
        assert 60_000 <= sample.current <= 80_000, "what a pipe holds, and the block on its way"
        assert (sample.total, sample.source, sample.bound) == (500_000, "dd:input-position", Bound.EXACT)


def test_the_total_is_no_more_than_the_input_has(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "skip=300", "count=5000"]) as run:
        sample = run.full()
        assert sample.total == SIZE - 300_000


def test_a_total_that_the_user_gave_comes_first(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "skip=300"]) as run:
        probe = DdProbe(run.target(total=123_456), interval=0.0)
        wait_until(probe.sample)
        assert answered(probe).total == 123_456


def test_standard_input_that_was_read_from_before_is_an_estimate(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"exec <{source}; head -c 400000 >/dev/null; dd of={fifo} bs=1000; true"]) as run:
        sample = run.full()
        assert sample.bound is Bound.ESTIMATE
        assert sample.source == "dd:input-position"
        assert sample.total is not None
        assert abs(sample.total - 600_000) < 100_000
        assert sample.current < 200_000


def test_standard_input_that_is_read_from_its_start_is_exact(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"exec dd of={fifo} bs=1000 skip=200 <{source}"]) as run:
        sample = run.full()
        assert (sample.total, sample.bound) == (SIZE - 200_000, Bound.EXACT)
        assert sample.current <= 80_000


def test_what_is_read_from_a_pipe_is_told_by_the_position_in_the_output(tmp_path: Path, feed: int) -> None:
    operands = [f"if={tmp_path}/feed", f"of={tmp_path}/out", "bs=1000", "seek=5", "count=9"]
    for more, bound in ([], Bound.LOWER), (["iflag=fullblock"], Bound.EXACT):
        with Run(["dd", *operands, *more]) as run:
            probe = DdProbe(Target(run.tree, run.dd(), launched=False))
            early = probe.sample()
            assert early is None or early.current == 0
            os.write(feed, bytes(3000))
            wait_until(lambda probe=probe: (sample := probe.sample()) and sample.current == 3000)  # type: ignore[misc] # as above
            sample = probe.sample()
            assert sample is not None
            assert (sample.total, sample.source, sample.bound) == (9000, "dd:output-position", bound)


def test_between_two_pipes_what_was_written_is_told(tmp_path: Path, feed: int) -> None:
    with Run(["dd", f"if={tmp_path}/feed", "of=/dev/null", "bs=1000"]) as run:
        probe = DdProbe(Target(run.tree, run.dd(), launched=False))
        os.write(feed, bytes(2000))
        wait_until(lambda: (sample := probe.sample()) and sample.current == 2000)
        sample = probe.sample()
        assert sample is not None
        assert (sample.total, sample.source) == (None, "dd:written")


def test_what_is_appended_is_told_by_what_was_written(tmp_path: Path, feed: int) -> None:
    (tmp_path / "out").write_bytes(bytes(5000))
    with Run(["dd", f"if={tmp_path}/feed", f"of={tmp_path}/out", "bs=1000", "oflag=append", "conv=notrunc"]) as run:
        probe = DdProbe(Target(run.tree, run.dd(), launched=False))
        os.write(feed, bytes(2000))
        wait_until(lambda: (sample := probe.sample()) and sample.current == 2000)


def test_a_count_of_blocks_from_an_endless_device_is_exact(fifo: Fifo) -> None:
    with Run(["dd", "if=/dev/zero", f"of={fifo}", "bs=1000", "count=500"]) as run:
        sample = run.full()
        assert (sample.total, sample.source, sample.bound) == (500_000, "dd:written", Bound.EXACT)


def test_a_file_that_dd_was_started_with_is_not_taken_for_its_input(source: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "late")
    with Run(["sh", "-c", f"exec dd if={tmp_path}/late of=/dev/null bs=1000 <{source}"]) as run:
        probe = DdProbe(run.target(), interval=0.0)
        wait_until(lambda: run.process.catches(signal.SIGUSR1))
        assert probe.sample() is None
        assert_never_asked(probe, "shorten")


def test_what_was_known_is_told_while_dd_ends(source: Path, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = run.unheard()
        before = probe.sample()
        monkeypatch.setattr(type(probe._process), "file", lambda *_: None)  # it has closed its files
        after = probe.sample()
        assert before is not None
        assert after is not None
        assert (after.current, after.total, after.source) == (before.current, before.total, before.source)


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
