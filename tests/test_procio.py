from __future__ import annotations

import os

import pytest
from children import as_nobody, child, target_for, wait_until

from pollprog.errors import UsageError
from pollprog.probes.procio import COUNTERS, probe
from pollprog.status import Bound, Unit

MIB = 1 << 20


def test_what_a_process_writes_is_counted() -> None:
    with child() as writer, target_for(writer.pid, total=10 * MIB) as target:
        looked = probe(target, None)
        before = looked.sample()
        writer.does(f"open('/dev/null', 'wb').write(bytes({3 * MIB}))")
        after = looked.sample()
        assert before is not None
        assert after is not None
        assert 3 * MIB <= after.current - before.current < 4 * MIB
        assert (after.total, after.unit, after.source, after.bound) == (
            10 * MIB,
            Unit.BYTES,
            "procio:wchar",
            Bound.ESTIMATE,
        )
        assert after.activity > before.activity
        looked.close()


@pytest.mark.parametrize("counter", COUNTERS)
def test_each_counter_can_be_asked_for(counter: str) -> None:
    with child() as reader, target_for(reader.pid) as target:
        reader.does(f"open('/dev/zero', 'rb', buffering=0).read({MIB}); open('/dev/null', 'wb').write(bytes(1))")
        sample = probe(target, counter).sample()
        io = target.process.io()
        assert sample is not None
        assert io is not None
        assert sample.source == f"procio:{counter}"
        assert sample.current <= getattr(io, counter)
        assert sample.current >= (MIB if counter == "rchar" else 0)


def test_the_children_count_and_are_not_lost_or_counted_twice_when_they_end() -> None:
    with child() as parent, target_for(parent.pid) as target:
        looked = probe(target, "wchar")
        grandchild = "import sys; open('/dev/null', 'wb').write(bytes(1 << 20)); print(flush=True); sys.stdin.read()"
        parent.does(
            f"one = subprocess.Popen([sys.executable, '-I', '-S', '-c', {grandchild!r}], stdin=subprocess.PIPE,"
            " stdout=subprocess.PIPE); one.stdout.readline()"
        )
        alive = looked.sample()
        assert alive is not None
        assert MIB <= alive.current < 2 * MIB
        pid = int(parent.does("one.stdin.close(); answer = one.pid"))
        wait_until(lambda: all(process.pid != pid for process, _ in target.tree.look()))
        unreaped = looked.sample()
        assert unreaped is not None
        assert alive.current <= unreaped.current < 2 * MIB
        parent.does("one.wait()")
        reaped = looked.sample()
        assert reaped is not None
        assert unreaped.current <= reaped.current < 2 * MIB
        parent.does(f"open('/dev/null', 'wb').write(bytes({MIB}))")
        more = looked.sample()
        assert more is not None
        assert more.current >= reaped.current + MIB - 4096  # at most what was written about the ends of the pipes
        assert unreaped.activity <= reaped.activity < more.activity


def test_a_process_that_only_computes_is_alive() -> None:
    with child() as worker, target_for(worker.pid) as target:
        looked = probe(target, "write_bytes")
        first = looked.sample()
        assert first is not None

        def works() -> bool:
            worker.does("sum(range(300000))")
            now = target.process.stat()
            sample = looked.sample()
            assert sample is not None
            return now.ticks > ticks and sample.activity > first.activity

        ticks = target.process.stat().ticks
        wait_until(works)


def test_nothing_is_said_of_counters_that_we_may_not_see() -> None:
    with child() as other, as_nobody(), target_for(other.pid) as target:
        assert target.tree.look()
        assert probe(target, None).sample() is None


def test_nothing_is_said_when_all_have_ended() -> None:
    with child() as short, target_for(short.pid) as target:
        looked = probe(target, None)
        assert looked.sample() is not None
        short.end()
        assert looked.sample() is None


@pytest.mark.parametrize("argument", ["", "WCHAR", "bytes", "syscr", "__class__"])
def test_another_counter_is_refused_with_the_names_of_those_there_are(argument: str) -> None:
    with target_for(os.getpid()) as target, pytest.raises(UsageError, match="rchar, wchar, read_bytes, write_bytes"):
        probe(target, argument)
