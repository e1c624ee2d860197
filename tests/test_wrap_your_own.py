"""What docs/wrap-your-own.md says, done: its configuration, its package, its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemons import PATIENCE, serving
from descriptions import Understood

import pollprog
from pollprog.arguments import parser
from pollprog.config import Configured, load
from pollprog.configured import TYPES, operations_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemons import Serving

REPO = Path(__file__).parent.parent
PAGE = (REPO / "docs/wrap-your-own.md").read_text()
CONFIGURATION = REPO / "examples/pollprog.toml"
PACKAGE = REPO / "examples/pollprog-duplicates"
SIZE = 1 << 19


def blocks(language: str) -> list[str]:
    """The blocks of the page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def typed() -> list[str]:
    """Every line of the page that a user types."""
    return [line.strip() for line in PAGE.splitlines() if line.startswith("    pollprog ")]


def install(target: Path) -> None:
    """Put the package there as an installer does: its module, and what its pyproject.toml says of it."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    info = target / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {module}" for point, module in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (target / f"{name}.py").write_bytes((PACKAGE / f"{name}.py").read_bytes())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A daemon with the configuration and the package of the page, and with another package that is broken."""
    folder = tmp_path_factory.mktemp("own")
    install(folder / "packages")
    broken = folder / "packages/broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[pollprog.operations]\nbroken = no_such_module_anywhere\n")
    with serving(folder, CONFIGURATION, packages=folder / "packages") as found:
        yield found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with files, two of them alike."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    alike, other = os.urandom(SIZE), os.urandom(SIZE)
    (folder / "a.jpg").write_bytes(alike)
    (folder / "b.jpg").write_bytes(other)
    (folder / "deeper/c.jpg").write_bytes(alike)
    (folder / "deeper/link.jpg").symlink_to("c.jpg")
    (folder / "small").write_bytes(b"x")
    (folder / "deeper/small").write_bytes(b"x")
    return folder


def call(served: Serving, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a line of the page does, typed in this folder."""
    words = [sys.executable, "-m", *shlex.split(line)]
    environment = {**os.environ, "POLLPROG_ADDRESS": f"unix:{served.path}"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


# --- the page


def test_the_page_shows_the_examples_as_they_are() -> None:
    configuration, point = blocks("toml")
    (module,) = blocks("python")
    assert configuration == CONFIGURATION.read_text()
    assert module == (PACKAGE / "pollprog_duplicates.py").read_text()
    assert point in (PACKAGE / "pyproject.toml").read_text()
    assert len(module.splitlines()) < 60


def test_the_page_has_every_key_and_every_type() -> None:
    keys, placeholders = (set(re.findall(r"`([^`]+)`", "".join(re.findall(pattern, PAGE, re.MULTILINE)))) for pattern in (
        r"^\| (`[a-z`, ]+`) \|", r"^\| (`\{[^`]+`) \|"
    ))  # fmt: skip
    assert keys == set(Configured.__struct_fields__)
    kinds = {word.partition(":")[2].rstrip("}") for word in placeholders}
    assert kinds == {*TYPES, r"gzip\|xz"}


@pytest.mark.parametrize("line", typed())
def test_each_line_that_is_typed_is_understood(line: str) -> None:
    assert parser().parse_args(shlex.split(line)[1:]).command == "call"


def test_every_name_of_ours_that_the_page_mentions_is_there() -> None:
    for name in re.findall(r"`(?:with )?pollprog\.(\w+)", PAGE):
        assert name in pollprog.__all__, name


def test_the_links_of_the_page_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (REPO / "docs" / link).exists(), link


# --- the configuration


def test_the_configuration_declares_two_operations() -> None:
    assert [one.name for one in operations_of(load(str(CONFIGURATION)))] == ["PackFolder", "CopyFolder"]


@pytest.mark.tool("tar")
@pytest.mark.tool("gzip")
def test_a_folder_is_packed_as_the_page_types_it(served: Serving, photos: Path) -> None:
    line = next(line for line in typed() if "pack-folder" in line)
    packed = call(served, line, photos.parent)
    assert packed.returncode == 0, packed.stderr
    with tarfile.open(photos.parent / "photos.tgz", "r:gz") as archive:
        assert "./deeper/c.jpg" in archive.getnames()


@pytest.mark.tool("cp")
def test_a_folder_is_copied_as_the_page_types_it(served: Serving, photos: Path) -> None:
    line = next(line for line in typed() if "copy-folder" in line)
    copied = call(served, line, photos.parent)
    assert copied.returncode == 0, copied.stderr
    assert (photos.parent / "copy/deeper/c.jpg").read_bytes() == (photos / "a.jpg").read_bytes()


@pytest.mark.tool("tar")
@pytest.mark.tool("xz")
def test_a_wrapped_command_tells_how_far_it_is_over_the_wire(served: Serving, photos: Path) -> None:
    parameters: dict[str, Any] = {"folder": str(photos), "archive": f"{photos}.txz", "with": "xz", "interval": 0.1}
    *statuses, last = served.conversation("PackFolder", parameters)
    assert last == {"result": {"output": ""}}
    check(served, "PackFolder", [*statuses, last])
    whole = sum(path.stat().st_size for path in photos.rglob("*") if path.is_file() and not path.is_symlink())
    assert statuses[-1]["status"]["total"] >= whole


@pytest.mark.tool("tar")
def test_what_a_wrapped_command_says_in_its_end_is_told(served: Serving, tmp_path: Path) -> None:
    failed = served.call("PackFolder", folder=f"{tmp_path}/nowhere", archive=f"{tmp_path}/a.tgz")
    assert failed["error"].endswith(".CommandFailed")
    assert "nowhere" in failed["output"]
    assert served.call("PackFolder", folder="/", archive="/", **{"with": "zip"})["parameter"] == "with"


# --- the package


def test_duplicates_are_found_as_the_page_types_it(served: Serving, photos: Path) -> None:
    line = next(line for line in typed() if "find-duplicates" in line)
    found = call(served, line, photos.parent)
    assert found.returncode == 0, found.stderr
    assert f"{photos}/deeper/c.jpg" in found.stdout


def test_the_operation_of_a_package_tells_how_far_it_is_over_the_wire(served: Serving, photos: Path) -> None:
    for name in "large", "larger":
        with open(photos / name, "wb") as file:
            file.truncate(256 << 20)  # a hole, but it has to be read and summed
    *statuses, last = served.conversation("FindDuplicates", {"folder": str(photos), "least": 2, "interval": 0.1})
    assert sorted(last["result"]["files"]) == [
        [f"{photos}/a.jpg", f"{photos}/deeper/c.jpg"],
        [f"{photos}/large", f"{photos}/larger"],
    ]
    assert last["result"]["wasted"] == SIZE + (256 << 20)
    check(served, "FindDuplicates", [*statuses, last])


def test_a_package_fails_in_its_own_words(served: Serving, photos: Path) -> None:
    failed = served.call("FindDuplicates", folder=f"{photos}/a.jpg")
    assert failed["error"].endswith(".NotDirectory")
    assert failed["message"] == f"{photos}/a.jpg is no directory: name one to look into"


def test_a_broken_package_beside_it_is_named_in_one_line(served: Serving) -> None:
    (line,) = [line for line in served.log() if "broken" in line]
    assert line == (
        "pollprog: the operations of broken are left out: ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )


def check(served: Serving, method: str, replies: list[Any]) -> None:
    """Statuses came, the fraction never fell, all of it is what the description promises."""
    understood = Understood(served.description())
    for reply in replies:
        understood.check_reply(method, reply)
    fractions = [reply["status"]["fraction"] for reply in replies[:-1] if "fraction" in reply["status"]]
    assert fractions
    assert all(before <= after for before, after in pairwise(fractions))
    assert fractions[-1] == 1
