from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog.estimator import Estimator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRACES = sorted((Path(__file__).parent.parent / "bench" / "traces").glob("*.csv"))
MB = 1_000_000


def feed(
    estimator: Estimator,
    done: Callable[[float], float],
    total: int | None,
    start: float,
    end: float,
    hertz: float = 3.0,
) -> Iterator[float]:
    """Samples `done(t)` from start to end, and yields each time just after its update."""
    for k in range(round((end - start) * hertz) + 1):
        now = start + k / hertz
        estimator.update(now, int(done(now)), total)
        yield now


def fed(done: Callable[[float], float], total: int | None, end: float, hertz: float = 3.0) -> Estimator:
    estimator = Estimator()
    for _ in feed(estimator, done, total, 0, end, hertz):
        pass
    return estimator


# ------------------------------------------------------------------ what always holds

COUNTS = st.one_of(st.integers(-10, 300), st.integers(0, 2**63), st.integers(2**63 - 3, 2**64))
TIMES = st.one_of(st.floats(0, 2), st.floats(0, 100), st.floats(0, 1e12))
STEPS = st.lists(st.tuples(TIMES, COUNTS, st.none() | COUNTS), max_size=60)


def check(estimator: Estimator, current: int, total: int | None) -> None:
    rate, remaining, interval = estimator.rate(), estimator.remaining(), estimator.interval()
    assert rate is None or 0 < rate < math.inf
    assert 0 <= estimator.idle() < math.inf
    assert 0 < estimator.patience() < math.inf
    assert estimator.stalled() == (estimator.idle() > estimator.patience())
    assert (remaining is None) == (interval is None)
    if remaining is not None and interval is not None:
        assert total is not None
        assert current < total
        assert not estimator.stalled()
        assert 0 < remaining < math.inf
        assert 0 < interval[0] <= remaining <= interval[1] < math.inf


@given(STEPS)
@settings(deadline=None)
def test_whatever_it_is_told_it_says_nothing_absurd(steps: list[tuple[float, int, int | None]]) -> None:
    estimator = Estimator()
    check(estimator, 0, None)
    for elapsed, current, total in steps:  # time stands still, goes back, leaps; so do the counter and the total
        estimator.update(elapsed, current, total)
        check(estimator, current, total)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 2**40)), min_size=1, max_size=80),
    st.integers(0, 2**46),
)
@settings(deadline=None)
def test_however_a_counter_grows_nothing_absurd_is_said(steps: list[tuple[float, int]], total: int) -> None:
    estimator, now, current = Estimator(), 0.0, 0
    for passed, more in steps:
        now, current = now + passed, current + more
        estimator.update(now, current, total)
        check(estimator, current, total)


@given(
    rate=st.floats(10, 1e10),
    seconds=st.floats(20, 5000),
    hertz=st.sampled_from([0.5, 1.0, 3.0, 20.0]),
    late=st.floats(0, 0.4),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=30)
def test_a_steady_rate_is_told_right_at_any_pace_of_sampling(
    rate: float, seconds: float, hertz: float, late: float, seed: int
) -> None:
    noise, estimator, total = random.Random(seed), Estimator(), int(rate * seconds)
    for k in range(int(min(150, seconds) * hertz)):
        now = (k + noise.uniform(0, late)) / hertz
        current = int(rate * now)
        estimator.update(now, current, total)
        if now < 10 or current >= total:
            continue
        assert estimator.rate() == pytest.approx(rate, rel=0.1)
        remaining, interval = estimator.remaining(), estimator.interval()
        assert remaining == pytest.approx((total - current) / rate, rel=0.1 if now > 100 else 0.4, abs=1)
        assert interval is not None
        assert interval[0] - 1 < seconds - now < interval[1]


@given(STEPS, STEPS)
@settings(deadline=None)
def test_a_new_phase_knows_nothing_of_the_one_before(
    before: list[tuple[float, int, int | None]], after: list[tuple[float, int, int | None]]
) -> None:
    first, second = Estimator(), Estimator()
    for elapsed, current, total in before:
        first.update(elapsed, current, total)
    begun = max([0.0, *(elapsed for elapsed, _, _ in before)])
    first.update(begun, -11, None)
    second.update(begun, -11, None)
    for elapsed, current, total in after:
        for estimator in (first, second):
            estimator.update(begun + elapsed, current, total)
        assert first.remaining() == second.remaining()
        assert first.interval() == second.interval()
        assert (first.rate(), first.stalled()) == (second.rate(), second.stalled())


# ------------------------------------------------------------------ rate and remaining


def test_before_the_first_sample_and_after_it_nothing_is_known() -> None:
    estimator = Estimator()
    for _ in range(2):
        assert (estimator.rate(), estimator.remaining(), estimator.interval()) == (None, None, None)
        assert (estimator.idle(), estimator.stalled()) == (0.0, False)
        estimator.update(3.0, 5, 10)


def test_a_first_estimate_comes_within_the_second_in_which_no_reader_is_told_yet() -> None:
    estimator = fed(lambda t: 100 * MB * t, 1000 * MB, 1)
    assert estimator.remaining() == pytest.approx(9, rel=0.05)


def test_what_was_done_before_the_first_sample_does_not_count_as_speed() -> None:
    estimator = fed(lambda t: 5000 * MB + MB * t, 5100 * MB, 20)
    assert estimator.rate() == pytest.approx(MB, rel=0.01)
    assert estimator.remaining() == pytest.approx(80, rel=0.02)


def test_with_work_left_there_is_time_left_and_at_the_total_there_is_no_saying() -> None:
    estimator = fed(lambda t: 10 * MB * t, 100 * MB, 9.7)
    estimator.update(9.9, 99 * MB, 100 * MB)
    estimator.update(10, 100 * MB - 1, 100 * MB)
    remaining = estimator.remaining()
    assert remaining is not None
    assert remaining > 0
    estimator.update(10.3, 100 * MB, 100 * MB)
    assert estimator.remaining() is None
    estimator.update(10.6, 103 * MB, 100 * MB)
    assert estimator.remaining() is None
    assert estimator.rate() == pytest.approx(10 * MB, rel=0.15)


def test_a_first_guess_of_a_long_job_is_not_held_for_long() -> None:
    estimator = Estimator()
    for now in feed(estimator, lambda t: MB * t + 0.6 * MB * min(t, 1), 36000 * MB, 0, 240):
        if now > 180:
            assert estimator.remaining() == pytest.approx(36000 - now, rel=0.05)


def test_an_end_beyond_the_century_is_not_told() -> None:
    estimator = fed(lambda t: t, 2**63, 30, hertz=1)
    assert estimator.rate() == pytest.approx(1)
    assert estimator.remaining() is None


def test_the_countdown_of_bursts_is_steady() -> None:
    def bursts(t: float) -> float:  # all of 5 s' work in the last half second of each 5 s
        return 20 * MB * 5 * (t // 5 + max(0.0, t % 5 - 4.5) / 0.5)

    estimator, ends = Estimator(), []
    for now in feed(estimator, bursts, 2000 * MB, 0, 90):
        remaining = estimator.remaining()
        if now > 25:
            assert not estimator.stalled()
            assert remaining is not None
            ends.append(now + remaining)
    assert estimator.rate() == pytest.approx(20 * MB, rel=0.1)
    assert all(90 < end < 115 for end in ends)  # truly 100
    assert max(abs(late - early) for early, late in pairwise(ends)) < 1


def test_coarse_steps_are_learned_as_the_rate_that_they_are() -> None:
    estimator = Estimator()
    for now in feed(estimator, lambda t: 30 * MB * (t // 3), 1200 * MB, 0, 100):
        if now > 15:
            assert estimator.rate() == pytest.approx(10 * MB, rel=0.1)
            assert estimator.remaining() == pytest.approx(120 - now, rel=0.15, abs=3)


def test_noise_moves_the_end_less_than_it_moves_the_rate() -> None:
    noise, estimator, current, ends, rates = random.Random(1), Estimator(), 0, [], []
    for k in range(400):
        estimator.update(k / 3, current, 500 * MB)
        current += round(MB * noise.lognormvariate(-0.5, 1.0))
        if k > 100:
            remaining, rate = estimator.remaining(), estimator.rate()
            assert remaining is not None
            assert rate is not None
            ends.append(remaining)
            rates.append((500 * MB - current) / rate)
    moves = [sum(abs(late - early) for early, late in pairwise(series)) for series in (ends, rates)]
    assert moves[0] < moves[1] / 2


def test_while_the_work_gathers_speed_the_end_is_not_guessed() -> None:
    estimator, told = Estimator(), []
    for now in feed(estimator, lambda t: MB * (t if t < 10 else 40 * t - 390), 4000 * MB, 0, 60):
        remaining = estimator.remaining()
        if 11 < now < 16:
            told.append(remaining)
    assert None in told
    assert estimator.remaining() == pytest.approx((4000 - 40 * 60 + 390) / 40, rel=0.3)


def test_after_a_real_change_of_speed_the_end_is_told_again_soon() -> None:
    estimator, silent, longest = Estimator(), 0, 0
    for now in feed(estimator, lambda t: MB * (t if t < 600 else 4 * t - 1800), 36000 * MB, 0, 1800, hertz=1):
        if now > 10:
            silent = silent + 1 if estimator.remaining() is None else 0
            longest = max(longest, silent)
    assert longest < 15
    assert estimator.remaining() == pytest.approx((36000 - 4 * 1800 + 1800) / 4, rel=0.35)


def test_when_the_last_bit_takes_longer_than_the_rate_says_there_is_still_time_left() -> None:
    estimator = Estimator()
    for now in feed(estimator, lambda t: min(10 * MB * t, 499 * MB), 500 * MB, 0, 52, hertz=50):
        remaining = estimator.remaining()
        if now > 2:
            assert remaining is not None
            assert remaining > 0.04


def test_near_the_end_what_counts_is_how_it_goes_now() -> None:
    def cliff(t: float) -> float:  # fast for 600 s, then a fifth of that for the last 100
        return 10 * MB * t if t < 600 else 6000 * MB + 2 * MB * (t - 600)

    estimator = fed(cliff, 6200 * MB, 660, hertz=1)
    assert estimator.remaining() == pytest.approx(40, rel=0.3)  # the average of all would say 8


def test_the_interval_narrows_as_the_work_goes_on() -> None:
    estimator, widths = Estimator(), []
    for _ in feed(estimator, lambda t: 10 * MB * t, 1000 * MB, 0, 95):
        interval = estimator.interval()
        if interval is not None:
            widths.append(interval[1] / interval[0])
    assert widths[90] < widths[5]
    assert widths[200] < widths[90]


def test_an_end_that_was_often_wrong_is_told_with_more_doubt() -> None:
    def width(fast: float, slow: float) -> float:
        """The interval's, after five minutes at two speeds in turns of 30 s each."""

        def done(t: float) -> float:
            turns, now = divmod(t, 60)
            return MB * (30 * (fast + slow) * turns + fast * min(now, 30) + slow * max(0.0, now - 30))

        interval = fed(done, 6000 * MB, 300).interval()
        assert interval is not None
        return interval[1] / interval[0]

    assert width(16, 4) > 1.1 * width(10, 10)


# ------------------------------------------------------------------ totals


def test_a_late_total_finds_the_rate_already_learned() -> None:
    estimator = Estimator()
    for _ in feed(estimator, lambda t: 10 * MB * t, None, 0, 20):
        assert estimator.remaining() is None
    assert estimator.rate() == pytest.approx(10 * MB, rel=0.01)
    estimator.update(20.3, 203 * MB, 1000 * MB)
    assert estimator.remaining() == pytest.approx(79.7, rel=0.02)


@pytest.mark.parametrize("change", [-200 * MB, 100 * MB, 500 * MB])
def test_a_total_that_changes_moves_the_end_at_once(change: int) -> None:
    estimator = fed(lambda t: 10 * MB * t, 1000 * MB, 40)
    estimator.update(40.3, 403 * MB, 1000 * MB + change)
    assert estimator.remaining() == pytest.approx(59.7 + change / 10 / MB, rel=0.03)


def test_a_total_that_keeps_growing_is_followed() -> None:
    estimator = Estimator()
    for k in range(1, 120):
        now, total = k / 3, (200 + 12 * k) * MB
        estimator.update(now, int(10 * MB * now), total)
        if now > 2:
            assert estimator.remaining() == pytest.approx((total - 10 * MB * now) / 10 / MB, rel=0.05)


@pytest.mark.parametrize("total", [0, -1, 5])
def test_a_total_that_cannot_be_right_is_as_good_as_none(total: int) -> None:
    estimator = fed(lambda t: 10 * t + 10, total, 20)
    assert estimator.rate() == pytest.approx(10, rel=0.05)
    assert estimator.remaining() is None


# ------------------------------------------------------------------ stalls


def halting(t: float) -> float:
    """10 MB/s, but nothing at all from 30 s to 60 s."""
    return 10 * MB * (min(t, 30) + max(0.0, t - 60))


def test_a_stall_is_told_within_five_seconds_and_ends_with_the_next_advance() -> None:
    estimator = Estimator()
    for now in feed(estimator, halting, 1000 * MB, 0, 90):
        if 35 < now <= 60:
            assert estimator.stalled()
            assert estimator.remaining() is None
            assert estimator.idle() == pytest.approx(now - 30, abs=0.4)
        elif now < 34 or now > 60.4:
            assert not estimator.stalled()


def test_a_stall_does_not_poison_the_rate() -> None:
    estimator = Estimator()
    for now in feed(estimator, halting, 1000 * MB, 0, 100):
        if now > 5:
            assert estimator.rate() == pytest.approx(10 * MB, rel=0.3)
        if now > 75:
            assert estimator.remaining() == pytest.approx(130 - now, rel=0.2)


def test_a_lasting_slowdown_is_no_stall_for_ever() -> None:
    def slower(t: float) -> float:  # from 10 MB/s to one step of 2 MB every 20 s
        return 10 * MB * t if t < 30 else 300 * MB + 2 * MB * ((t - 30) // 20)

    estimator = Estimator()
    late = [estimator.stalled() for now in feed(estimator, slower, 400 * MB, 0, 600, hertz=1) if now > 300]
    assert not any(late)
    assert estimator.rate() == pytest.approx(0.1 * MB, rel=0.5)


def test_work_that_never_began_stalls_too_but_with_more_patience() -> None:
    estimator = fed(lambda t: 0, 100, 10)
    assert not estimator.stalled()
    assert estimator.idle() == pytest.approx(10)
    estimator.update(30, 0, 100)
    assert estimator.stalled()


def test_a_few_long_gaps_among_many_short_ones_raise_the_patience() -> None:
    noise, times = random.Random(2), [0.0]
    while times[-1] < 1000:  # files of very different sizes, counted as they are finished
        times.append(times[-1] + 2 * noise.expovariate(1))
    estimator = Estimator()
    told = [estimator.stalled() for _ in feed(estimator, lambda t: sum(x <= t for x in times), len(times), 0, 1000, 1)]
    assert sum(told) < len(told) / 100


# ------------------------------------------------------------------ phases, and recorded runs


def test_a_counter_that_goes_back_begins_a_new_phase() -> None:
    estimator = fed(lambda t: 10 * MB * t, 1000 * MB, 90)
    for now in feed(estimator, lambda t: 50 * MB * (t - 90), 1000 * MB, 90, 105):
        if now == 90:
            assert (estimator.rate(), estimator.remaining(), estimator.stalled()) == (None, None, False)
        if now > 92:
            assert estimator.rate() == pytest.approx(50 * MB, rel=0.01)
            assert estimator.remaining() == pytest.approx(110 - now, rel=0.02)


def test_recorded_runs_are_there() -> None:
    assert len(TRACES) >= 5


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_recorded_run_is_told_about_right_and_its_stalls_are_seen(path: Path) -> None:
    lines = path.read_text().splitlines()
    end = next(float(line.split()[2]) for line in lines if line.startswith("# end:"))
    stalls = [tuple(map(float, line.split()[2:4])) for line in lines if line.startswith("# stall:")]
    estimator, told, errors = Estimator(), 0, []
    rows = [line.split(",") for line in lines if line[0] not in "#t"]
    for t, current, total in rows:
        now = float(t)
        estimator.update(now, int(current), int(total))
        check(estimator, int(current), int(total))
        stalled = any(begin + 5 < now < until for begin, until in stalls)
        assert not stalled or estimator.stalled()
        remaining = estimator.remaining()
        if remaining is not None and now > end / 4:
            told += 1
            errors.append(abs(math.log((remaining + 1) / (end - now + 1))))
    assert told > len(rows) / 3
    assert sorted(errors)[len(errors) // 2] < math.log(2)  # half of the time at least within a factor of two
