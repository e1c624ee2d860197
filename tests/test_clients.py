"""The clients in Perl and OCaml, each as a program in its own language, against a real daemon and against bad ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from daemons import serving, wait_for_listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENTS = Path(__file__).parent.parent / "clients"
EXERCISES = Path(__file__).parent / "clients"
README = (CLIENTS / "README.md").read_text()
PATIENCE = 60.0
HUGE = 1 << 40
"""Bytes of a file with nothing in it: nobody sums it up before it is cancelled."""

Run: TypeAlias = "Callable[..., list[str]]"


@pytest.fixture(scope="module")
def perl(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How a Perl program with the client is started: as installed."""
    folder = tmp_path_factory.mktemp("perl")
    shutil.copytree(CLIENTS / "perl", folder / "source")
    for step in ["perl", "Makefile.PL", f"INSTALL_BASE={folder}"], ["make", "install"]:
        subprocess.run(step, cwd=folder / "source", check=True, capture_output=True)
    return ["perl", f"-I{folder / 'lib/perl5'}"]


@pytest.fixture(scope="module")
def ocaml(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[str]]:
    """Compiles an OCaml program against the client, as installed."""
    if subprocess.run(["ocamlfind", "query", "yojson"], capture_output=True).returncode:
        reason = "not installed: libyojson-ocaml-dev"
        pytest.fail(reason) if os.environ.get("POLLPROG_REQUIRE_TOOLS") == "1" else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("ocaml")
    library = folder / "library"
    library.mkdir()
    environment = {**os.environ, "OCAMLFIND_DESTDIR": str(library), "OCAMLFIND_LDCONF": "ignore"}
    make = ["make", "-C", str(CLIENTS / "ocaml"), f"BUILD={folder / 'build'}", "install"]
    subprocess.run(make, env=environment, check=True, capture_output=True)

    def compiled(source: Path) -> list[str]:
        copy, program = folder / source.name, folder / source.stem
        copy.write_bytes(source.read_bytes())
        line = [
            "ocamlfind",
            "ocamlopt",
            "-linkpkg",
            "-thread",
            "-package",
            "pollprog",
            "-w",
            "+a-4-9-40-41-42-44-45-70",
        ]
        found = os.pathsep.join([str(library), os.environ.get("OCAMLPATH", "")])
        built = subprocess.run(
            [*line, copy.name, "-o", program.name],
            cwd=folder, env={**os.environ, "OCAMLPATH": found}, capture_output=True, text=True,
        )  # fmt: skip
        assert (built.returncode, built.stderr) == (0, "")
        return [str(program)]

    return compiled


BOTH = [
    pytest.param("perl", marks=pytest.mark.tool("perl", "make")),
    pytest.param("ocaml", marks=pytest.mark.tool("ocamlfind", "ocamlopt", "make")),
]


@pytest.fixture(scope="module", params=BOTH)
def exercise(request: pytest.FixtureRequest) -> list[str]:
    """The program that does what a test says."""
    if request.param == "perl":
        return [*request.getfixturevalue("perl"), str(EXERCISES / "exercise.pl")]
    words: list[str] = request.getfixturevalue("ocaml")(EXERCISES / "exercise.ml")
    return words


@pytest.fixture
def run(exercise: list[str]) -> Run:
    """Runs a scenario of it; the lines that it prints."""

    def run(address: str, *words: str | Path, **environment: str) -> list[str]:
        ran = subprocess.run(
            [*exercise, address, *map(str, words)],
            env={**os.environ, **environment}, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.splitlines()

    return run


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An $XDG_RUNTIME_DIR with a daemon in it."""
    folder = tmp_path_factory.mktemp("runtime")
    with serving(folder, delay=0.2) as daemon:
        (folder / "pollprog").mkdir()
        (folder / "pollprog/sock").symlink_to(daemon.path)
        yield folder


@pytest.fixture
def address(runtime: Path) -> str:
    return f"unix:{runtime}/pollprog/sock"


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(HUGE)
    return path


AFTER = ["after -1 -1", "nothing"]


# --- a real daemon


def test_a_call_returns_the_result(run: Run, address: str, tmp_path: Path) -> None:
    path = tmp_path / "größe 日本"
    path.write_bytes(b"abc")
    assert run(address, "sum", path) == [f"result {hashlib.sha256(b'abc').hexdigest()} 3", *AFTER]


def test_the_address_comes_from_the_environment_or_is_that_of_the_users_own_daemon(
    run: Run, address: str, runtime: Path, tmp_path: Path
) -> None:
    told = run(address, "sum", "/nowhere")
    assert told[0] == "error NoSuchFile path=/nowhere"
    assert run("", "sum", "/nowhere", POLLPROG_ADDRESS=address) == told
    assert run("", "sum", "/nowhere", POLLPROG_ADDRESS="", XDG_RUNTIME_DIR=str(runtime)) == told


def test_the_callback_is_called_while_the_call_runs_and_gets_an_unknown_total_as_minus_one(
    run: Run, address: str, tmp_path: Path
) -> None:
    told = run(address, "wait", tmp_path / "go")
    assert told[-3:] == ["result ended", *AFTER]
    assert told[0:6] == ["progress -1 0", "busy"] * 3  # it waits for the third


def test_cancelled_from_the_callback_the_call_ends_with_an_error_that_says_so(
    run: Run, address: str, huge: Path
) -> None:
    told = run(address, "cancel-callback", huge)
    progress = [tuple(map(int, line.split()[1:])) for line in told if line.startswith("progress")]
    assert {total for total, _ in progress} == {HUGE}
    assert 0 <= progress[0][1] <= progress[1][1] < HUGE
    assert told[2] == "cancel 1"
    assert re.fullmatch(rf"error Cancelled .*path={huge}.*", told[-4])
    assert told[-3].startswith("text the checksum")
    assert told[-2:] == AFTER


@pytest.mark.parametrize("scenario", ["cancel-signal", "cancel-thread"])
def test_who_looks_in_from_elsewhere_sees_the_progress_and_can_cancel(
    run: Run, exercise: list[str], address: str, huge: Path, scenario: str
) -> None:
    if scenario == "cancel-thread" and exercise[0] == "perl":
        scenario = "cancel-signal"  # one thread; a signal that comes at another time
    told = run(address, scenario, huge)
    seen = told[0].split()
    assert seen[:2] == ["progress", str(HUGE)]
    assert int(seen[2]) >= 0
    assert told[1].startswith("error Cancelled")
    assert told[-2:] == AFTER


def test_a_signal_may_cancel_at_any_moment_of_a_call(run: Run, address: str, huge: Path) -> None:
    assert run(address, "cancel-often", huge) == [*["Cancelled"] * 50, *AFTER]


@pytest.mark.parametrize(("scenario", "raised"), [("timeout", "too late"), ("raise", "from the callback")])
def test_an_exception_of_a_signal_handler_or_of_the_callback_ends_the_call_and_the_work(
    run: Run, address: str, huge: Path, scenario: str, raised: str
) -> None:
    assert run(address, scenario, huge) == [f"raised {raised}", "state cancelled", *AFTER]


def test_a_call_from_inside_the_callback_is_refused_and_the_outer_one_goes_on(
    run: Run, address: str, huge: Path
) -> None:
    told = run(address, "busy", huge)
    assert told[0] == "error Busy"
    assert told[2].startswith("error Cancelled")


def test_an_error_has_its_name_its_parameters_and_one_line_of_text(run: Run, address: str) -> None:
    told = run(address, "command")
    assert told[0] == "error CommandFailed exit=3 output=hällo"
    assert told[1].startswith("text sh ended with exit status 3")
    assert run(address, "sum", "relative")[0] == "error PathNotAbsolute path=relative"


def test_a_handle_outlives_its_connection(run: Run, fake: Callable[[bytes], Fake]) -> None:
    server = fake(RESULT)  # which closes after each reply
    assert run(server.address, "follow", "/x") == [TOLD, TOLD, *AFTER]
    assert len(server.heard) == 2


def test_what_cannot_be_sent_is_refused_before_it_is(run: Run, exercise: list[str], address: str) -> None:
    told = [line.split() for line in run(address, "refused")]
    names = [line[1] for line in told if line[0] == "error"]
    assert names == ["UsageError"] * (6 if exercise[0] == "perl" else 2) + ["InvalidParameter"]
    assert ["error", "InvalidParameter", "parameter=path"] in told
    assert told[-2:] == [line.split() for line in AFTER]


# --- no daemon


def test_where_nobody_listens_that_is_said(run: Run, tmp_path: Path) -> None:
    told = run(f"{tmp_path}/sock", "sum", "/x")
    assert told[0] == f"error Unreachable address=unix:{tmp_path}/sock"
    assert len(told) == 2


@pytest.mark.parametrize("address", ["somewhere", "ssh://host", "tcp:localhost:1", "/" + 107 * "x"])
def test_what_is_no_address_for_this_client_is_said(run: Run, address: str) -> None:
    assert run(address, "sum", "/x")[0] == "error UsageError"


def test_a_daemon_that_is_killed_is_a_lost_connection_and_then_nobody(
    exercise: list[str], huge: Path, tmp_path: Path
) -> None:
    path, log = tmp_path / "sock", tmp_path / "log"
    tmp_path.chmod(0o700)
    line = [sys.executable, "-m", "pollprog", "daemon", "--socket", str(path), "--initial-delay", "0.2"]
    with log.open("wb") as file, subprocess.Popen(line, stderr=file, text=True) as daemon:
        try:
            wait_for_listening(daemon, log)
            with subprocess.Popen(
                [*exercise, str(path), "follow", str(huge)], stdout=subprocess.PIPE, text=True
            ) as client:
                assert client.stdout is not None
                assert client.stdout.readline().startswith("progress")
                daemon.kill()
                told, _ = client.communicate(timeout=PATIENCE)
        finally:
            daemon.kill()
    errors = [line.split() for line in told.splitlines() if line.startswith("error")]
    assert errors[0] == ["error", "ConnectionLost", f"address=unix:{path}"]
    assert errors[1][1] in (
        "Unreachable",
        "ConnectionLost",
    )  # its connections may end a moment before its listening does
    assert told.splitlines()[-2:] == AFTER


# --- a bad daemon


class Fake:
    """Listens, and answers each call of one connection after the other as it is told."""

    def __init__(self, path: Path, answer: Callable[[socket.socket, bytes], None], *, most: int = 1 << 20) -> None:
        self.address = f"unix:{path}"
        self.heard: list[bytes] = []
        self._answer = answer
        self._most = most  # so many bytes of a call are read
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(PATIENCE)
            call = b""
            while not call.endswith(b"\0") and len(call) < self._most:
                data = connection.recv(1 << 16)
                if not data:
                    return
                call += data
            self.heard.append(call[:-1])
            try:
                self._answer(connection, call[:-1])
            except OSError:
                pass  # the client had enough

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket, bytes], None] | bytes], Fake]]:
    """Makes one, from what it does or from the bytes that it answers."""
    made: list[Fake] = []

    def make(answer: Callable[[socket.socket, bytes], None] | bytes) -> Fake:
        if isinstance(answer, bytes):
            told = answer
            made.append(Fake(tmp_path / f"fake{len(made)}", lambda connection, _: connection.sendall(told)))
        else:
            made.append(Fake(tmp_path / f"fake{len(made)}", answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


RESULT = b'{"parameters":{"result":{"digest":"d","size":9223372036854775807,"files":1}}}\0'
TOLD = "result d 9223372036854775807"


def status(current: object, total: object) -> bytes:
    return (
        b'{"parameters":{"status":%b},"continues":true}\0'
        % json.dumps({"current": current, "total": total, "later": {"more": []}}).encode()
    )


BAD = {
    "no JSON": b"\x16\x03\x01\x02\0",
    "no object": b"[1,2]\0",
    "nothing": b"\0\0\0",
    "more behind": b"{} {}\0",
    "deep": b'{"parameters":' + b"[" * 500_000 + b"\0",
    "deep under a comment": b'{"parameters":/*"*/' + b"[" * 500_000 + b"\0",
    "no UTF-8": RESULT.replace(b'"d"', b'"\xff"'),
    "surrogates": RESULT.replace(b'"d"', b'"\xed\xa0\x80"'),
    "an error that is no name": b'{"error":{"a":1}}\0',
    "an error that continues": b'{"error":"org.pollprog.operations.Busy","continues":true}\0',
    "no status": b'{"parameters":{"jobs":[]},"continues":true}\0',
    "a status in words": status("much", 3),
    "half a byte": status(0.5, 3),
    "too much to count": status(10**20, 10**21),
    "something else first": b"{" + RESULT,
}


def test_what_is_no_reply_is_a_protocol_error(run: Run, fake: Callable[[bytes], Fake]) -> None:
    servers = [fake(answer) for answer in BAD.values()]
    with ThreadPoolExecutor(5) as several:  # each waits for a while
        said = list(several.map(lambda server: run(server.address, "follow", "/x"), servers))
    for name, told in zip(BAD, said, strict=True):
        assert [line for line in told if line.startswith("error")] == ["error ProtocolError"] * 2, name
        assert told[-2:] == AFTER, name


@pytest.mark.parametrize("behind", [status(1, 2), b"{}\0", b"\xff", b"\0"], ids=["status", "reply", "half", "nothing"])
def test_what_follows_the_reply_spoils_the_connection_and_not_the_reply(
    run: Run, fake: Callable[[bytes], Fake], behind: bytes
) -> None:
    server = fake(RESULT + behind)
    assert run(server.address, "follow", "/x")[:2] == [TOLD, TOLD]
    assert len(server.heard) == 2, "each over a connection of its own"


def test_a_message_without_an_end_is_not_kept(run: Run, fake: Callable[..., Fake]) -> None:
    sent: list[int] = []

    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b'{"parameters":{"x":"')
        while True:
            connection.sendall(b"x" * (1 << 16))
            sent.append(1 << 16)

    assert run(fake(endless).address, "sum", "/x")[0] == "error ProtocolError"
    assert sum(sent) < 128 << 20


@pytest.mark.parametrize("answer", [b"", b'{"parameters"', status(1, 2)[:-1]], ids=["nothing", "half", "no end"])
def test_a_connection_that_ends_too_early_is_lost(run: Run, fake: Callable[[bytes], Fake], answer: bytes) -> None:
    assert run(fake(answer).address, "sum", "/x")[0].startswith("error ConnectionLost")


def test_a_daemon_that_goes_while_it_is_told_something_is_a_lost_connection_and_no_signal(
    run: Run, tmp_path: Path
) -> None:
    server = Fake(tmp_path / "fake", lambda connection, _: connection.close(), most=1)
    assert run(server.address, "large")[0].startswith("error ConnectionLost")
    server.close()


@pytest.mark.parametrize(
    ("current", "total", "told"),
    [
        (3, 10, "10 3"),
        (99, 10, "10 10"),
        (-5, 10, "10 0"),
        (5, None, "-1 5"),
        (5, 0, "-1 5"),
        (2**53 + 1, 2**63 - 1, "9223372036854775807 9007199254740993"),
    ],
)
def test_a_status_is_told_within_the_rules_whatever_it_says(
    run: Run, fake: Callable[[bytes], Fake], current: int | None, total: int | None, told: str
) -> None:
    assert run(fake(status(current, total) + RESULT).address, "follow", "/x")[:2] == [f"progress {told}", TOLD]


def test_a_status_without_a_number_is_not_told(run: Run, fake: Callable[[bytes], Fake]) -> None:
    assert run(fake(status(None, 10) + RESULT).address, "follow", "/x")[:2] == [TOLD, TOLD]


def test_of_the_statuses_that_have_come_the_newest_is_told(run: Run, fake: Callable[[bytes], Fake]) -> None:
    answer = status(1, 9) + status(2, 9) + status(3, 9) + RESULT
    assert run(fake(answer).address, "follow", "/x")[:2] == ["progress 9 3", TOLD]


def test_a_reply_that_comes_byte_by_byte_is_understood(run: Run, fake: Callable[..., Fake]) -> None:
    def slowly(connection: socket.socket, _: bytes) -> None:
        for byte in status(1, 2) + RESULT:
            connection.sendall(bytes([byte]))

    assert run(fake(slowly).address, "sum", "/x")[0] == TOLD


def test_an_error_of_somebody_else_keeps_its_name_and_its_text_becomes_one_line(
    run: Run, fake: Callable[[bytes], Fake]
) -> None:
    answer = b'{"error":"com.example.Odd","parameters":{"message":"a\\u001b[2J\\nb\\u009bc"}}\0'
    told = run(fake(answer).address, "sum", "/x")
    assert told[0].split()[:2] == ["error", "com.example.Odd"]
    assert told[1].startswith("text a")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", told[1])
    assert told[-2:] == AFTER


def test_integers_of_64_bits_and_all_characters_arrive_as_they_were_sent(
    run: Run, fake: Callable[[bytes], Fake]
) -> None:
    server = fake(b'{"parameters":{"result":{"size":-9223372036854775808}}}\0')
    assert run(server.address, "wide", "/日本 \U0001f980")[0] == "result -9223372036854775808"
    call = json.loads(server.heard[0])
    job = call["parameters"].pop("job")
    assert re.fullmatch(r"(perl|ocaml)-\d+-[0-9a-f]+", job)
    assert call == {
        "method": "org.pollprog.operations.CopySize",
        "more": True,
        "parameters": {
            "source": "/日本 \U0001f980", "destination": "/ü", "size": 2**53 + 1, "source_offset": 2**62, "sparse": True
        },
    }  # fmt: skip


def test_who_cancels_before_the_daemon_knows_the_job_is_heard_all_the_same(run: Run, fake: Callable[..., Fake]) -> None:
    cancels: list[str] = []
    stopped = threading.Event()

    def late(connection: socket.socket, call: bytes) -> None:
        said = json.loads(call)
        if said["method"].endswith(".Cancel"):
            cancels.append(said["parameters"]["job"])
            if len(cancels) == 1:
                connection.sendall(b'{"error":"org.pollprog.operations.NoSuchJob"}\0')
            else:
                connection.sendall(b'{"parameters":{"state":"cancelling"}}\0')
                stopped.set()
            return
        connection.sendall(status(1, 2))
        assert stopped.wait(PATIENCE)
        cancels.append(said["parameters"]["job"])
        connection.sendall(b'{"error":"org.pollprog.operations.Cancelled","parameters":{"path":"/x"}}\0')

    told = run(fake(late).address, "cancel-signal", "/x")
    assert told[1].startswith("error Cancelled")
    assert len(cancels) == 3
    assert len(set(cancels)) == 1


# --- what is generated, and what the page says


def test_what_is_generated_is_what_the_declarations_say() -> None:
    code = "import generate, json; print(json.dumps({str(path): text for path, text in generate.made().items()}))"
    told = subprocess.run([sys.executable, "-c", code], cwd=CLIENTS, capture_output=True, text=True, check=True).stdout
    made = json.loads(told)
    assert len(made) == 4
    for path, text in made.items():
        assert Path(path).read_text() == text, f"{path} is old: run python clients/generate.py"


def block(language: str) -> str:
    """The example in this language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def check_example(command: list[str], address: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    environment = {**os.environ, "POLLPROG_ADDRESS": address}
    line = [*command, str(tmp_path / "a"), str(tmp_path / "b")]
    ran = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("copied 3 bytes\n", "", 0)
    assert (tmp_path / "b").read_bytes() == b"abc"
    (tmp_path / "a").unlink()
    ran = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.stderr.startswith("NoSuchFile: ")
    assert ran.returncode != 0


@pytest.mark.tool("perl", "make")
def test_the_example_in_perl_copies_a_file(perl: list[str], address: str, tmp_path: Path) -> None:
    (tmp_path / "copy.pl").write_text(block("perl"))
    check_example([*perl, str(tmp_path / "copy.pl")], address, tmp_path)


@pytest.mark.tool("ocamlfind", "ocamlopt", "make")
def test_the_example_in_ocaml_copies_a_file(ocaml: Callable[[Path], list[str]], address: str, tmp_path: Path) -> None:
    (tmp_path / "copy.ml").write_text(block("ocaml"))
    check_example(ocaml(tmp_path / "copy.ml"), address, tmp_path)


@pytest.mark.tool("perl", "podchecker")
def test_the_manual_of_the_perl_client_is_well_formed() -> None:
    subprocess.run(["podchecker", *map(str, (CLIENTS / "perl/lib").rglob("*.pm"))], check=True, capture_output=True)
