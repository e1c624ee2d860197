"""What docs/python.md says, done: each of its programs is run against a real daemon."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from services import Daemon, wait
from terminals import ENVIRONMENT, PATIENCE

import pollprog

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parent.parent
PAGE = (REPO / "docs/python.md").read_text()
PYTHON = [sys.executable, "-X", "dev", "-W", "error", "-c"]
SIZE = 1 << 29


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs run: with an image that takes a moment to sum up."""
    made = tmp_path_factory.mktemp("here")
    with (made / "disk.img").open("wb") as file:
        file.truncate(SIZE)
    return made


def program(section: str, number: int = 0) -> str:
    """One of the programs of a section."""
    text = next(part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(section))
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[number]


def environment(daemon: Daemon) -> dict[str, str]:
    return {**ENVIRONMENT, "POLLPROG_ADDRESS": daemon.address}


def run(daemon: Daemon, folder: Path, source: str) -> list[str]:
    """The lines that a program prints; it has to end well, and say nothing else."""
    ran = subprocess.run(
        [*PYTHON, source], cwd=folder, env=environment(daemon), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


@cache
def digest(name: str) -> str:
    """The sum of the image."""
    summed = hashlib.new(name)
    for _ in range(SIZE >> 20):
        summed.update(bytes(1 << 20))
    return summed.hexdigest()


# --- the page


def test_every_name_of_ours_that_the_page_mentions_is_there() -> None:
    for name in re.findall(r"\bpollprog\.(\w+)", PAGE):
        assert name in pollprog.__all__, name


def test_everything_that_a_handle_can_do_is_on_the_page() -> None:
    names = {name for name in vars(pollprog.Handle) if not name.startswith("_")}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", PAGE)] == []


def test_the_table_of_errors_is_true() -> None:
    rows = [[cell.strip() for cell in line.split(" | ")] for line in PAGE.splitlines() if re.match(r"\| `[A-Z]", line)]
    kinds = [[getattr(pollprog, name) for name in re.findall(r"`(\w+)`", row[0])] for row in rows]
    assert all(issubclass(kind, pollprog.PollprogError) for row in kinds for kind in row)
    assert [issubclass(row[0], pollprog.OperationError) for row in kinds] == [True] * (len(rows) - 4) + [False] * 4
    for row, told in zip(rows, kinds, strict=True):
        said = re.findall(r"`(\w+)`", row[2])
        for kind in told:
            has = {name for one in kind.__mro__ for name in inspect.get_annotations(one)}
            assert has - {"exit_status"} == set(said), kind
    assert issubclass(pollprog.Cancelled, pollprog.OperationFailed)
    assert issubclass(pollprog.ConnectionLost, pollprog.Unreachable)


def test_the_links_of_the_page_lead_somewhere() -> None:
    for link, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", PAGE)):
        assert (REPO / "docs" / link).exists(), link
        assert not heading or f"\n## {heading.title()}\n" in (REPO / "docs" / link).read_text()


# --- its programs


def test_a_call_with_a_callback(daemon: Daemon, folder: Path) -> None:
    lines = run(daemon, folder, program("Have something done"))
    told = [line for line in lines if " of " in line]
    assert [line for line in lines if line not in told] == [f"{digest('blake2b')} {SIZE}"]
    assert told[-1] == f"{SIZE} of {SIZE}"  # the last may come after the result
    assert all(re.fullmatch(rf"\d+ of {SIZE}", line) for line in told)


def test_a_look_from_another_thread(daemon: Daemon, folder: Path) -> None:
    *told, last = run(daemon, folder, program("Look how far"))
    assert last == digest("sha256")
    assert all(re.fullmatch(rf"-1 of -1|\d+ of {SIZE}", line) for line in told)


def test_a_cancel_by_a_signal(daemon: Daemon, folder: Path) -> None:
    with (
        pollprog.connect(daemon.address) as handle,
        subprocess.Popen(
            [*PYTHON, program("Cancel")], cwd=folder, env=environment(daemon), stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            wait(lambda: any((job["id"], job["state"]) == ("nap", "running") for job in handle.jobs()))
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=PATIENCE)[0] == "cancelled\n"
            assert process.returncode == 0
        finally:
            process.kill()
        assert handle.call("Get", job="nap")["job"]["state"] == "cancelled"


def test_an_error_with_its_path(daemon: Daemon, folder: Path) -> None:
    assert run(daemon, folder, program("Tell errors")) == ["/no/such/file is not there"]


def test_work_that_goes_on(daemon: Daemon, folder: Path) -> None:
    followed, newest, *_ = run(daemon, folder, program("Start what goes on"))
    assert followed == f"succeeded {digest('sha256')}"
    assert re.fullmatch(rf"checksum-\w+ succeeded Checksum {folder}/disk.img", newest)


def test_a_program_on_trio(daemon: Daemon, folder: Path) -> None:
    *told, summed, cancelled = run(daemon, folder, program("With trio"))
    assert (summed, cancelled) == (digest("sha256"), "cancelled")
    assert told[-1] == f"{SIZE} of {SIZE} bytes"


def test_a_program_that_watches_all_jobs(daemon: Daemon, folder: Path) -> None:
    with (
        pollprog.connect(daemon.address) as handle,
        subprocess.Popen(
            [*PYTHON, program("With trio", 1)], cwd=folder, env=environment(daemon), stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            job = handle.submit("Run", argv=["sleep", "60"], job="watched")
            assert process.stdout is not None
            wait(lambda: process.stdout.readline() == f"{job} running\n")
            handle.call("Cancel", job=job)
            wait(lambda: process.stdout.readline() == f"{job} cancelled\n")
        finally:
            process.kill()


def test_a_loop_of_ones_own(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("a", "deeper/b"):
        (tmp_path / name).write_bytes(b"12345")
    assert run(daemon, tmp_path, program("Show how far your own")) == ["2 files, 10 bytes"]


# --- what it says beside them


def test_a_command_of_a_call_runs_at_the_root_unless_somebody_says_otherwise(daemon: Daemon, tmp_path: Path) -> None:
    with pollprog.connect(daemon.address) as handle:
        assert handle.call("Run", argv=["pwd"])["output"] == "/\n"
        assert handle.call("Run", argv=["pwd"], directory=tmp_path)["output"] == f"{tmp_path}\n"
        assert handle.call("Run", argv=["/usr/bin/env"], environment={"A": "b"})["output"] == "A=b\n"


def test_under_asyncio_a_thread_waits_and_cancel_ends_it(daemon: Daemon) -> None:
    async def main() -> None:
        with pollprog.connect(daemon.address) as handle:
            napping = asyncio.create_task(asyncio.to_thread(handle.call, "Run", argv=["sleep", "60"]))
            async with asyncio.timeout(PATIENCE):
                while handle.status is None:  # noqa: ASYNC110 # nobody else tells
                    await asyncio.sleep(0.01)
                handle.cancel()
                with pytest.raises(pollprog.Cancelled):
                    await napping

    asyncio.run(main())
