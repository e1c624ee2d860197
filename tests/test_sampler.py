"""The sampler, with probes that behave, and with all kinds that do not. Real threads, and the real clock where it matters."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from children import child, descriptors

from pollprog import sweep as sweep_module
from pollprog.backlog import MOST
from pollprog.probes.chooser import Chooser
from pollprog.process import Process, ProcessTree
from pollprog.sampler import Sampler
from pollprog.status import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

BOUND = 20.0
"""Seconds after which what should come counts as lost."""
OFTEN = 0.01


class Fake:
    """A probe that counts its looks, and does in them what the test says."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        self.act = act
        self.looks = 0
        self.times: list[float] = []
        self.threads: set[int] = set()
        self.closings: list[int] = []

    def sample(self) -> Any:
        self.looks += 1
        self.times.append(time.monotonic())
        self.threads.add(threading.get_ident())
        said = self.act()
        return Sample(self.looks) if said is None else said

    def close(self) -> None:
        self.closings.append(threading.get_ident())


class Listening(Fake):
    """One that is told what the command says."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        super().__init__(act)
        self.fed: list[tuple[int, bytes, int]] = []

    def feed(self, stream: int, record: bytes) -> None:
        self.fed.append((stream, record, self.looks))


class Surveying(Fake):
    """One that has to walk."""

    def __init__(self, *walks: Iterator[int]) -> None:
        super().__init__()
        self.walks = list(walks)

    def survey(self) -> Iterator[int] | None:
        return self.walks.pop(0) if self.walks else None


class Hangs:
    """A look that does not return until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.gate.wait(BOUND)

    def let_go(self) -> None:
        self.gate.set()


@asynccontextmanager
async def running(sampler: Sampler) -> AsyncIterator[None]:
    """The sampler at work."""
    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run)
            yield
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 # what other threads do sets no event of trio
        await trio.sleep(0.002)


async def goes_on(probe: Fake) -> None:
    """Wait until it was looked at some times more."""
    looks = probe.looks
    await until(lambda: probe.looks >= looks + 3)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Less of it, so that a test of what hangs does not take long."""
    monkeypatch.setattr(sweep_module, "PATIENCE", 0.2)
    return 0.2


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was handed to threads."""
    handed = []
    start = trio.lowlevel.start_thread_soon

    def count(run: Any, *more: Any) -> None:
        handed.append(run)
        start(run, *more)

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", count)
    return handed


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- sweeps


async def test_each_probe_is_looked_at_again_and_again_and_each_sample_reported() -> None:
    sampler, probe, reported = Sampler(), Fake(), []
    async with running(sampler):
        sampler.add(probe, reported.append, interval=OFTEN)
        await until(lambda: len(reported) >= 5)
    assert [sample.current for sample in reported[:5]] == [1, 2, 3, 4, 5]
    assert threading.get_ident() not in probe.threads


async def test_one_hop_to_a_thread_is_enough_for_all_probes(hops: list[object]) -> None:
    sampler, probes = Sampler(), [Fake() for _ in range(60)]
    async with running(sampler):
        for probe in probes:
            sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: all(probe.looks >= 6 for probe in probes))
        looks = max(probe.looks for probe in probes)
        assert len(hops) <= looks + 1  # one may be under way


async def test_nothing_to_do_takes_no_thread(hops: list[object]) -> None:
    sampler = Sampler()
    async with running(sampler):
        await trio.testing.wait_all_tasks_blocked()
        assert not hops
        sampler.add(Fake(), lambda _: None, interval=3600)
        await until(lambda: hops)
        await trio.testing.wait_all_tasks_blocked()
        assert len(hops) == 1


async def test_a_probe_is_not_looked_at_before_its_interval_is_over() -> None:
    sampler, probe = Sampler(), Fake()
    async with running(sampler):
        sampler.add(Fake(), lambda _: None, interval=OFTEN)
        sampler.add(probe, lambda _: None, interval=0.1)
        await until(lambda: probe.looks >= 4)
    assert all(later - sooner >= 0.1 for sooner, later in pairwise(probe.times))


async def test_an_interval_may_be_changed() -> None:
    sampler, probe = Sampler(), Fake()
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: probe.looks)
        entry.interval = 3600
        looks = probe.looks
        await trio.sleep(0.2)
        assert probe.looks <= looks + 2
        entry.interval = OFTEN


async def test_nothing_to_say_yet_is_not_reported() -> None:
    class Silent(Fake):
        def sample(self) -> None:
            self.looks += 1

    sampler, probe, reported = Sampler(), Silent(), []
    async with running(sampler):
        sampler.add(probe, reported.append, interval=OFTEN)
        await until(lambda: probe.looks >= 3)
    assert reported == []


async def test_what_is_removed_is_looked_at_no_more() -> None:
    sampler, probe, lost = Sampler(), Fake(), []
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, lost=lost.append, interval=OFTEN)
        await until(lambda: probe.looks >= 2)
        sampler.remove(entry)
        sampler.remove(entry)
        await until(lambda: probe.closings)
        looks = probe.looks
        await trio.sleep(10 * OFTEN)
    assert probe.looks == looks
    assert len(probe.closings) == 1
    assert lost == []


async def test_what_is_removed_during_its_look_is_not_reported() -> None:
    sampler, hangs, reported = Sampler(), Hangs(), []
    async with running(sampler):
        entry = sampler.add(Fake(hangs), reported.append, interval=OFTEN)
        await until(hangs.begun.is_set)
        sampler.remove(entry)
        hangs.let_go()
        await until(lambda: entry.probe.closings)
    assert reported == []


# --- probes that raise


class OfItsOwn(BaseException):
    """What a binding to another language may raise."""


@pytest.mark.parametrize("error", [ValueError("no good"), OSError(5, "I/O"), SystemExit(3), OfItsOwn("panic")])
async def test_a_probe_that_raises_is_dropped_with_a_line_in_the_log_and_the_others_go_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    sampler, bad, good, lost, reported = Sampler(), Fake(fail), Fake(), [], []
    async with running(sampler):
        sampler.add(bad, reported.append, lost=lost.append, interval=OFTEN)
        sampler.add(good, lambda _: None, interval=OFTEN)
        await until(lambda: good.looks >= 5 and bad.closings)
    assert bad.looks == 1
    assert len(bad.closings) == 1
    assert lost == [f"{type(error).__name__}: {error}"]
    assert warnings_in(caplog) == [f"the probe Fake is dropped: {lost[0]}"]
    assert reported == []


@pytest.mark.parametrize(
    "rubbish",
    [
        "42",
        42,
        object(),
        Sample(-1),
        Sample(1, -1),
        Sample(float("nan")),  # type: ignore[arg-type] # rubbish
        Sample(1, 2.0),  # type: ignore[arg-type] # rubbish
        Sample(1, activity=-1),
        Sample(1, phase=None),  # type: ignore[arg-type] # rubbish
        Sample(1, source=b"x"),  # type: ignore[arg-type] # rubbish
        Sample(1, unit="bytes"),  # type: ignore[arg-type] # rubbish
        Sample(1, bound="exact"),  # type: ignore[arg-type] # rubbish
    ],
)
async def test_a_probe_that_returns_rubbish_is_dropped(rubbish: object, caplog: pytest.LogCaptureFixture) -> None:
    sampler, bad, good, lost, reported = Sampler(), Fake(lambda: rubbish), Fake(), [], []
    async with running(sampler):
        sampler.add(bad, reported.append, lost=lost.append, interval=OFTEN)
        sampler.add(good, lambda _: None, interval=OFTEN)
        await until(lambda: good.looks >= 3)
    assert bad.looks == 1
    assert len(lost) == len(warnings_in(caplog)) == 1
    assert reported == []


async def test_the_log_calls_a_probe_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    probe = Fake(lambda: 42)
    probe.name = "dd"  # type: ignore[attr-defined] # a probe may have one
    sampler = Sampler()
    async with running(sampler):
        sampler.add(probe, lambda _: None)
        await until(lambda: probe.closings)
    assert warnings_in(caplog)[0].startswith("the probe dd is dropped: ")


async def test_who_is_told_of_a_loss_may_enter_the_next_best() -> None:
    def fail() -> None:
        raise ValueError

    sampler, best, next_best, reported = Sampler(), Fake(fail), Fake(), []
    async with running(sampler):
        sampler.add(
            best,
            reported.append,
            lost=lambda _: sampler.add(next_best, reported.append, interval=OFTEN),
            interval=OFTEN,
        )
        await until(lambda: len(reported) >= 2)
    assert next_best.looks >= 2


# --- probes that hang


async def test_a_probe_that_hangs_is_dropped_with_its_thread_and_the_others_go_on(
    patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    sampler, hangs, lost, reported = Sampler(), Hangs(), [], []
    bad, before, behind = Fake(hangs), Fake(), Fake()
    async with running(sampler):
        sampler.add(before, lambda _: None, interval=OFTEN)
        sampler.add(bad, reported.append, lost=lost.append, interval=OFTEN)
        sampler.add(behind, lambda _: None, interval=OFTEN)
        await until(lambda: lost)
        looks = behind.looks, before.looks
        await until(lambda: behind.looks >= looks[0] + 3 and before.looks >= looks[1] + 3)
        assert bad.closings == []
        assert not (bad.threads & behind.threads)
        hangs.let_go()
        await until(lambda: bad.closings)
    assert (bad.looks, len(bad.closings)) == (1, 1)
    assert set(bad.closings) == bad.threads
    assert lost == ["it did not return within 0.2 seconds"]
    assert warnings_in(caplog) == ["the probe Fake is dropped: it did not return within 0.2 seconds"]
    assert reported == []


async def test_each_of_several_that_hang_is_dropped(patience: float) -> None:
    sampler, hangs, lost, good = Sampler(), Hangs(), [], Fake()
    async with running(sampler):
        for _ in range(3):
            sampler.add(Fake(hangs), lambda _: None, lost=lost.append, interval=OFTEN)
        sampler.add(good, lambda _: None, interval=OFTEN)
        await until(lambda: len(lost) == 3 and good.looks >= 3)
    hangs.let_go()


async def test_those_behind_one_that_hangs_have_their_turn_in_the_same_sweep(patience: float) -> None:
    sampler, hangs, behind = Sampler(), Hangs(), Fake()
    async with running(sampler):
        sampler.add(Fake(hangs), lambda _: None, interval=OFTEN)
        sampler.add(behind, lambda _: None, interval=3600)
        await until(lambda: behind.looks)
    hangs.let_go()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """More patience than a test has, of which one part is short."""
    monkeypatch.setattr(sweep_module, "PATIENCE", 4 * BOUND)
    monkeypatch.setattr(sweep_module, "SLICES", 400)


@pytest.mark.parametrize("good", [0, 4])
async def test_the_others_in_a_sweep_wait_for_none_of_several_that_hang(endless: None, good: int) -> None:
    sampler, hangs = Sampler(), Hangs()
    probes = [Fake() if number == good else Fake(hangs) for number in range(5)]
    entries = [sampler.add(probe, lambda _: None, interval=OFTEN) for probe in probes]
    async with running(sampler):  # they stand in one sweep
        await until(lambda: all(probe.looks for probe in probes) and probes[good].looks >= 5)
        hangs.let_go()
    assert not any(entry.removed for entry in entries)


async def test_those_that_hang_one_after_another_hold_up_nobody(endless: None) -> None:
    class Later(Hangs):
        def __call__(self) -> None:
            if probes[self].looks > 1:  # the first has a thread of its own
                super().__call__()

    sampler, good, bad = Sampler(), Fake(), [Later() for _ in range(4)]
    probes = {hangs: Fake(hangs) for hangs in bad}
    async with running(sampler):
        sampler.add(good, lambda _: None, interval=OFTEN)
        for hangs in bad:
            sampler.add(probes[hangs], lambda _: None, interval=OFTEN)
            await until(hangs.begun.is_set)
            await goes_on(good)
        for hangs in bad:
            hangs.let_go()
        await goes_on(probes[bad[0]])


async def test_a_new_one_is_looked_at_while_another_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "PATIENCE", 4 * BOUND)
    sampler, hangs, new = Sampler(), Hangs(), Fake()
    async with running(sampler):
        sampler.add(Fake(hangs), lambda _: None, interval=OFTEN)
        await until(hangs.begun.is_set)
        sampler.add(new, lambda _: None, interval=OFTEN)
        await until(lambda: new.looks)
        hangs.let_go()


async def test_what_is_removed_while_it_is_looked_at_apart_is_closed_after_that(patience: float) -> None:
    sampler, hangs, slow, lost = Sampler(), Hangs(), Hangs(), []
    apart = Fake(slow)
    async with running(sampler):
        sampler.add(Fake(hangs), lambda _: None, lost=lost.append, interval=OFTEN)
        entry = sampler.add(apart, lambda _: None, interval=OFTEN)
        await until(slow.begun.is_set)
        sampler.remove(entry)
        slow.let_go()
        await until(lambda: apart.closings)
        hangs.let_go()
    assert (apart.looks, len(apart.closings)) == (1, 1)


async def test_one_that_hung_is_not_surveyed_when_it_comes_back(patience: float) -> None:
    sampler, hangs, lost, asked = Sampler(), Hangs(), [], []

    class Walking(Fake):
        def survey(self) -> None:
            asked.append(True)

    probe = Walking(hangs)
    async with running(sampler):
        sampler.add(probe, lambda _: None, lost=lost.append, interval=OFTEN)
        await until(lambda: lost)
        hangs.let_go()
        await until(lambda: probe.closings)
    assert not asked


async def test_one_that_hangs_while_it_is_told_something_is_neither_looked_at_nor_surveyed_after(
    patience: float,
) -> None:
    hangs, lost, sampler = Hangs(), [], Sampler()

    class Deaf(Fake):
        def feed(self, stream: int, record: bytes) -> None:
            hangs()

        def survey(self) -> None:
            raise AssertionError("it was given up")

    probe = Deaf()
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, lost=lost.append, interval=OFTEN)
        entry.heard.add(2, b"said")
        await until(lambda: lost)
        hangs.let_go()
        await until(lambda: probe.closings)
    assert probe.looks == 0


async def test_one_that_hangs_in_its_close_holds_nobody_up(patience: float) -> None:
    hangs, sampler, good = Hangs(), Sampler(), Fake()

    class Stubborn(Fake):
        def close(self) -> None:
            super().close()
            hangs()

    probe, last = Stubborn(), Fake()
    async with running(sampler):
        entries = [sampler.add(other, lambda _: None, interval=OFTEN) for other in (probe, last)]
        sampler.add(good, lambda _: None, interval=OFTEN)
        await until(lambda: probe.looks and last.looks)
        for entry in entries:
            sampler.remove(entry)
        await until(lambda: last.closings)
        looks = good.looks
        await until(lambda: good.looks >= looks + 3)
    hangs.let_go()
    assert len(probe.closings) == len(last.closings) == 1


async def test_a_slow_look_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "PATIENCE", 6.0)
    sampler, hangs, reported = Sampler(), Hangs(), []
    async with running(sampler):
        sampler.add(Fake(hangs), reported.append, interval=3600)
        await until(hangs.begun.is_set)
        await trio.sleep(0.5)
        hangs.let_go()
        await until(lambda: reported)


def by_a_clock_that_jumps(run: Callable[[Callable[[], Any]], Any]) -> None:
    """Run this, with a function that lets 1000 seconds pass for the sampler and none for its thread."""
    clock = trio.testing.MockClock()

    async def jump() -> None:
        clock.jump(1000)
        await trio.testing.wait_all_tasks_blocked(0.01)

    trio.run(run, jump, clock=clock)


async def in_its_thread(condition: Callable[[], object]) -> None:
    """Wait for what the sampler's thread does, while its clock stands."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        await trio.testing.wait_all_tasks_blocked(0.01)


def test_time_in_which_we_were_stopped_ourselves_is_not_held_against_a_probe() -> None:
    async def run(jump: Callable[[], Any]) -> None:
        sampler, hangs, lost, reported = Sampler(), Hangs(), [], []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run)
            sampler.add(Fake(hangs), reported.append, lost=lost.append, interval=1e9)
            await in_its_thread(hangs.begun.is_set)
            await jump()
            await jump()
            hangs.let_go()
            await in_its_thread(lambda: reported)
            assert not lost
            nursery.cancel_scope.cancel()

    by_a_clock_that_jumps(run)


def test_each_probe_has_the_whole_patience_however_many_there_are() -> None:
    async def run(jump: Callable[[], Any]) -> None:
        sampler, looks, lost, reported = Sampler(), [Hangs() for _ in range(8)], [], []
        for hangs in looks:
            sampler.add(Fake(hangs), reported.append, lost=lost.append, interval=1e9)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run)
            await in_its_thread(looks[0].begun.is_set)
            for _ in range(2):  # one, or two if it had only begun
                await jump()
            await in_its_thread(lambda: all(hangs.begun.is_set() for hangs in looks))
            for _ in range(2):
                await jump()
            for hangs in looks:
                hangs.let_go()
            await in_its_thread(lambda: len(reported) == len(looks))
            assert not lost
            nursery.cancel_scope.cancel()

    by_a_clock_that_jumps(run)


# --- what is heard


async def test_a_probe_is_told_all_that_was_heard_before_it_is_looked_at() -> None:
    sampler, probe = Sampler(), Listening()
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=OFTEN)
        for number in range(5):
            entry.heard.add(2, b"%d" % number)
        await until(lambda: probe.looks >= 2)
    assert [record for _, record, _ in probe.fed] == [b"0", b"1", b"2", b"3", b"4"]
    assert probe.fed[0][2] == 0


async def test_of_too_much_that_is_heard_the_oldest_is_let_go() -> None:
    sampler, probe = Sampler(), Listening()
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=OFTEN)
        for number in range(MOST // 100 + 10):
            entry.heard.add(2, b"%099d" % number)
        await until(lambda: probe.looks)
    assert [int(record) for _, record, _ in probe.fed] == list(range(10, MOST // 100 + 10))


async def test_what_comes_while_a_probe_is_told_waits_for_the_next_look() -> None:
    class Echo(Listening):
        def feed(self, stream: int, record: bytes) -> None:
            super().feed(stream, record)
            entry.heard.add(stream, record)

    sampler, probe = Sampler(), Echo()
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=OFTEN)
        entry.heard.add(2, b"again")
        await until(lambda: probe.looks >= 3)
    assert probe.fed[1][2] >= 1


async def test_telling_looking_and_closing_are_never_done_at_once() -> None:
    busy, clashes, over = threading.Lock(), [], threading.Event()

    class Fragile(Listening):
        def alone(self) -> None:
            if not busy.acquire(blocking=False):
                clashes.append(True)
                return
            time.sleep(0.0005)
            busy.release()

        def sample(self) -> Sample:
            self.alone()
            return super().sample()

        def feed(self, stream: int, record: bytes) -> None:
            self.alone()
            super().feed(stream, record)

        def close(self) -> None:
            self.alone()
            super().close()

    sampler, probe = Sampler(), Fragile()

    def speak() -> None:
        while not over.wait(0.001):
            entry.heard.add(1, b"x")

    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=0.001)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, speak)
            await until(lambda: probe.looks >= 30 and len(probe.fed) >= 30)
            sampler.remove(entry)
            await until(lambda: probe.closings)
            over.set()
    assert clashes == []


# --- surveys


async def test_a_survey_runs_beside_the_looks() -> None:
    hangs = Hangs()

    def walk() -> Iterator[int]:
        threads.add(threading.get_ident())
        yield 1
        hangs()
        yield 2
        done.append(True)

    threads: set[int] = set()
    done: list[bool] = []
    sampler, probe = Sampler(), Surveying(walk())
    async with running(sampler):
        sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(hangs.begun.is_set)
        looks = probe.looks
        await until(lambda: probe.looks >= looks + 3)
        hangs.let_go()
        await until(lambda: done)
    assert not (threads & probe.threads)


async def test_the_next_survey_is_asked_for_when_the_first_is_through() -> None:
    steps: list[str] = []

    def walk(name: str) -> Iterator[int]:
        for number in range(3):
            steps.append(name)
            yield number

    sampler, probe = Sampler(), Surveying(walk("first"), walk("second"))
    async with running(sampler):
        sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: len(steps) == 6)
    assert steps == ["first"] * 3 + ["second"] * 3


async def test_a_survey_ends_when_its_probe_is_removed() -> None:
    steps: list[int] = []

    def walk() -> Iterator[int]:
        try:
            while True:
                steps.append(1)
                time.sleep(0.001)
                yield 1
        finally:
            steps.append(-1)

    sampler, probe = Sampler(), Surveying(walk())
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: len(steps) > 3)
        sampler.remove(entry)
        await until(lambda: steps[-1] == -1)


@pytest.mark.parametrize("error", [OSError("a server is gone"), SystemExit(3)])
async def test_a_survey_that_fails_is_told_once_and_the_looks_go_on(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def walk() -> Iterator[int]:
        yield 1
        raise error

    sampler, probe = Sampler(), Surveying(walk(), walk(), walk())
    async with running(sampler):
        sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: warnings_in(caplog))
        looks = probe.looks
        await until(lambda: probe.looks >= looks + 4)
    assert warnings_in(caplog) == ["the survey for Surveying failed; its total stays unknown"]
    assert len(probe.walks) == 2


# --- who closes what


async def test_a_removed_probe_is_closed_soon_however_long_its_interval_is() -> None:
    sampler, probe = Sampler(), Fake()
    async with running(sampler):
        entry = sampler.add(probe, lambda _: None, interval=86400)
        await until(lambda: probe.looks)
        sampler.remove(entry)
        await until(lambda: probe.closings)
    assert probe.closings != [threading.get_ident()]


async def test_when_the_sampler_ends_every_probe_is_closed_once() -> None:
    sampler, probes = Sampler(), [Fake() for _ in range(5)]
    async with running(sampler):
        for probe in probes:
            sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: all(probe.looks for probe in probes))
        sampler.remove(sampler.add(probes.pop(), lambda _: None))
    with trio.fail_after(BOUND):
        await until(lambda: all(probe.closings for probe in probes))
    assert [len(probe.closings) for probe in probes] == [1] * 4


async def test_when_the_sampler_ends_during_a_look_that_probe_is_closed_when_it_comes_back() -> None:
    sampler, hangs, other, reported = Sampler(), Hangs(), Fake(), []
    probe = Fake(hangs)
    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run)
            sampler.add(probe, reported.append)
            sampler.add(other, lambda _: None)
            await until(hangs.begun.is_set)
            nursery.cancel_scope.cancel()
        await until(lambda: other.closings)
        assert probe.closings == []
        hangs.let_go()
        await until(lambda: probe.closings)
    assert (len(probe.closings), other.looks, reported) == (1, 0, [])


async def test_when_the_sampler_ends_while_it_closes_no_probe_is_closed_twice() -> None:
    hangs, sampler = Hangs(), Sampler()

    class Stubborn(Fake):
        def close(self) -> None:
            super().close()
            hangs()

    probes = Fake(), Stubborn(), Fake()
    async with running(sampler):
        for entry in [sampler.add(probe, lambda _: None, interval=OFTEN) for probe in probes]:
            sampler.remove(entry)
        await until(hangs.begun.is_set)
    with trio.fail_after(BOUND):
        await until(lambda: probes[2].closings)
    hangs.let_go()
    assert [len(probe.closings) for probe in probes] == [1, 1, 1]
    assert [probe.looks for probe in probes] == [0, 0, 0]


async def test_nothing_is_kept_of_a_probe_that_was_closed() -> None:
    sampler, kept = Sampler(), []

    async def use_one() -> None:
        probe = Fake()
        kept.append(weakref.ref(probe))
        entry = sampler.add(probe, lambda _: None, interval=OFTEN)
        await until(lambda: probe.looks)
        sampler.remove(entry)
        await until(lambda: probe.closings)

    async with running(sampler):
        await use_one()
        await until(lambda: gc.collect() >= 0 and kept[0]() is None)


async def test_a_close_that_raises_is_no_harm() -> None:
    class Rude(Fake):
        def close(self) -> None:
            super().close()
            raise OfItsOwn

    sampler, rude, other = Sampler(), Rude(), Fake()
    async with running(sampler):
        entries = [sampler.add(probe, lambda _: None, interval=OFTEN) for probe in (rude, other)]
        await until(lambda: rude.looks and other.looks)
        for entry in entries:
            sampler.remove(entry)
        await until(lambda: rude.closings and other.closings)


async def test_no_descriptor_stays_open_behind_a_probe() -> None:
    with child() as obedient:
        sampler, before, reported = Sampler(), descriptors(), []
        async with running(sampler):
            inside = descriptors()  # with those of the clock and the threads of trio
            entries = []
            for _ in range(20):
                chooser = Chooser(ProcessTree(Process(obedient.pid)), launched=True)
                entries.append(sampler.add(chooser, reported.append, interval=OFTEN))
            await until(lambda: len(reported) >= 60)
            assert descriptors() >= inside + 40
            for entry in entries[:10]:
                sampler.remove(entry)
            await until(lambda: descriptors() <= (inside + 10 * 10))
            for entry in entries[10:]:
                sampler.remove(entry)
            await until(lambda: descriptors() <= inside)
        with trio.fail_after(BOUND):
            await until(lambda: descriptors() <= before)


async def test_no_descriptor_stays_open_behind_a_probe_that_hung(
    patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = Hangs()
    with child() as obedient:
        sampler, lost = Sampler(), []
        async with running(sampler):
            inside = descriptors()
            process = Process(obedient.pid)
            chooser = Chooser(ProcessTree(process), launched=True)
            monkeypatch.setattr("pollprog.probes.evidence.Evidence.sample", lambda _: hangs())
            sampler.add(chooser, lambda _: None, lost=lost.append, interval=OFTEN)
            await until(lambda: lost)
            assert descriptors() > inside
            hangs.let_go()
            await until(lambda: descriptors() <= inside)
