"""The operations that are commands, behind a socket: what they make, what they refuse, what they leave when they stop."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from disks import small_disk
from doors import Door, Refused, door, is_alive
from lasting import MIB, Place, place
from test_jobs import jobs_with
from test_runner import FAMILY, KERNEL_TELLS

from pollprog.catalogue import ours
from pollprog.commands import dd_error
from pollprog.errors import Cancelled, CommandFailed, NoSpace, OperationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


def refused(served: Door, method: str, **parameters: Any) -> Refused:
    """The error that a call is answered with."""
    with pytest.raises(Refused) as raised:
        served.call(method, **parameters)
    return raised.value


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    (folder / "one").write_bytes(b"one" * 1000)
    (folder / "below" / "two").write_bytes(b"two" * 2000)
    return folder


# --- Run


def test_a_command_is_run_where_and_with_what_its_caller_says(served: Door, tmp_path: Path) -> None:
    told = served.call(
        "Run", argv=["sh", "-c", "pwd; echo $WORD"], directory=str(tmp_path), environment={"WORD": "a b"}
    )
    assert told == {"result": {"output": f"{tmp_path}\na b\n"}}


def test_nothing_goes_through_a_shell(served: Door) -> None:
    assert served.call("Run", argv=["echo", "$HOME; ls", "*"])["result"]["output"] == "$HOME; ls *\n"


def test_a_command_that_fails_says_how_and_what_it_printed_last(served: Door) -> None:
    error = refused(served, "Run", argv=["sh", "-c", "echo first; echo why >&2; exit 3"])
    assert error.name == "CommandFailed"
    assert error.parameters == {"message": "sh ended with exit status 3: why", "exit": 3, "output": "first\nwhy\n"}
    error = refused(served, "Run", argv=["sh", "-c", "kill -9 $$"])
    assert (error.parameters["signal"], error.parameters.get("exit")) == (9, None)


@pytest.mark.parametrize(
    ("parameters", "error", "members"),
    [
        ({"argv": []}, "InvalidParameter", {"parameter": "argv"}),
        ({"argv": ["echo", "a\0b"]}, "InvalidParameter", {"parameter": "argv"}),
        ({"argv": ["true"], "environment": {"A=B": ""}}, "InvalidParameter", {"parameter": "environment"}),
        ({"argv": ["true"], "environment": {"A": "\0"}}, "InvalidParameter", {"parameter": "environment"}),
        ({"argv": ["true"], "probe": "nonsense"}, "InvalidParameter", {"parameter": "probe"}),
        ({"argv": ["true"], "total": "nonsense"}, "InvalidParameter", {"parameter": "total"}),
        ({"argv": ["true"], "total": "4G", "probe": "x"}, "InvalidParameter", {"parameter": "probe"}),
        ({"argv": ["true"], "total": "@file"}, "PathNotAbsolute", {"path": "file"}),
        ({"argv": ["true"], "total": "@/no/such"}, "InvalidParameter", {"parameter": "total"}),
        ({"argv": ["true"], "directory": "x"}, "PathNotAbsolute", {"path": "x"}),
        ({"argv": ["true"], "directory": "/no/such"}, "NoSuchFile", {"path": "/no/such"}),
        ({"argv": ["true"], "directory": "/etc/passwd"}, "NotDirectory", {"path": "/etc/passwd"}),
        ({"argv": ["no-such-program"]}, "CommandNotFound", {}),
        ({"argv": ["/etc"]}, "CommandNotExecutable", {}),
        ({"argv": ["true"], "environment": {f"V{n}": "x" * 100_000 for n in range(9)} | {"W": "x" * 140_000}},
         "CommandNotExecutable", {"message": "true: cannot be run: argument list too long"}),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_by_name(
    served: Door, parameters: dict[str, Any], error: str, members: dict[str, Any]
) -> None:
    told = refused(served, "Run", **parameters)
    assert told.name == error
    assert members.items() <= told.parameters.items()


def test_a_total_is_what_the_caller_says_it_is(served: Door, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(12345))
    for total, size in (("4k", 4096), (f"@{tmp_path}/file", 12345)):
        *statuses, _ = served.line().talk("Run", argv=["sleep", "0.4"], total=total)
        assert {told["total"] for told in (reply.status for reply in statuses) if "total" in told} == {size}


@pytest.mark.tool("gzip")
def test_a_command_that_talks_is_measured_by_its_work(served: Door, here: Place) -> None:
    source, size = here.sparse(200 * MIB), 200 * MIB
    talk = f"(while :; do echo talk talk talk; sleep 0.01; done) & gzip -c {source} > {here.new('out')}; kill $!"
    *statuses, reply = served.line().talk("Run", argv=["sh", "-c", talk])
    assert reply.error is None
    told = [reply.status for reply in statuses if reply.status["state"] == "running" and reply.status.get("total")]
    assert told
    assert {(status["total"], status["source"]) for status in told} == {(size, "evidence:input-position")}
    assert told[-1]["current"] > size // 10


@pytest.mark.tool("rsync")
def test_what_a_command_prints_for_us_is_its_measure_and_not_among_its_last_words(served: Door, here: Place) -> None:
    source, words = here.many(40 * MIB), ["rsync", "--archive", "--bwlimit=20M"]
    *statuses, reply = served.line().talk("Run", argv=[*words, "--verbose", source, here.new("copy")])
    assert reply.error is None
    told = [status for one in statuses if (status := one.status)["state"] == "running"]
    assert any(status["source"] == "rsync" and 0 < status["current"] < status["total"] for status in told)
    ours = reply.parameters["result"]["output"]
    theirs = subprocess.run(
        ["rsync", "--archive", "--verbose", source, here.new("copy")], capture_output=True, text=True
    )
    assert [line for line in ours.splitlines() if not re.search("bytes|created", line)] == [
        line for line in theirs.stdout.splitlines() if not re.search("bytes|created", line)
    ]
    *statuses, reply = served.line().talk("Run", argv=[*words, source, here.new("copy")])
    assert reply.parameters["result"]["output"] == ""
    here.clear()


@pytest.mark.tool("dd")
def test_a_dd_is_asked_and_its_last_report_is_all_that_people_read(served: Door) -> None:
    words = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", "count=60000"]
    *statuses, reply = served.line().talk("Run", argv=[*words, "iflag=fullblock"])
    told = [status for one in statuses if (status := one.status)["state"] == "running"]
    assert any(status["source"] == "dd" for status in told)
    lines = reply.parameters["result"]["output"].splitlines()
    assert lines[:2] == ["60000+0 records in", "60000+0 records out"]
    assert len(lines) == 3


@pytest.mark.tool("xz")
def test_a_command_that_answers_a_signal_is_asked(served: Door, here: Place) -> None:
    *statuses, reply = served.line().talk("Run", argv=["xz", "-9ek", here.dense(8 * MIB)])
    assert reply.parameters == {"result": {"output": ""}}
    told = [status for one in statuses if (status := one.status)["state"] == "running"]
    assert any(status["source"] == "xz" for status in told)


# --- Dd


@pytest.mark.tool("dd")
def test_dd_copies_blocks_in_place(served: Door, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(100)))
    (tmp_path / "out").write_bytes(b"o" * 50)
    served.call("Dd", source=f"{tmp_path}/in", destination=f"{tmp_path}/out", block_size=4, count=2, skip=1, seek=3)
    assert (tmp_path / "out").read_bytes() == b"o" * 12 + bytes(range(4, 12)) + b"o" * 30
    served.call("Dd", source=f"{tmp_path}/in", destination=f"{tmp_path}/new")
    assert (tmp_path / "new").read_bytes() == bytes(range(100))


@pytest.mark.tool("dd")
def test_what_dd_cannot_do_is_told_before_it_begins(served: Door, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(100))
    (tmp_path / "link").symlink_to("nowhere")
    source, new = f"{tmp_path}/in", f"{tmp_path}/new"
    wrong: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
        ({"source": f"{tmp_path}/no", "destination": new}, "NoSuchFile", {"path": f"{tmp_path}/no"}),
        ({"source": str(tmp_path), "destination": new}, "IsDirectory", {"path": str(tmp_path)}),
        ({"source": source, "destination": str(tmp_path)}, "IsDirectory", {"path": str(tmp_path)}),
        ({"source": source, "destination": f"{tmp_path}/no/x"}, "NoSuchFile", {"path": f"{tmp_path}/no/x"}),
        ({"source": source, "destination": f"{tmp_path}/link"}, "DestinationExists", {"path": f"{tmp_path}/link"}),
        ({"source": source, "destination": source}, "SameFile", {"source": source, "destination": source}),
        ({"source": source, "destination": source, "block_size": 10, "count": 3, "seek": 2}, "SameFile", {}),
        ({"source": source, "destination": new, "block_size": 0}, "InvalidParameter", {"parameter": "block_size"}),
        ({"source": source, "destination": new, "count": -1}, "InvalidParameter", {"parameter": "count"}),
        ({"source": source, "destination": new, "seek": 1 << 62}, "InvalidParameter", {"parameter": "seek"}),
    ]
    for parameters, error, members in wrong:
        told = refused(served, "Dd", **parameters)
        assert told.name == error, parameters
        assert members.items() <= told.parameters.items()
    assert sorted(os.listdir(tmp_path)) == ["in", "link"]
    served.call("Dd", source=source, destination=source, block_size=10, count=3, seek=5)


@pytest.mark.tool("dd")
def test_dd_that_is_cancelled_says_which_stretch_it_has_written_and_leaves_the_rest(served: Door, here: Place) -> None:
    path = here.path("there")
    with open(path, "wb") as file:
        file.writelines(b"o" * MIB for _ in range(600))
    line = served.line()
    line.send("Dd", source="/dev/zero", destination=path, block_size=64 << 10, count=590 * 16, seek=48, job="dd")
    line.reply()
    served.call("Cancel", job="dd")
    told = line.replies()[-1]
    assert told.error is not None
    assert told.error.endswith(".Cancelled")
    assert (told.parameters["path"], told.parameters["offset"]) == (path, 3 * MIB)
    written = told.parameters["written"]
    assert 0 < written < 590 * MIB
    with open(path, "rb") as file:
        assert file.read(3 * MIB) == b"o" * 3 * MIB
        file.seek(3 * MIB + written)
        rest = file.read()
    assert rest == b"o" * (597 * MIB - written)


@pytest.mark.tool("dd")
@pytest.mark.tool("mount")
def test_dd_on_a_full_disk_says_how_far_it_came(served: Door, tmp_path: Path) -> None:
    with small_disk(tmp_path, 8 * MIB) as disk:
        path = disk / "there"
        path.write_bytes(b"o" * MIB)
        told = refused(served, "Dd", source="/dev/zero", destination=str(path), block_size=4096, seek=128, count=9999)
        assert told.name == "NoSpace"
        assert (told.parameters["errno"], told.parameters["offset"]) == ("ENOSPC", 128 * 4096)
        assert told.parameters["written"] == path.stat().st_size - 128 * 4096
        assert path.read_bytes()[: 128 * 4096] == b"o" * (128 * 4096)
        path.unlink()
        told = refused(served, "Dd", source="/dev/zero", destination=str(path))
        assert (told.name, told.parameters["path"]) == ("NoSpace", str(path))
        assert "has been removed" in told.parameters["message"]
        assert list(disk.iterdir()) == []


class Asked:
    """As much of a work as an error is made from."""

    def __init__(self, *, to_stop: bool = False, seen: int = 0) -> None:
        self.to_stop = to_stop
        self.seen = seen


SAID = "3+1 records in\n3+1 records out\n{} copied, 0.1 s, 1 MB/s\n"


@pytest.mark.parametrize(
    ("work", "ended", "printed", "kind", "written"),
    [
        (Asked(to_stop=True), (None, 2), SAID.format("1234 bytes (1.2 kB, 1.2 KiB)"), Cancelled, 1234),
        (Asked(to_stop=True, seen=99), (None, 9), "", Cancelled, 99),
        (Asked(), (1, None), "dd: error writing 'x': No space left on device\n" + SAID.format("1 byte"), NoSpace, 1),
        (
            Asked(),
            (1, None),
            "dd: error reading 'x': Input/output error\n" + SAID.format("0 bytes"),
            OperationFailed,
            0,
        ),
        (Asked(), (1, None), "dd: failed to open 'x': Permission denied\n", CommandFailed, None),
        (Asked(), (None, 9), SAID.format("5 bytes"), CommandFailed, None),
    ],
)
def test_what_dd_said_last_is_what_it_has_written(
    work: Any, ended: Any, printed: str, kind: type[Exception], written: int | None
) -> None:
    error = dd_error(work, ended, printed, b"/x", offset=7, kept=True)
    assert type(error) is kind
    assert getattr(error, "written", None) == written


# --- archives


@pytest.mark.tool("tar")
@pytest.mark.parametrize("compression", ["none", "gzip", "bzip2", "xz", "zstd"])
def test_an_archive_is_packed_and_unpacked_again(served: Door, tree: Path, tmp_path: Path, compression: str) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    out.mkdir()
    told = served.call("TarOut", directory=str(tree), archive=str(archive), compression=compression)
    assert told["result"] == {"size": archive.stat().st_size}
    served.call("TarIn", archive=str(archive), directory=str(out))
    assert (out / "below" / "two").read_bytes() == b"two" * 2000
    assert sorted(os.listdir(tmp_path)) == ["archive", "out", "tree"]


@pytest.mark.tool("tar")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_an_archive_in_what_it_packs_is_no_part_of_it(served: Door, tree: Path, compression: str) -> None:
    archive = tree / "arch[i]ve*"
    served.call("TarOut", directory=str(tree), archive=str(archive), compression=compression)
    with tarfile.open(archive) as packed:
        assert sorted(packed.getnames()) == [".", "./below", "./below/two", "./one"]


@pytest.mark.tool("tar")
def test_what_tar_cannot_do_is_told_by_name(served: Door, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "none.tar").write_bytes(b"this is no archive\n" * 100)
    new, file = f"{tmp_path}/new.tar", f"{tree}/one"
    told = refused(served, "TarOut", directory=file, archive=new)
    assert (told.name, told.parameters["path"]) == ("NotDirectory", file)
    told = refused(served, "TarOut", directory=f"{tmp_path}/no", archive=new)
    assert (told.name, told.parameters["path"]) == ("NoSuchFile", f"{tmp_path}/no")
    told = refused(served, "TarOut", directory=str(tree), archive=f"{tmp_path}/no/x")
    assert (told.name, told.parameters["path"]) == ("NoSuchFile", f"{tmp_path}/no/x")
    told = refused(served, "TarOut", directory=str(tree), archive=str(tmp_path))
    assert (told.name, told.parameters["path"]) == ("IsDirectory", str(tmp_path))
    told = refused(served, "TarOut", directory=str(tree), archive=new, compression="rar")
    assert (told.name, told.parameters["parameter"]) == ("InvalidParameter", "compression")
    told = refused(served, "TarIn", archive=f"{tmp_path}/none.tar", directory=str(tree))
    assert (told.name, told.parameters["exit"]) == ("CommandFailed", 2)
    told = refused(served, "TarIn", archive=str(tree), directory=str(tree))
    assert (told.name, told.parameters["path"]) == ("IsDirectory", str(tree))
    told = refused(served, "TarIn", archive=f"{tmp_path}/none.tar", directory=f"{tmp_path}/no")
    assert (told.name, told.parameters["path"]) == ("NoSuchFile", f"{tmp_path}/no")
    assert sorted(os.listdir(tmp_path)) == ["none.tar", "tree"]


# --- Rsync


@pytest.mark.tool("rsync")
def test_a_directory_becomes_like_another(served: Door, tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    told = served.call("Rsync", source=str(tree), destination=str(copy))
    assert told == {"result": {"files": 2, "size": 9000}}
    assert (copy / "below" / "two").read_bytes() == b"two" * 2000
    assert served.call("Rsync", source=str(tree), destination=str(copy)) == {"result": {"files": 0, "size": 0}}
    (copy / "one").write_bytes(b"eno" * 1000)
    os.utime(copy / "one", ns=((tree / "one").stat().st_mtime_ns,) * 2)
    (copy / "more").touch()
    assert served.call("Rsync", source=str(tree), destination=str(copy))["result"]["files"] == 0
    told = served.call("Rsync", source=str(tree), destination=str(copy), checksum=True, delete=True)
    assert told["result"] == {"files": 1, "size": 3000}
    assert sorted(os.listdir(copy)) == ["below", "one"]
    told = served.call("Rsync", source=str(tree), destination=str(tmp_path / "part"), exclude=["below"])
    assert sorted(os.listdir(tmp_path / "part")) == ["one"]
    told = served.call("Rsync", source=str(tree / "one"), destination=str(tmp_path / "single"))
    assert os.listdir(tmp_path / "single") == ["one"]


@pytest.mark.tool("rsync")
def test_what_rsync_cannot_do_is_told_by_name(served: Door, tree: Path, tmp_path: Path) -> None:
    told = refused(served, "Rsync", source=f"{tmp_path}/no", destination=str(tmp_path))
    assert (told.name, told.parameters["path"]) == ("NoSuchFile", f"{tmp_path}/no")
    told = refused(served, "Rsync", source=str(tree), destination=f"{tree}/one")
    assert told.name == "CommandFailed"
    told = refused(served, "Rsync", source=str(tree), destination=str(tmp_path), limit=1)
    assert (told.name, told.parameters["parameter"]) == ("InvalidParameter", "limit")
    told = refused(served, "Rsync", source=str(tree), destination=f"{tmp_path}/no/such/place")
    assert told.name == "CommandFailed"
    assert "No such file or directory" in told.parameters["message"]


@pytest.mark.tool("rsync")
@pytest.mark.tool("mount")
def test_where_there_is_no_room_for_a_directory_what_has_been_copied_stays(
    served: Door, here: Place, tmp_path: Path
) -> None:
    with small_disk(tmp_path, 4 * MIB) as disk:
        told = refused(served, "Rsync", source=here.many(8 * MIB), destination=str(disk / "copy"))
        assert (told.name, told.parameters["path"]) == ("NoSpace", str(disk / "copy"))
        assert 2 <= len(os.listdir(disk / "copy")) <= 4


# --- compressed files


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "zstd"])
def test_a_file_is_compressed(served: Door, tmp_path: Path, how: str) -> None:
    source, packed = tmp_path / "source", tmp_path / "packed"
    source.write_bytes(b"words " * 10_000)
    told = served.call("CompressOut", source=str(source), destination=str(packed), compression=how)
    assert told["result"] == {"size": packed.stat().st_size}
    with packed.open("rb") as reader:
        unpacked = subprocess.run([how, "-dc"], stdin=reader, capture_output=True, check=True).stdout
    assert unpacked == source.read_bytes()


@pytest.mark.tool("gzip")
def test_what_exists_is_replaced_only_if_that_was_asked_for_and_keeps_its_mode(served: Door, tmp_path: Path) -> None:
    source, there, link = tmp_path / "source", tmp_path / "there", tmp_path / "link"
    source.write_bytes(b"new")
    there.write_bytes(b"old")
    there.chmod(0o640)
    link.symlink_to(there)
    told = refused(served, "CompressOut", source=str(source), destination=str(there))
    assert (told.name, told.parameters["path"]) == ("DestinationExists", str(there))
    assert there.read_bytes() == b"old"
    served.call("CompressOut", source=str(source), destination=str(link), overwrite=True)
    assert link.is_symlink()
    assert gzip.decompress(there.read_bytes()) == b"new"
    assert there.stat().st_mode & 0o777 == 0o640
    told = refused(served, "CompressOut", source=str(source), destination=str(source), overwrite=True)
    assert (told.name, told.parameters["source"]) == ("SameFile", str(source))
    os.mkfifo(tmp_path / "fifo")
    told = refused(served, "CompressOut", source=str(source), destination=f"{tmp_path}/fifo", overwrite=True)
    assert (told.name, told.parameters["path"]) == ("NotAFile", f"{tmp_path}/fifo")


@pytest.mark.tool("gzip")
@pytest.mark.tool("tar")
@pytest.mark.tool("mount")
def test_an_archive_for_which_there_is_no_room_is_gone(served: Door, here: Place, tmp_path: Path) -> None:
    source = here.dense(32 * MIB)
    folder = os.path.dirname(source)
    with small_disk(tmp_path, 8 * MIB) as disk:
        for method, parameters in (
            ("CompressOut", {"source": source, "destination": f"{disk}/new"}),
            ("TarOut", {"directory": folder, "archive": f"{disk}/new"}),
            ("TarOut", {"directory": folder, "archive": f"{disk}/new", "compression": "gzip"}),
        ):
            told = refused(served, method, **parameters)
            assert (told.name, told.parameters["path"], told.parameters["errno"]) == (
                "NoSpace",
                f"{disk}/new",
                "ENOSPC",
            )
            assert list(disk.iterdir()) == []
        served.call("TarOut", directory=folder, archive=here.path("archive"))
        told = refused(served, "TarIn", archive=here.path("archive"), directory=str(disk))
        assert (told.name, told.parameters["path"]) == ("NoSpace", str(disk))


@pytest.mark.tool("setpriv")
@pytest.mark.tool("dd")
def test_what_another_user_may_not_do_is_told_by_name(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    closed = tmp_path / "closed"
    closed.write_bytes(b"secret")
    closed.chmod(0o600)
    folder = tmp_path / "folder"
    folder.mkdir()
    for method, parameters, path in (
        ("Dd", {"source": str(closed), "destination": str(tmp_path / "new")}, closed),
        ("Dd", {"source": "/dev/zero", "destination": str(closed)}, closed),
        ("Dd", {"source": "/dev/zero", "destination": str(folder / "new"), "count": 1}, folder / "new"),
        ("CompressOut", {"source": str(closed), "destination": str(tmp_path / "new")}, closed),
        ("TarIn", {"archive": str(closed), "directory": str(folder)}, closed),
        ("TarOut", {"directory": "/usr/lib", "archive": str(folder / "new")}, folder / "new"),
    ):
        assert as_somebody_else(method, parameters) == ("PermissionDenied", str(path))
    assert closed.read_bytes() == b"secret"


def as_somebody_else(method: str, parameters: dict[str, Any]) -> tuple[str, str]:
    """Name and path of the error that an operation ends with for a user without rights."""

    async def run() -> tuple[str, str]:
        async with jobs_with() as jobs:
            operation = ours()[method]
            os.setresuid(-1, 65534, -1)
            try:
                job = jobs.start(operation, operation.struct(**parameters), 65534)
                await job.over.wait()
            finally:
                os.setresuid(-1, 0, -1)
        assert job.error is not None
        return type(job.error).__name__, str(getattr(job.error, "path", ""))

    return trio.run(run)


# --- Observe


def observed(served: Door, script: str, *, reap: bool) -> dict[str, Any]:
    """The job that has watched a process which ends so."""
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as family:
        assert family.stdin is not None
        assert family.stdout is not None
        pid = int(family.stdout.readline())
        served.call("Submit", method="Observe", parameters={"pid": pid, "job": f"pid-{pid}"})
        served.wait_for(f"pid-{pid}", "running")
        family.stdin.write(f"{script}\n" + ("reap\n" if reap else ""))
        family.stdin.flush()
        job = served.wait(f"pid-{pid}")
        family.stdin.close()
    return job


def test_the_end_of_a_process_that_is_watched_is_what_the_kernel_tells(served: Door) -> None:
    for script, state, result in (
        ("exit 0", "succeeded", {"exit": 0}),
        ("exit 7", "failed", {"exit": 7}),
        ("kill 9", "failed", {"signal": 9}),
    ):
        job = observed(served, script, reap=True)
        assert "error" not in job, "to watch it was all that was asked"
        if KERNEL_TELLS:
            assert (job["state"], job["result"]) == (state, result)
        else:
            assert (job["state"], job["result"]) == ("lost", {})


def test_an_end_that_nobody_asks_for_is_told_all_the_same(served: Door) -> None:
    job = observed(served, "exit 0", reap=False)
    assert (job["state"], job["result"]) == ("succeeded", {"exit": 0})


def test_to_cancel_watching_ends_no_process_and_pausing_is_refused(served: Door) -> None:
    with subprocess.Popen(["sleep", "100"]) as sleeper:
        line = served.line()
        line.send("Observe", pid=sleeper.pid, job="watching")
        line.until(state="running")
        assert refused(served, "Pause", job="watching").name == "OperationError"
        sleeper.send_signal(signal.SIGSTOP)
        line.until(state="paused")
        sleeper.send_signal(signal.SIGCONT)
        line.until(state="running")
        served.call("Cancel", job="watching")
        assert line.replies()[-1].error is not None
        assert is_alive(sleeper.pid)
        sleeper.kill()


def test_what_cannot_be_watched_is_told_by_name(served: Door) -> None:
    for pid in (0, -1, 1 << 31, 1 << 40):
        told = refused(served, "Observe", pid=pid)
        assert (told.name, told.parameters["parameter"]) == ("InvalidParameter", "pid")
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
        told = refused(served, "Observe", pid=gone.pid)
    assert told.name == "ProcessError"
    assert "there is no process" in told.parameters["message"]
    for parameters, name, text in (
        ({}, "InvalidParameter", "name either a process, as pid, or a resource"),
        ({"pid": 1, "resource": "md:md0"}, "InvalidParameter", "name either"),
        ({"resource": "disk:0"}, "InvalidParameter", "there is no resource 'disk:0'"),
        ({"resource": "md:a b"}, "InvalidParameter", "md:a b names no array"),
        ({"resource": "md:nosuch"}, "ProcessError", "there is no array nosuch"),
    ):
        told = refused(served, "Observe", **parameters)
        assert (told.name, text in told.parameters["message"]) == (name, True)
    if os.path.exists("/proc/2/stat") and "kthreadd" in Path("/proc/2/stat").read_text():
        told = refused(served, "Observe", pid=2)
        assert (told.name, "thread of the kernel" in told.parameters["message"]) == ("ProcessError", True)
