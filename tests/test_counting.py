"""The counter of a loop, looked at while the loop runs."""

from __future__ import annotations

import sys
import threading
import time

from pollprog.counting import Counter
from pollprog.status import Bound, Sample, Unit


def test_a_counter_says_what_the_loop_stored():
    counter = Counter()
    assert counter.sample() == Sample(0, None, Unit.BYTES, "", "copy", Bound.EXACT)
    counter.begin("sync", 10)
    counter.current = 3
    assert counter.sample() == Sample(3, 10, Unit.BYTES, "sync", "copy", Bound.EXACT)
    counter.close()


def test_nobody_sees_a_new_phase_with_an_old_count():
    counter = Counter()
    counter.begin("small", 10)
    done = threading.Event()

    def let_others_run(frame, event, argument):
        frame.f_trace_opcodes = True
        time.sleep(1e-5)  # between any two steps of the interpreter
        return let_others_run

    def loop():
        sys.settrace(let_others_run)
        try:
            for _ in range(8):
                counter.begin("large", 1000)
                counter.current = 900
                counter.begin("small", 10)
                counter.current = 9
        finally:
            sys.settrace(None)
            done.set()

    thread = threading.Thread(target=loop)
    thread.start()
    seen = set()
    while not done.is_set():
        sample = counter.sample()
        seen.add((sample.phase, sample.total, sample.current))
    thread.join()
    assert seen <= {("small", 10, 0), ("small", 10, 9), ("large", 1000, 0), ("large", 1000, 900)}
