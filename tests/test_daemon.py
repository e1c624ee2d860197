"""The daemon behind its socket: marks that are true, jobs that anybody may follow, an end in order."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from children import wait_until
from daemons import package
from doors import PATIENCE, QUICK, Door, Line, Refused, Reply, door, is_alive, pids_in
from lasting import LASTING, MIB, Place, place

from pollprog.catalogue import METHODS, ours
from pollprog.config import parse
from pollprog.connection import Peer
from pollprog.daemon import Daemon
from pollprog.varlink import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

THEIRS = """
import time
from pollprog import notify_progress, operation

@operation
def count(to: int, pause: float = 0.01) -> int:
    "Count."
    for number in range(to):
        notify_progress(number, to)
        time.sleep(pause)
    return to

@operation(progress=False)
def silent(seconds: float) -> None:
    "Say how far it is to nobody."
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        notify_progress(1, 2)
        time.sleep(0.01)

@operation
def fail(how: str) -> None:
    "Fail somehow."
    raise {"value": ValueError("of theirs"), "exit": SystemExit(3), "interrupt": KeyboardInterrupt(),
           "group": ExceptionGroup("several", [ValueError("one"), OSError("two")])}[how]

@operation
async def fail_later(how: str) -> None:
    "Fail in a coroutine."
    fail(how)
"""
UNMARKED = {*METHODS} - {"Follow", "Watch", "Top"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One for all tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("served")
    package(folder / "packages", "theirs", THEIRS)
    with door(folder, environment={"PYTHONPATH": str(folder / "packages")}) as one:
        yield one


@pytest.fixture(scope="module")
def room() -> Iterator[Place]:
    with place() as made:
        yield made


@pytest.fixture
def here(room: Place) -> Iterator[Place]:
    """Where operations may work; what they make is gone afterwards."""
    yield room
    room.clear()


def described(served: Door) -> dict[str, str]:
    """The methods of the interface, each with the comment above it."""
    text = served.call("org.varlink.service.GetInterfaceDescription", interface=OPERATIONS)["description"]
    return {match[2]: match[1] for match in re.finditer(r"((?:^#.*\n)*)^method (\w+)\(", text, re.MULTILINE)}


# --- statuses, and the marks


def lasts(served: Door, here: Place, name: str) -> list[Reply]:
    """All replies to a call with ``more`` whose work has lasted long enough to be told of."""
    for times in (1, 2, 4, 8, 16):
        parameters = {"to": 30 * times} if name == "Count" else LASTING[name](here, times * 128 * MIB)
        line = served.line()
        job = f"{name}-{time.monotonic_ns()}"
        replies = line.talk(name, job=job, **parameters)
        assert replies[-1].error is None, replies[-1]
        line.call("org.varlink.service.GetInfo")
        assert line.is_silent(), "nothing follows the reply"
        line.close()
        if served.job(job)["status"]["elapsed"] > 0.5:
            return replies
        here.clear()
    raise AssertionError(f"{name} is too quick for this test")


@pytest.mark.parametrize("name", [*LASTING, "Count"])
def test_what_is_marked_tells_how_far_it_is_before_its_reply(served: Door, here: Place, name: str) -> None:
    assert "[Supports 'more' flag]" in described(served)[name]
    *statuses, reply = lasts(served, here, name)
    assert not reply.continues
    assert statuses
    first, last = statuses[0], statuses[-1]
    assert first.status["state"] == "running"
    assert first.status["elapsed"] >= 0.1
    assert reply.at - first.at > 0.05, "it was told while the work went on, and not at its end"
    for one, other in pairwise(statuses):
        assert one.status["seq"] < other.status["seq"]
    for status in [reply.status for reply in statuses]:
        assert 0 <= status.get("current", 0) <= status.get("total", 1 << 63)
        assert status.get("fraction", 0.0) < 1 or status["state"] == "succeeded"
    if name != "Observe":  # nobody may know how that ended
        assert last.status["state"] == "succeeded"
        assert last.status.get("current") == last.status.get("total", last.status.get("current"))


def test_all_that_there_is_is_held_to_its_mark(served: Door) -> None:
    assert set(LASTING) == set(ours())
    assert set(described(served)) == {*LASTING, *METHODS, "Top", "Count", "Silent", "Fail", "FailLater"}


def test_what_is_not_marked_tells_nothing_but_its_reply(served: Door) -> None:
    assert "flag]" not in described(served)["Silent"]
    line = served.line()
    (reply,) = line.talk("Silent", seconds=0.5, job="silent")
    assert (reply.continues, reply.error) == (False, None)
    assert line.is_silent()
    for name in UNMARKED:
        assert "flag]" not in described(served)[name]
    served.call("Submit", method="Silent", parameters={"seconds": 20, "job": "still-silent"})
    told: dict[str, dict[str, Any]] = {
        "List": {}, "Describe": {}, "Submit": {"method": "Count", "parameters": {"to": 1}},
        **{name: {"job": "still-silent"} for name in ("Get", "Pause", "Resume", "Cancel")},
    }  # fmt: skip
    assert set(told) == UNMARKED
    for name, parameters in told.items():
        (reply,) = line.talk(name, **parameters)
        assert (reply.continues, reply.error) == (False, None), name
    assert line.is_silent()


def test_without_more_there_is_one_reply_alone(served: Door, here: Place) -> None:
    line = served.line()
    line.send("Count", more=False, to=40)
    reply = line.reply()
    assert (reply.continues, reply.error, reply.parameters) == (False, None, {"result": 40})
    assert line.is_silent()


def test_work_that_is_over_before_its_first_status_tells_none(served: Door) -> None:
    assert [reply.continues for reply in served.line().talk("Run", argv=["true"])] == [False]


def test_work_that_fails_tells_the_last_that_was_true_before_its_error(served: Door) -> None:
    *statuses, reply = served.line().talk("Run", argv=["sh", "-c", "sleep 0.4; exit 7"], total="1G")
    assert reply.error == f"{OPERATIONS}.CommandFailed"
    assert reply.parameters["exit"] == 7
    last = statuses[-1].status
    assert (last["state"], last["exit"]) == ("failed", 7)
    assert last["current"] < last["total"]


def test_who_asks_for_statuses_more_often_than_may_be_is_refused(served: Door) -> None:
    for method, parameters in (("Run", {"argv": ["true"]}), ("Follow", {"job": "x"}), ("Watch", {})):
        if method == "Follow":
            served.call("Submit", method="Run", parameters={"argv": ["true"], "job": "x"})
        reply = served.line().talk(method, interval=0.01, **parameters)[-1]
        assert reply.error == "org.varlink.service.InvalidParameter"
        assert reply.parameters["parameter"] == "interval"


def test_the_interval_is_kept(served: Door) -> None:
    *statuses, _ = served.line().talk("Run", argv=["sleep", "1.2"], interval=0.4)
    running = [reply.status["elapsed"] for reply in statuses if reply.status["state"] == "running"]
    assert 2 <= len(running) <= 3
    assert all(later - earlier >= 0.35 for earlier, later in pairwise(running))


# --- cancelling


def children_of(served: Door) -> list[int]:
    """What the daemon has started and still lives."""
    found = []
    for task in Path(f"/proc/{served.process.pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread may end meanwhile
            found += (task / "children").read_text().split()
    return [int(pid) for pid in found if is_alive(int(pid))]


def cancel(served: Door, job: str) -> dict[str, Any]:
    """Cancel a job, as soon as there is one."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return served.call("Cancel", job=job)
        except Refused as refused:
            if refused.name != "NoSuchJob" or time.monotonic() > until:
                raise


@pytest.mark.parametrize("when", ["early", "later"])
@pytest.mark.parametrize("name", [*LASTING, "Count"])
def test_everything_can_be_cancelled_and_has_ended_when_the_error_comes(
    served: Door, here: Place, name: str, when: str
) -> None:
    parameters = {"to": 100_000} if name == "Count" else LASTING[name](here, 1024 * MIB)
    before = here.names()
    line, job = served.line(), f"{name}-{when}-{time.monotonic_ns()}"
    line.send(name, job=job, **parameters)
    if when == "later":
        assert line.reply().status["state"] == "running"
    assert cancel(served, job) == {"state": "cancelling"}
    *statuses, reply = line.replies()
    assert reply.error == f"{OPERATIONS}.Cancelled"
    assert children_of(served) == []
    assert served.job(job)["state"] == "cancelled"
    if when == "later":
        assert statuses[-1].status["state"] == "cancelled"
    assert here.names() == before, "what the call has made is gone, and nothing else"
    with pytest.raises(Refused) as refused:
        served.call("Cancel", job=job)
    assert refused.value.name == "JobOver"


def test_who_closes_his_connection_cancels_the_call_that_runs_on_it(served: Door, tmp_path: Path) -> None:
    for more in (True, False):
        line = served.line()
        script = f"echo $$ >> {tmp_path}/pids-{more}; exec sleep 100"
        line.send("Run", more=more, argv=["sh", "-c", script], job=f"left-{more}")
        (pid,) = pids_in(tmp_path / f"pids-{more}", 1)
        line.close()
        served.wait_for(f"left-{more}", "cancelled")
        assert not is_alive(pid)


def test_who_only_stops_writing_gets_his_statuses_and_his_reply(served: Door) -> None:
    line = served.line()
    line.send("Count", to=30)
    line.socket.shutdown(socket.SHUT_WR)
    *statuses, reply = line.replies()
    assert statuses
    assert reply.parameters == {"result": 30}


def watched(line: Line, job: str) -> Iterator[dict[str, Any]]:
    """What a watcher is told of one job."""
    while True:
        yield from (one for one in line.reply().parameters["jobs"] if one["id"] == job)


def test_the_whole_tree_of_a_command_has_its_signal(served: Door, tmp_path: Path) -> None:
    script = f"cd {tmp_path}; sleep 100 & echo $! >> pids; setsid sleep 100 & echo $! >> pids; wait"
    served.call("Submit", method="Run", parameters={"argv": ["sh", "-c", script], "job": "family"})
    pids = pids_in(tmp_path / "pids", 2)
    served.call("Pause", job="family")
    served.call("Cancel", job="family")
    assert served.wait("family")["state"] == "cancelled"
    assert not any(map(is_alive, pids))


def test_what_ignores_its_signal_is_killed_and_only_then_over(served: Door, tmp_path: Path) -> None:
    script = f"trap 'echo asked > {tmp_path}/asked' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    served.call("Submit", method="Run", parameters={"argv": ["sh", "-c", script], "job": "stubborn"})
    (pid,) = pids_in(tmp_path / "pid", 1)
    line, watcher = served.line(), served.line()
    line.send("Follow", job="stubborn", interval=5.0)
    watcher.send("Watch", interval=5.0)
    assert line.reply().status["state"] == "running"
    assert served.call("Cancel", job="stubborn") == {"state": "cancelling"}
    assert line.reply().status["state"] == "cancelling"
    assert next(job for job in watched(watcher, "stubborn") if job["state"] != "running")["state"] == "cancelling"
    wait_until((tmp_path / "asked").exists)
    assert served.state("stubborn") == "cancelling"
    assert served.wait("stubborn")["state"] == "cancelled"
    assert not is_alive(pid)


# --- standing still


def test_a_job_stands_still_and_goes_on_and_its_follower_hears_of_it_at_once(served: Door) -> None:
    line = served.line()
    line.send("Run", argv=["sleep", "100"], job="paused", interval=5.0)
    line.until(state="running")
    assert served.call("Pause", job="paused") == {"state": "paused"}
    stood = line.until(state="paused").status
    assert served.job("paused")["status"]["elapsed"] == pytest.approx(stood["elapsed"], abs=0.002)
    time.sleep(0.2)
    assert served.job("paused")["status"]["elapsed"] == pytest.approx(stood["elapsed"], abs=0.002)
    assert served.call("Resume", job="paused") == {"state": "running"}
    assert line.until(state="running").status["elapsed"] == pytest.approx(stood["elapsed"], abs=0.1)
    served.call("Cancel", job="paused")
    assert line.replies()[-1].error == f"{OPERATIONS}.Cancelled"


def test_a_loop_of_ours_stands_still_too(served: Door, here: Place) -> None:
    line = served.line()
    line.send("Checksum", job="standing", path=here.sparse(1 << 40))
    line.until(state="running")
    served.call("Pause", job="standing")
    line.until(state="paused")

    def stands() -> bool:
        before = served.job("standing")["status"]["current"]
        time.sleep(0.3)
        return bool(served.job("standing")["status"]["current"] == before)

    wait_until(stands)  # not before the step that was under way is done, and has been looked at
    stood = served.job("standing")["status"]["current"]
    served.call("Resume", job="standing")
    wait_until(lambda: served.job("standing")["status"]["current"] > stood)
    served.call("Cancel", job="standing")
    line.replies()


# --- jobs that others look at


def test_a_call_is_a_job_that_others_can_list_and_get(served: Door) -> None:
    line = served.line()
    line.send("Run", argv=["sleep", "100"], job="seen")
    line.until(state="running")
    job = served.job("seen")
    assert (job["id"], job["method"], job["title"], job["state"]) == ("seen", "Run", "Run sleep 100", "running")
    assert job["uid"] == os.geteuid()
    assert served.call("List", limit=1)["jobs"][0]["id"] == "seen"
    assert [one["id"] for one in served.call("List", state="running")["jobs"]] == ["seen"]
    assert served.call("List", limit=0)["jobs"] == []
    with pytest.raises(Refused) as refused:
        served.call("Run", argv=["true"], job="seen")
    assert (refused.value.name, refused.value.parameters["job"]) == ("JobExists", "seen")
    line.close()
    served.wait("seen")


def test_a_job_is_followed_from_its_latest_status_to_its_outcome(served: Door) -> None:
    served.call("Submit", method="Run", parameters={"argv": ["sleep", "0.7"], "job": "followed"})
    line = served.line()
    line.send("Follow", job="followed")
    first = line.reply()
    assert first.status["state"] == "running"
    *statuses, reply = line.replies()
    assert statuses[-1].status["state"] == "succeeded"
    assert reply.parameters["job"]["state"] == "succeeded"
    assert reply.parameters["job"]["result"] == {"output": ""}
    assert "status" not in reply.parameters
    seqs = [reply.status["seq"] for reply in (first, *statuses)]
    assert seqs == sorted(set(seqs))
    (again,) = line.talk("Follow", job="followed")
    assert again.parameters == reply.parameters, "also when it is over"


def test_a_follower_that_comes_back_says_what_it_has(served: Door) -> None:
    served.call("Submit", method="Silent", parameters={"seconds": 20, "job": "back"})
    line = served.line()
    line.send("Follow", job="back")
    seq = line.until(current=1).status["seq"]
    other = served.line()
    other.send("Follow", job="back", after=seq)
    assert other.reply().status["seq"] > seq
    served.call("Cancel", job="back")
    assert other.replies()[-1].parameters["job"]["state"] == "cancelled"


def test_many_follow_one_job_and_going_away_leaves_it_alone(served: Door) -> None:
    served.call("Submit", method="Run", parameters={"argv": ["sleep", "0.5"], "job": "popular"})
    lines = [served.line() for _ in range(20)]
    for line in lines:
        line.send("Follow", job="popular")
    for line in lines:
        line.reply()
    for line in lines[::2]:
        line.close()
    assert all(line.replies()[-1].parameters["job"]["state"] == "succeeded" for line in lines[1::2])


def test_what_was_submitted_outlives_its_connection_and_runs_where_its_caller_is(served: Door, tmp_path: Path) -> None:
    line = served.line()
    run = {"argv": ["sh", "-c", "sleep 0.2; pwd; echo $WORD; echo $HOME"], "job": "outlives"}
    told = line.call(
        "Submit",
        method="Run",
        parameters=run,
        directory=str(tmp_path),
        environment={"WORD": "x", "PATH": "/bin:/usr/bin"},
    )
    assert told == {"job": "outlives"}
    line.close()
    job = served.wait("outlives")
    assert (job["state"], job["detached"]) == ("succeeded", True)
    assert job["result"]["output"] == f"{tmp_path}\nx\n\n"


@pytest.mark.parametrize(
    ("parameters", "error", "member"),
    [
        ({"method": "Nothing"}, "MethodNotFound", ("method", "Nothing")),
        ({"method": "List"}, "MethodNotFound", ("method", "List")),
        ({"method": "Run"}, "InvalidParameter", ("parameter", "argv")),
        ({"method": "Run", "parameters": {"argv": "x"}}, "InvalidParameter", ("parameter", "argv")),
        ({"method": "Run", "parameters": {"argv": ["x"], "y": 1}}, "InvalidParameter", ("parameter", "y")),
        ({"method": "Run", "parameters": {"argv": ["x"]}, "directory": "x"}, "PathNotAbsolute", ("path", "x")),
        ({"method": "Run", "parameters": {"argv": ["x"]}, "directory": "/\0"}, "InvalidParameter", ("parameter", "directory")),
        ({}, "InvalidParameter", ("parameter", "method")),
    ],
)  # fmt: skip
def test_what_cannot_be_submitted_is_told_before_anything_begins(
    served: Door, parameters: dict[str, Any], error: str, member: tuple[str, str]
) -> None:
    wait_until(lambda: not served.call("List", state="running")["jobs"])  # of the tests before
    before = served.call("List", limit=1)
    with pytest.raises(Refused) as refused:
        served.call("Submit", **parameters)
    assert refused.value.name == error
    assert refused.value.parameters[member[0]] == member[1]
    assert served.call("List", limit=1) == before


@pytest.mark.parametrize("method", ["Get", "Follow", "Cancel", "Pause", "Resume"])
def test_a_job_that_is_not_there_is_told_by_name(served: Door, method: str) -> None:
    with pytest.raises(Refused) as refused:
        served.call(method, job="not there\n")
    assert (refused.value.name, refused.value.parameters["job"]) == ("NoSuchJob", "not there\n")


def test_a_watcher_gets_all_there_is_and_then_what_changes(served: Door) -> None:
    served.call("Submit", method="Run", parameters={"argv": ["true"], "job": "before"})
    served.wait("before")
    line = served.line()
    line.send("Watch")
    assert "before" in [one["id"] for one in line.reply().parameters["jobs"]]
    served.call("Submit", method="Run", parameters={"argv": ["sleep", "100"], "job": "during"})
    told = watched(line, "during")
    seen: list[dict[str, Any]] = []

    def until(state: str) -> None:
        while not seen or seen[-1]["state"] != state:
            seen.append(next(told))

    until("running")
    while seen[-1]["status"]["elapsed"] < 0.1:
        seen.append(next(told))
    served.call("Pause", job="during")
    until("paused")
    served.call("Resume", job="during")
    until("running")
    served.call("Cancel", job="during")
    until("cancelled")
    line.close()


def test_watching_needs_more(served: Door) -> None:
    assert "[Requires 'more' flag]" in described(served)["Watch"]
    with pytest.raises(Refused) as refused:
        served.call("Watch")
    assert refused.value.name == "ExpectedMore"


def test_many_jobs_with_much_to_say_come_in_messages_that_everybody_can_read(tmp_path: Path) -> None:
    with door(tmp_path, QUICK) as one:
        line = one.line()
        for number in range(600):
            with pytest.raises(Refused):
                line.call("CopyFile", source="/" + "x" * 400, destination="/" + "y" * 400, job=f"{'n' * 50}-{number}")
        jobs = line.call("List")["jobs"]
        assert 200 < len(jobs) < 600
        assert jobs[0]["id"].endswith("-599")
        line.send("Watch")
        seen: set[str] = set()
        while len(seen) < 600:
            seen |= {job["id"] for job in line.reply().parameters["jobs"]}


async def test_jobs_of_another_user_are_not_there(tmp_path: Path) -> None:
    daemon = Daemon(parse(QUICK, "test.toml"))
    daemon.service._allowed = lambda _: True
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(daemon.jobs.run)
            lines = {}
            for uid in (0, 1000, 1001):
                ours_, theirs = socket.socketpair()
                nursery.start_soon(daemon.service.serve_connection, theirs, Peer(uid, uid, 1))
                lines[uid] = Line(ours_)

            async def call(uid: int, method: str, /, **parameters: Any) -> dict[str, Any]:
                return await trio.to_thread.run_sync(lambda: lines[uid].call(method, **parameters))

            submitted = {"argv": ["sleep", "100"], "job": "theirs"}
            await call(1000, "Submit", method="Run", parameters=submitted)
            assert (await call(1001, "List"))["jobs"] == []
            for method in ("Get", "Follow", "Cancel", "Pause", "Resume"):
                with pytest.raises(Refused) as refused:
                    await call(1001, method, job="theirs")
                assert refused.value.name == "NoSuchJob"
            assert [one["id"] for one in (await call(1000, "List"))["jobs"]] == ["theirs"]
            (job,) = (await call(0, "List"))["jobs"]
            assert (job["id"], job["uid"], job["state"]) == ("theirs", 1000, "running")
            assert await call(0, "Cancel", job="theirs") == {"state": "cancelling"}
            nursery.cancel_scope.cancel()
    for line in lines.values():
        line.close()


# --- what harms nobody else


@pytest.mark.parametrize("method", ["Fail", "FailLater"])
@pytest.mark.parametrize("how", ["value", "exit", "interrupt", "group"])
def test_whatever_an_operation_of_theirs_raises_is_a_reply(served: Door, method: str, how: str) -> None:
    with pytest.raises(Refused) as refused:
        served.call(method, how=how)
    assert refused.value.name == "InternalError"
    assert refused.value.parameters["message"].startswith(f"{method} failed: ")
    assert served.call("Count", to=1) == {"result": 1}


@pytest.mark.parametrize(
    ("method", "parameters", "error", "member"),
    [
        ("Nothing", {}, "MethodNotFound", {"method": f"{OPERATIONS}.Nothing"}),
        ("org.other.Thing", {}, "InterfaceNotFound", {"interface": "org.other"}),
        ("Fill", {"path": "/x"}, "InvalidParameter", {"parameter": "size"}),
        ("Fill", {"path": "/x", "size": "3"}, "InvalidParameter", {"parameter": "size"}),
        ("Fill", {"path": "/x", "size": 3, "extra": 1}, "InvalidParameter", {"parameter": "extra"}),
        ("Fill", {"path": "/x", "size": -1}, "InvalidParameter", {"parameter": "size"}),
        ("Fill", {"path": "x", "size": 3}, "PathNotAbsolute", {"path": "x"}),
        ("Checksum", {"path": "/x", "algorithm": "crc"}, "InvalidParameter", {"parameter": "algorithm"}),
    ],
)
def test_what_nobody_can_do_is_told_by_name(
    served: Door, method: str, parameters: dict[str, Any], error: str, member: dict[str, str]
) -> None:
    with pytest.raises(Refused) as refused:
        served.call(method, **parameters)
    assert refused.value.name == error
    assert member.items() <= refused.value.parameters.items()


def test_garbage_and_readers_that_read_nothing_harm_nobody(served: Door) -> None:
    served.call("Submit", method="Silent", parameters={"seconds": 5, "job": "talks"})
    for garbage in (b"\0", b"[" * 200_000 + b"\0", b'{"method":1}\0', b"\xff\xfe\0", b"x" * 2_000_000):
        line = served.line()
        try:
            line.socket.sendall(garbage)
            assert line.socket.recv(100) == b""
        except (ConnectionError, BrokenPipeError):
            pass
    deaf = [served.line() for _ in range(20)]
    for line in deaf:
        line.socket.setblocking(False)
        try:
            while True:
                line.send("Describe")
        except BlockingIOError:
            pass
    assert served.call("Count", to=3) == {"result": 3}
    served.call("Cancel", job="talks")
    for line in deaf:
        line.close()


def test_two_hundred_connections_are_served_and_each_gets_its_own(served: Door) -> None:
    lines = [served.line() for _ in range(200)]
    for number, line in enumerate(lines):
        line.send("Count", to=number % 7, pause=0.001)
    for number, line in enumerate(lines):
        assert line.replies()[-1].parameters == {"result": number % 7}
        line.close()


def test_a_command_inherits_nothing_of_the_daemons(served: Door) -> None:
    lines = [served.line() for _ in range(5)]
    output = served.call("Run", argv=["ls", "-l", "/proc/self/fd"])["result"]["output"]
    assert "socket:" not in output
    assert "lock" not in output
    names = [line.split()[8] for line in output.splitlines() if "->" in line]
    assert names == ["0", "1", "2", "3"], "the last is that of ls itself"
    for line in lines:
        line.close()


# --- a lifetime


def start_in_vain(path: Path, **environment: str) -> str:
    """What a daemon says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "pollprog", "daemon", "--socket", str(path)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_daemon_that_cannot_listen_says_why_in_a_line(tmp_path: Path) -> None:
    with door(tmp_path) as one:
        assert "another daemon listens there already" in start_in_vain(one.path)
        assert one.call("List") == {"jobs": []}
    (tmp_path / "open").mkdir(mode=0o755)
    assert "is open to others" in start_in_vain(tmp_path / "open" / "sock")
    (tmp_path / "daemon" / "sock").write_text("precious")
    assert "something else has that name" in start_in_vain(tmp_path / "daemon" / "sock")
    assert (tmp_path / "daemon" / "sock").read_text() == "precious"


def test_a_daemon_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    with door(tmp_path) as one:
        one.process.kill()
        one.process.wait()
        assert one.path.exists()
    with door(tmp_path) as one:
        assert one.call("List") == {"jobs": []}


def test_a_daemon_listens_where_its_user_would_look(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    words = [sys.executable, "-m", "pollprog", "daemon"]
    process = subprocess.Popen(
        words, env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)}, stderr=subprocess.PIPE, text=True
    )
    try:
        sock = runtime / "pollprog" / "sock"
        assert process.stderr is not None
        assert process.stderr.readline() == f"pollprog: listening on unix:{sock}\n"
        assert (sock.parent.stat().st_mode & 0o777, sock.stat().st_mode & 0o777) == (0o700, 0o600)
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert list(sock.parent.iterdir()) == [sock.with_name("sock.lock")]
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_ends_in_order(tmp_path: Path, number: int) -> None:
    with door(tmp_path) as one:
        with_more, without = one.line(), one.line()
        for name, line in (("more", with_more), ("plain", without)):
            script = f"echo $$ >> {tmp_path}/pids; exec sleep 100"
            line.send("Run", more=line is with_more, argv=["sh", "-c", script], job=name)
        follower, watcher = one.line(), one.line()
        pids = pids_in(tmp_path / "pids", 2)
        follower.send("Follow", job="more")
        follower.reply()
        watcher.send("Watch")
        watcher.reply()
        with_more.until(state="running")
        one.end(number)
        assert not any(map(is_alive, pids))
        *statuses, reply = with_more.replies()
        assert statuses[-1].status["state"] == "cancelled"
        assert reply.error == f"{OPERATIONS}.Cancelled"
        assert [reply.error for reply in without.replies()] == [f"{OPERATIONS}.Cancelled"]
        assert follower.replies()[-1].parameters["job"]["state"] == "cancelled"


def test_a_second_request_to_end_has_no_patience(tmp_path: Path) -> None:
    with door(tmp_path, "[daemon]\ngrace = 1000\n") as one:
        script = f"trap '' TERM; echo $$ >> {tmp_path}/pids; while :; do sleep 0.1; done"
        one.call("Submit", method="Run", parameters={"argv": ["sh", "-c", script], "job": "stubborn"})
        (pid,) = pids_in(tmp_path / "pids", 1)
        line = one.line()
        one.process.terminate()
        wait_until(lambda: line.call("Get", job="stubborn")["job"]["state"] == "cancelling")
        with pytest.raises(Refused) as refused:
            line.call("Run", argv=["true"])
        assert refused.value.name == "TooBusy"
        assert is_alive(pid)
        one.end()
        assert not is_alive(pid)


def test_the_configuration_is_read_again_and_what_is_wrong_with_it_changes_nothing(tmp_path: Path) -> None:
    with door(tmp_path) as one:
        file = tmp_path / "daemon" / "config.toml"
        file.write_text(QUICK + '[operations.Greet]\nargv = ["echo", "hello"]\n')
        line = one.line()
        line.send("Run", argv=["sleep", "100"], job="runs")
        line.until(state="running")
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "read again" in one.log())
        assert one.call("Greet")["result"] == {"output": "hello\n"}
        assert "method Greet(" in str(
            one.call("org.varlink.service.GetInterfaceDescription", interface=OPERATIONS)["description"]
        )
        said = len(one.log().splitlines())
        for wrong in ("[daemon\n", "[daemon]\ninterval = 0\n", QUICK + "[operations.Run]\nargv = ['x']\n"):
            file.write_text(wrong)
            one.process.send_signal(signal.SIGHUP)
            wait_until(lambda said=said: len(one.log().splitlines()) > said)
            assert len(one.log().splitlines()) == said + 1
            assert "stays as it was" in one.log().splitlines()[-1]
            said += 1
        assert one.call("Greet")["result"] == {"output": "hello\n"}
        assert one.state("runs") == "running"


def test_a_full_house_is_told_by_name(tmp_path: Path) -> None:
    with door(tmp_path, QUICK + "jobs = 1\n") as one:
        one.call("Submit", method="Run", parameters={"argv": ["sleep", "100"], "job": "first"})
        with pytest.raises(Refused) as refused:
            one.call("Run", argv=["true"])
        assert (refused.value.name, refused.value.parameters["limit"]) == ("TooBusy", 1)
        one.call("Cancel", job="first")
        one.wait("first")
        one.call("Run", argv=["true"])


# --- what systemd starts

ACTIVATED = """
import os, sys
if sys.argv[3] != "-":
    os.environ["NOTIFY_SOCKET"] = sys.argv[3]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="varlink")
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.executable, [sys.executable, "-m", "pollprog", "daemon", "--socket", sys.argv[2]])
"""


def activated(sock: socket.socket, tmp_path: Path, notifies: str = "-") -> subprocess.Popen[str]:
    """A daemon that finds a socket at descriptor 3."""
    words = [sys.executable, "-c", ACTIVATED, str(sock.fileno()), str(tmp_path / "unused" / "sock"), notifies]
    return subprocess.Popen(words, pass_fds=[sock.fileno()], stderr=subprocess.PIPE, text=True)


def test_a_daemon_serves_the_socket_that_it_is_given_and_says_when_it_is_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        sock.bind(str(tmp_path / "activated"))
        sock.listen()
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        with activated(sock, tmp_path, str(tmp_path / "notify")) as process:
            assert systemd.recv(100) == b"READY=1"
            line = Line(tmp_path / "activated")
            output = line.call("Run", argv=["env"])["result"]["output"]
            assert "LISTEN_" not in output
            assert "NOTIFY_SOCKET" not in output
            assert "socket:" not in line.call("Run", argv=["ls", "-l", "/proc/self/fd"])["result"]["output"]
            line.close()
            process.terminate()
            assert systemd.recv(100) == b"STOPPING=1"
            assert process.wait(PATIENCE) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
    assert (tmp_path / "activated").exists(), "it is systemd's"
    assert not (tmp_path / "unused").exists()


def test_a_daemon_that_is_given_a_connection_ends_with_it_and_not_before_what_was_submitted(tmp_path: Path) -> None:
    ours_, theirs = socket.socketpair()
    with theirs, activated(theirs, tmp_path) as process:
        theirs.close()
        line = Line(ours_)
        line.call("Submit", method="Run", parameters={"argv": ["sh", "-c", f"sleep 0.5; echo done > {tmp_path}/said"]})
        line.send("Run", argv=["sleep", "100"])
        line.until(state="running")
        line.close()
        assert process.wait(PATIENCE) == 0
        assert (tmp_path / "said").read_text() == "done\n"


def test_a_daemon_may_have_many_descriptors_and_its_commands_as_many_as_they_would_have(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with door(tmp_path) as one:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            limits = Path(f"/proc/{one.process.pid}/limits").read_text()
            assert int(limits.split("Max open files")[1].split()[0]) > 512
            ran = one.call("Run", argv=["sh", "-c", "sleep 0.2; ulimit -Sn"])
            assert ran["result"]["output"] == "512\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
