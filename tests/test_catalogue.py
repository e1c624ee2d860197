"""All that can be asked for: ours, the configuration's, and what other packages bring, called over the wire."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from daemons import PATIENCE, package, serving
from descriptions import Understood

from pollprog import catalogue, daemon, errors
from pollprog.config import Configuration, parse
from pollprog.operations import declare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from daemons import Serving

STRANGER = '''
"""A stranger's operations: some that are fine, and some that break whatever can be broken."""

import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import trio

from pollprog import Cancelled, OperationFailed, notify_progress, operation, steps
from pollprog.native import copy_file  # which is no operation of this package
from pollprog.notify import hearer
from pollprog.varlink import ForeignError


class Counted(msgspec.Struct):
    """What was counted."""

    count: Annotated[int, "So many."]
    how: Literal["well", "badly"] = "well"


class TooMany(OperationFailed):
    """One of its own."""


@operation
def count_to(total: Annotated[int, "How far."], seconds: float = 0.0, thread: str = "own") -> Counted:
    """Count."""
    def count():
        for current in range(total + 1):
            notify_progress(current, total, unit="items")
            time.sleep(seconds / total)
    if thread == "plain":
        worker = threading.Thread(target=contextvars.copy_context().run, args=(count,))
        worker.start()
        worker.join()
    elif thread == "pool":
        with ThreadPoolExecutor(2, initializer=hearer.set, initargs=(hearer.get(),)) as pool:
            pool.submit(count).result()
    else:
        count()
    return Counted(total)


counting = count_to


@operation
async def count_asynchronously(total: int, seconds: float) -> int:
    """Count in trio."""
    for current in range(total + 1):
        notify_progress(current, total)
        await trio.sleep(seconds / total)
    return total


@operation
def two_steps(seconds: float) -> Path:
    """Count twice."""
    plan = steps(up=1, down=3)
    for name in "up", "down":
        plan.begin(name)
        for current in range(101):
            notify_progress(current, 100, unit="parts")
            time.sleep(seconds / 202)
    return Path("/done")


@operation(progress=False)
def fail(how: str):
    """Fail."""
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("mute")

    match how:
        case "plain":
            raise ValueError("no such\\nthing: \\x1b[2J")
        case "mute":
            raise Mute
        case "exit":
            raise SystemExit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "ours":
            raise OperationFailed("the disk is full: remove something", path=Path("/a"), written=5)
        case "own":
            raise TooMany("too many: take fewer")
        case "foreign":
            raise ForeignError("gone", name="org.example.Gone", parameters={"where": Path("/a"), 3: {1, 2}, "lock": threading.Lock()})
        case "cancelled":
            raise Cancelled("it gave up")
        case "several":
            raise ExceptionGroup("two", [ValueError("one"), OperationFailed("other")])
        case "notice":
            notify_progress(0.5)


@operation(progress=False)
def lie() -> Counted:
    """Return something else."""
    return {"count": {1, 2}, "lock": threading.Lock()}


@operation(progress=False)
def say_nothing(result: str = "x"):
    """Return what was not declared."""
    return threading.Lock()
'''


def test_ours_are_there_under_their_names() -> None:
    found = catalogue.catalogue(Configuration())
    assert list(found) == list(catalogue.ours())
    assert {one.origin for one in found.values()} == {"pollprog"}
    assert all(one.name == name for name, one in found.items())


def test_what_the_daemon_answers_to_is_reserved() -> None:
    described = {one.name for one, _ in daemon.methods_of(None)}
    assert set(catalogue.METHODS) == described


def test_every_error_is_reserved_and_those_that_are_described_are_errors() -> None:
    names = catalogue.Names()
    for name in errors.__all__:
        assert names.claim(declare(lambda: None, name=name)) == name


def test_a_result_may_be_that_of_another_operation_and_no_other_of_its_name() -> None:
    names = catalogue.Names()
    ran = catalogue.ours()["Run"].result
    assert names.claim(declare(returns(ran), name="Walk")) is None
    assert names.claim(declare(returns(ran), name="Ran")) == "Ran"
    assert names.claim(declare(returns(type("Job", (ran,), {})), name="Fly")) == "Job"
    assert names.claim(declare(returns(ran), name="Fly")) is None
    assert names.claim(declare(returns(ran), name="Fly")) == "Fly"


def returns(hint: Any) -> Any:
    """A function that declares this result."""

    def function() -> None:
        pass

    function.__annotations__["return"] = hint
    return function


# --- packages


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A daemon with a stranger's package, and with others that are broken in every way."""
    folder = tmp_path_factory.mktemp("catalogue")
    packages = folder / "packages"
    package(packages, "stranger", STRANGER)
    package(packages, "raising", "raise RuntimeError('no\\nluck')")
    package(packages, "leaving", "import sys; sys.exit('usage: leaving')")
    package(packages, "unreadable", "def broken(:\n")
    package(packages, "absent", "", entry_points="[pollprog.operations]\nabsent = absent.deeper\n")
    package(packages, "garbled", "", entry_points="[pollprog.operations]\nthis is no entry point\n")
    package(packages, "undeclared", "from pollprog import operation\n@operation\ndef undeclared(x: bytes): pass\n")
    package(packages, "copycat", "from pollprog import operation\n@operation\ndef copy_file(x: int): pass\n")
    package(packages, "lister", "from pollprog import operation\n@operation(name='List')\ndef lister(x: int): pass\n")
    package(packages, "odd", "class Odd:\n  def __getattr__(self, name): return self\nodd = Odd()\n")
    with serving(folder, "[operations.Nothing]\nargv = ['true']\n", packages=packages) as found:
        yield found


def test_what_a_package_brings_stands_beside_ours(served: Serving) -> None:
    told = {one["name"]: one for one in served.call("Describe")["operations"]}
    origins = {name: one.get("origin", "pollprog") for name, one in told.items()}
    assert origins["CopyFile"] == "pollprog"
    assert origins["Nothing"] == "configuration"
    brought = ["CountTo", "CountAsynchronously", "TwoSteps", "Fail", "Lie", "SayNothing"]
    assert [name for name, origin in origins.items() if origin == "stranger"] == brought
    understood = Understood(served.description())
    assert understood.fields("CountTo") == {
        "total": "int",
        "seconds": "?float",
        "thread": "?string",
        "job": "?string",
        "interval": "?float",
    }
    assert understood.fields("CountTo", "out_type") == {"status": "?Status", "result": "?Counted"}
    assert [understood.marked(name) for name in brought] == ["Supports"] * 3 + [""] * 3


@pytest.mark.parametrize(
    "line",
    [
        "the operations of raising are left out: RuntimeError: no luck",
        "the operations of leaving are left out: SystemExit: usage: leaving",
        "the operations of unreadable are left out: SyntaxError: ",
        "the operations of absent are left out: ModuleNotFoundError: ",
        "the operations of garbled are left out: ",
        "the operations of undeclared are left out: TypeError: Undeclared: parameter x: bytes cannot cross the wire",
        "the operation CopyFile of copycat is left out: the name CopyFile is taken",
        "the operation List of lister is left out: the name List is taken",
    ],
)
def test_a_broken_package_is_named_in_one_line(served: Serving, line: str) -> None:
    assert sum(said.startswith(f"pollprog: {line}") for said in served.log()) == 1


def test_nothing_is_said_of_packages_that_are_fine(served: Serving) -> None:
    assert not [line for line in served.log() if "stranger" in line and "left out" in line]
    assert not [line for line in served.log() if "odd" in line]


@pytest.mark.parametrize("thread", ["own", "plain", "pool"])
def test_notices_become_statuses(served: Serving, thread: str) -> None:
    *statuses, last = served.conversation("CountTo", {"total": 50, "seconds": 0.6, "thread": thread, "interval": 0.1})
    assert last == {"result": {"count": 50, "how": "well"}}
    told = [reply["status"] for reply in statuses]
    assert len(told) > 1
    assert {status.get("source") for status in told} == {"notified"}
    assert {status["unit"] for status in told} == {"items"}
    assert told[-1]["current"] == told[-1]["total"] == 50
    currents = [status["current"] for status in told]
    assert currents == sorted(currents)
    understood = Understood(served.description())
    for reply in (*statuses, last):
        understood.check_reply("CountTo", reply)


def test_a_coroutine_function_runs_in_trio(served: Serving) -> None:
    *statuses, last = served.conversation("CountAsynchronously", {"total": 10, "seconds": 0.5, "interval": 0.1})
    assert last == {"result": 10}
    assert statuses[-1]["status"]["fraction"] == 1


def test_several_steps_are_one_fraction_that_never_falls(served: Serving) -> None:
    *statuses, last = served.conversation("TwoSteps", {"seconds": 1.0, "interval": 0.1})
    assert last == {"result": "/done"}
    fractions = [reply["status"]["fraction"] for reply in statuses]
    assert all(before <= after for before, after in pairwise(fractions))
    assert fractions[-1] == 1
    phases = list(dict.fromkeys(reply["status"]["phase"] for reply in statuses))
    assert phases == ["up", "down"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (
            "ours",
            {"error": "OperationFailed", "message": "the disk is full: remove something", "path": "/a", "written": 5},
        ),
        ("own", {"error": "OperationFailed", "message": "too many: take fewer"}),
        ("foreign", {"error": "org.example.Gone", "where": "/a"}),
        ("cancelled", {"error": "Cancelled", "message": "it gave up"}),
        ("mute", {"error": "InternalError"}),
        ("exit", {"error": "InternalError", "message": "Fail failed: SystemExit: 3"}),
        ("interrupt", {"error": "InternalError", "message": "Fail failed: KeyboardInterrupt: "}),
        ("notice", {"error": "InternalError", "message": "Fail failed: TypeError: 'float' object cannot be"}),
        ("several", {"error": "InternalError", "message": "Fail failed: ValueError: one"}),
    ],
)
def test_what_a_function_raises_is_told_and_harms_nobody(served: Serving, how: str, told: dict[str, Any]) -> None:
    failed = served.call("Fail", how=how)
    assert failed["error"].endswith(told["error"])
    for name, value in told.items():
        assert str(failed[name]).removeprefix("org.pollprog.operations.").startswith(str(value))
    assert served.call("CountTo", total=1) == {"result": {"count": 1, "how": "well"}}


def test_an_exception_is_told_in_one_line(served: Serving) -> None:
    failed = served.call("Fail", how="plain")
    assert failed["message"].startswith("Fail failed: ValueError: no such")
    assert "thing" in failed["message"]
    assert failed["message"].isprintable()


def test_what_was_not_declared_is_told_to_nobody_and_the_jobs_can_be_listed_all_the_same(served: Serving) -> None:
    assert served.call("SayNothing") == {}
    failed = served.call("Lie")
    assert failed["error"].endswith(".InternalError")
    assert failed["message"].startswith("Lie failed: it returned something else than it declares: ")
    jobs = {job["method"]: job for job in served.call("List")["jobs"]}
    assert (jobs["SayNothing"]["state"], jobs["Lie"]["state"]) == ("succeeded", "failed")
    for job in served.call("List")["jobs"]:
        assert served.call("Get", job=job["id"])["job"]["id"] == job["id"]


def test_a_loop_that_notifies_stands_goes_on_and_stops_as_it_is_told(served: Serving) -> None:
    submitted = {"method": "CountTo", "parameters": {"total": 100_000, "seconds": 100.0}}
    job = served.conversation("Submit", submitted, more=False)[0]["job"]

    def current() -> int:
        return int(served.call("Get", job=job)["job"]["status"].get("current", 0))

    def moves() -> bool:
        before = current()
        time.sleep(0.5)  # it is looked at three times a second
        return current() > before

    wait_for(moves)
    assert served.call("Pause", job=job) == {"state": "paused"}
    wait_for(lambda: not moves())
    assert served.call("Resume", job=job) == {"state": "running"}
    wait_for(moves)
    served.call("Pause", job=job)
    assert served.call("Cancel", job=job) == {"state": "cancelling"}
    wait_for(lambda: served.call("Get", job=job)["job"]["state"] == "cancelled")


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when it is so."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until


def test_a_name_that_comes_with_the_configuration_is_not_a_packages(tmp_path: Path) -> None:
    package(tmp_path / "packages", "second", "from pollprog import operation\n@operation\ndef backup(x: int): pass\n")
    with serving(tmp_path, "[operations.Backup]\nargv = ['true']\n", packages=tmp_path / "packages") as found:
        assert found.call("Backup") == {"result": {"output": ""}}
        assert "pollprog: the operation Backup of second is left out: the name Backup is taken" in found.log()


def test_a_configuration_that_takes_a_name_of_ours_is_refused() -> None:
    with pytest.raises(
        errors.ConfigurationError, match=r"here\.toml, line 2: operations.CopyFile: pollprog has that name"
    ):
        catalogue.catalogue(parse("\n[operations.CopyFile]\nargv = ['true']\n", "here.toml"))
