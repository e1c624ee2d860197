"""apt-get and apt: recordings played to their probe, and the real ones, in a system of their own."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import gets, told, told_of_a_running_one, waiting

from pollprog.launch import Command
from pollprog.probes import apt
from pollprog.probes.apt import TOOL, weights
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
CONTROL = "Package: pollprog-test\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: nothing\n"
CONFIGURATION = """
Dir "{root}";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Log "{root}/var/log/apt";
Debug::NoLocking "true";
APT::Sandbox::User "root";
DPkg::Options {{ "--root={root}"; "--force-not-root"; "--log={root}/log"; "--force-script-chrootless"; "--force-unsafe-io"; }};
"""
BAR = re.compile(rb"\x1b7[^\x1b]*(?:\x1b\[[^\x1b]*)*\x1b8")
"""What apt writes at once into the last row of a terminal, or to set that row apart."""
ALONE = ["downloading"]
BOTH = ["downloading", "installing"]


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APT_CONFIG", raising=False)


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("name", "phase", "last"),
    [("apt_status_fd", "installing", 944_444), ("apt_download_status_fd", "downloading", 1_000_000)],
)
def test_a_recording_is_told_however_it_is_cut(name: str, phase: str, last: int, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert {(sample.phase, sample.total) for sample in samples} == {(phase, 1_000_000)}
    assert samples[-1].current == last
    assert all(old.current <= new.current for old, new in pairwise(samples))


def test_two_bars_are_told_under_one_fraction_that_never_falls() -> None:
    data = (
        b"dlstatus:1:10.0000:a\ndlstatus:2:100.0000:b\npmstatus:dpkg-exec:0.0000:c\npmstatus:gcc-12:amd64:50,0000:d: e\n"
        b"dlstatus:3:20.0000:a\npmstatus:x:60:\n"
    )
    samples = play(TOOL, Recording(["apt-get", "install", "a"], {3: data}), size=1)
    assert [sample.current for sample in samples] == [50_000, 500_000, 500_000, 750_000, 750_000, 800_000]


def test_what_apt_never_writes_is_not_believed() -> None:
    data = (
        b"dlstatus:1:101.0:a\npmstatus:a:-1:b\nmedia-change: disc:cdrom:x\npmerror:/a.deb:20.0:no\npmstatus:\xff\n"
        b"plstatus:1:1.0:a\nGet:1 http://a b\n\x00\n"
    )
    assert play(TOOL, Recording(["apt-get", "install", "a"], {3: data})) == []


@pytest.mark.parametrize(
    ("words", "phases"),
    [
        ("install a", BOTH),
        ("-y -t stable full-upgrade", BOTH),
        ("install -yd a", ALONE),
        ("--download-only upgrade", ALONE),
        ("-oDir::Cache=d install a", BOTH),
        ("download a", ALONE),
        ("purge a", ["installing"]),
        ("update", []),
        ("list", []),
    ],
)
def test_what_a_command_does(words: str, phases: list[str]) -> None:
    assert list(weights(["apt-get", *words.split()])) == phases


@pytest.mark.tool("apt-get", "apt")
@pytest.mark.parametrize("words", [["apt-get", "install", "a"], ["apt", "-y", "install", "a"]])
def test_a_descriptor_is_added(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "mentions", lambda *_: False)
    monkeypatch.setattr(os, "isatty", lambda _: False)
    command = TOOL.prepare(Command(words))
    assert command.status is not None
    assert list(command.status(command.argv, 9)) == [words[0], "-o", "APT::Status-Fd=9", *words[1:]]


@pytest.mark.tool("apt-get")
@pytest.mark.parametrize(
    "words",
    [
        ["-o", "apt::status-fd=2"],
        ["-oAPT::Status-deb822-Fd=2"],
        ["-o", "Dpkg::Progress-Fancy=1"],
        ["-c", "file"],
        ["--config-file=x"],
    ],
)
def test_the_users_own_option_wins(words: list[str]) -> None:
    assert TOOL.prepare(Command(["apt-get", *words, "install", "a"])).status is None


@pytest.mark.tool("apt-get")
def test_the_users_own_configuration_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text('DPkg::Progress-Fancy "1";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "file"))
    assert TOOL.prepare(Command(["apt-get", "install", "a"])).status is None


@pytest.mark.tool("apt")
def test_where_apt_draws_a_bar_of_its_own_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: True)
    assert TOOL.prepare(Command(["apt", "install", "a"])).status is None


def test_a_program_that_is_no_apt_is_not_given_it() -> None:
    assert TOOL.prepare(Command(["/bin/true", "install", "a"])).status is None


# --- the real ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system where nothing is installed, and a source with one package."""
    if os.geteuid() != 0:
        pytest.skip("apt wants to be root")
    folder = tmp_path_factory.mktemp("apt")
    root, source = folder / "root", folder / "source"
    for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/dpkg/info", "var/lib/dpkg/updates",
                 "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"):  # fmt: skip
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (folder / "package/DEBIAN").mkdir(parents=True)
    (folder / "package/DEBIAN/control").write_text(CONTROL)
    for number, name in enumerate(("preinst", "postinst"), 1):
        script = folder / "package/DEBIAN" / name
        script.write_text(waiting(folder, r"\(apt\|dpkg\)", number).replace("\n", '\n[ "$WANTED" ] || exit 0\n', 1))
        script.chmod(0o755)
    source.mkdir()
    words = ["dpkg-deb", "-b", str(folder / "package"), str(source / "test.deb")]
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE)
    data = (source / "test.deb").read_bytes()
    entry = f"{CONTROL}Filename: ./test.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    (source / "Packages").write_text(entry)
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] copy:{source} ./\n")
    (folder / "configuration").write_text(CONFIGURATION.format(root=root))
    environment = ENVIRONMENT | {"APT_CONFIG": str(folder / "configuration")}
    actions = (["update"], ["-y", "install", "pollprog-test"], ["-y", "remove", "pollprog-test"])
    for words in (["apt-get", *action] for action in actions):  # what apt prints depends on what it remembers
        subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE, env=environment)
    return folder


@pytest.fixture
def system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and whatever a test starts is in it."""
    monkeypatch.setitem(ENVIRONMENT, "APT_CONFIG", str(folder / "configuration"))
    return folder


@pytest.fixture
def untouched(system: Path) -> Path:
    """Nothing is installed in it, and nothing downloaded."""
    words = ["apt-get", "-y", "remove", "pollprog-test"]
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE, env=ENVIRONMENT)
    for left in (system / "root/var/cache/apt/archives").glob("*.deb"):
        left.unlink()
    return system


@pytest.mark.tool("apt-get", "apt", "dpkg-deb")
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("place", ["", "2>&1", "> out 2>err", "2>&1 | cat"])
@pytest.mark.parametrize("program", ["apt-get", "apt"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(
    program: str, place: str, *, terminal: bool, system: Path
) -> None:
    clean = "apt-get -y remove pollprog-test; apt-get -s install pollprog-test"
    # apt makes the terminal raw for dpkg, and whether that is before or after cat has written is nobody's to say.
    # Nor whether it first passes on what dpkg prints or draws its own bar for it.
    how = {"terminal": terminal, "line_ends": not (terminal and place == "2>&1 | cat"), "apart": BAR}
    gets(f"{program} -y remove pollprog-third", place, system, **how)
    gets(f"{program} -y install pollprog-test", place, system, fresh=clean, **how)
    installed = (system / "root/var/lib/dpkg/status").read_text()
    assert "Status: install ok installed" in installed


@pytest.mark.tool("apt-get", "dpkg-deb")
def test_a_download_goes_where_it_would_have_gone(untouched: Path) -> None:
    done = told("apt-get -y --download-only install pollprog-test", untouched, "apt")
    assert done[-1]["exit"] == 0
    assert list((untouched / "root/var/cache/apt/archives").glob("*.deb"))


@pytest.fixture
def slow(untouched: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and the scripts of the package wait until something was told of them."""
    monkeypatch.setitem(ENVIRONMENT, "WANTED", "both")
    (untouched / "lines").unlink(missing_ok=True)
    return untouched


@pytest.mark.tool("apt-get", "dpkg-deb")
def test_a_slow_one_is_told(slow: Path) -> None:
    lines = told("apt-get -y install pollprog-test", slow, "apt")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["phase"] for line in lines[:-1]} == {"installing"}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("apt-get", "dpkg-deb")
def test_one_that_runs_already_is_told_while_dpkg_works(slow: Path) -> None:
    lines = told_of_a_running_one("apt-get -y install pollprog-test", slow, "dpkg")
    assert len({line["current"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines} == {None}
