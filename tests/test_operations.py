"""Declarations: what a function says of itself, and what is refused when it is declared."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from pollprog.catalogue import ours
from pollprog.errors import InternalError, InvalidParameter, PathNotAbsolute
from pollprog.operations import declare, operation
from pollprog.varlink import decode

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    import trio


class Made(msgspec.Struct, frozen=True):
    size: int


@operation
def make_thumbnails(
    folder: Annotated[Path, "Where the pictures are."],
    names: list[str],
    size: Annotated[int, "Pixels.", Meta(ge=1, le=4096)] = 256,
    quality: Annotated[Literal["fast", "best"], "How."] = "best",
    target: Annotated[Path | None, "Where to."] = None,
    scale: float = 1,
    *,
    overwrite: bool = False,
    labels: Annotated[dict[str, str], "By name."] = {},  # noqa: B006 # nobody changes it
    comment="none",
) -> Made:
    """Make a small picture of each.

    Those that are there stay.
    """
    return Made(size)


THUMBNAILS = make_thumbnails.__pollprog__


def decoded(**given: Any) -> Any:
    return decode(msgspec.json.encode(given), THUMBNAILS.struct)


def test_a_declared_function_stays_what_it_was() -> None:
    assert make_thumbnails(Path("/"), [], 12) == Made(12)


def test_a_declaration_says_all_that_the_function_says() -> None:
    assert THUMBNAILS.name == "MakeThumbnails"
    assert THUMBNAILS.doc == "Make a small picture of each.\n\nThose that are there stay."
    assert [(one.name, one.kind, one.doc, one.required, one.default) for one in THUMBNAILS.parameters] == [
        ("folder", "path", "Where the pictures are.", True, None),
        ("names", "strings", "", True, None),
        ("size", "integer", "Pixels.", False, 256),
        ("quality", "choice", "How.", False, "best"),
        ("target", "path", "Where to.", False, None),
        ("scale", "number", "", False, 1.0),
        ("overwrite", "boolean", "", False, False),
        ("labels", "map", "By name.", False, {}),
        ("comment", "string", "", False, "none"),
    ]
    assert THUMBNAILS.progress


def test_the_description_for_clients_can_be_told_over_the_wire() -> None:
    told = json.loads(msgspec.json.encode(THUMBNAILS.described()))
    assert told["parameters"][2] == {
        "name": "size",
        "kind": "integer",
        "type": "int",
        "doc": "Pixels.",
        "default": "256",
    }
    assert told["parameters"][3]["choices"] == ["fast", "best"]
    assert told["parameters"][4]["type"] == "?string"


def test_arguments_are_what_the_function_takes() -> None:
    arguments = THUMBNAILS.arguments(decoded(folder="/a/b", names=["x"], target="/c", scale=2))
    assert arguments["folder"] == Path("/a/b")
    assert arguments["target"] == Path("/c")
    assert arguments["scale"] == 2.0
    assert arguments["comment"] == "none"
    make_thumbnails(**arguments)


def test_each_call_has_a_default_of_its_own() -> None:
    one, other = (THUMBNAILS.arguments(decoded(folder="/", names=[])) for _ in range(2))
    one["labels"]["a"] = "b"
    assert other["labels"] == {}


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"size": 0}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": "12"}, "size"),
        ({"size": 2**63}, "size"),
        ({"quality": "worst"}, "quality"),
        ({"overwrite": 1}, "overwrite"),
        ({"names": ["a", 1]}, "names"),
        ({"labels": {"a": None}}, "labels"),
        ({"what": 1}, "what"),
        ({"folder": None}, "folder"),
    ],
)
def test_what_a_parameter_cannot_be_is_refused_by_its_name(given: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        decoded(**{"folder": "/", "names": [], **given})
    assert caught.value.parameter.startswith(parameter)


@pytest.mark.parametrize("path", ["", "a", "./a", "~/a", "../a" * 10_000])
def test_a_relative_path_is_refused_in_a_short_line(path: str) -> None:
    with pytest.raises(PathNotAbsolute, match="folder") as caught:
        THUMBNAILS.arguments(decoded(folder=path, names=[]))
    assert len(str(caught.value)) < 500


def test_a_path_with_a_nul_in_it_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="target: a path has no NUL"):
        THUMBNAILS.arguments(decoded(folder="/", names=[], target="/a\0b"))


def test_a_title_is_one_line_without_what_is_nobodys_business() -> None:
    arguments = THUMBNAILS.arguments(decoded(folder="/a\nb\x1b[2J", names=["x", "y"], size=7, labels={"key": "secret"}))
    assert THUMBNAILS.title(arguments) == "MakeThumbnails /a\ufffdb\ufffd[2J x y size=7"


def test_a_truth_stands_in_the_title_as_it_is_typed() -> None:
    copy = ours()["CopyFile"]
    arguments = {parameter.name: parameter.default for parameter in copy.parameters}
    given = {"source": "/a", "destination": "/b", "overwrite": True}
    assert copy.title(arguments | given) == "CopyFile /a /b overwrite=true"


@given(st.text(), st.lists(st.text()), st.integers(1, 4096), st.text())
@settings(deadline=None)
def test_a_title_is_always_one_short_line(name: str, names: list[str], size: int, comment: str) -> None:
    arguments = {**THUMBNAILS.arguments(decoded(folder="/", names=[])), "folder": Path(f"/{name}")}
    title = THUMBNAILS.title(arguments | {"names": names, "size": size, "comment": comment})
    assert title.isprintable()
    assert len(title) <= 500


# --- what cannot be declared


def annotated(hint: Any, default: Any = None) -> Callable[..., Any]:
    """A function with one parameter."""

    def made(what=default):
        """Do it."""

    made.__annotations__["what"] = hint
    if default is None:
        made.__defaults__ = None
    return made


def returning(hint: Any) -> Callable[..., Any]:
    def made():
        """Do it."""

    made.__annotations__["return"] = hint
    return made


def positional(what, /):
    """A parameter without a name."""


def everything(**what):
    """Any name."""


def taken(job):
    """Everybody has that."""


def underscored(_what):
    """No name for a wire."""


def generating(count: int):
    """Yields."""
    yield count


async def generating_asynchronously(count: int):
    """Yields."""
    yield count


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (annotated(bytes), "Made: parameter what: bytes cannot cross the wire"),
        (annotated(list[int]), "Made: parameter what: list"),
        (annotated(list), "Made: parameter what: list"),
        (annotated(set[str]), "Made: parameter what: set"),
        (annotated(Literal["a", 1]), "Made: parameter what:"),
        (annotated(str | int), "Made: parameter what: str | int cannot"),
        (annotated(Any), "Made: parameter what:"),
        (annotated(Annotated[str, Meta(ge=1)]), "Made: parameter what:"),
        (annotated(int, "six"), "Made: parameter what: its default 'six' is not what it takes"),
        (annotated(Annotated[int, Meta(ge=7)], 6), "Made: parameter what: its default 6 is not what it takes"),
        (annotated(Literal["a", "b"], "c"), "Made: parameter what: its default 'c' is not"),
        (annotated(Path, Path("here")), "Made: parameter what: its default .* is not absolute"),
        (annotated("Nowhere"), "Made: name 'Nowhere' is not defined, and annotations are read when the module is"),
        (positional, "Positional: parameter what: an operation has named parameters only"),
        (everything, "Everything: parameter what: an operation has named parameters only"),
        (taken, "Taken: parameter job: choose another name; every operation has interval and job already"),
        (underscored, "Underscored: parameter _what: choose another name; letters"),
        (generating, "Generating: a generator cannot be an operation"),
        (generating_asynchronously, "GeneratingAsynchronously: a generator cannot be an operation"),
        (lambda: None, "'<lambda>' cannot be the name of an operation"),
        (returning(bytes), "Made: its result cannot cross the wire"),
        (returning(tuple[int, int]), "Made: its result cannot cross the wire"),
        (returning(dict[int, str]), "Made: its result cannot cross the wire"),
        (returning(str | int), "Made: its result cannot cross the wire"),
        (returning("Nowhere"), "Made: name 'Nowhere' is not defined"),
        (returning(msgspec.defstruct("lower", ["a"])), "Made: its result cannot cross the wire: lower cannot be a type"),
        (returning(msgspec.defstruct("Pair", [("a", int)], array_like=True)), "Made: its result cannot cross the wire"),
        (returning(msgspec.defstruct("Held", [("a_", int)])), "Made: its result .* Held.a_ cannot be a field"),
    ],
)  # fmt: skip
def test_what_cannot_cross_the_wire_is_refused_when_it_is_declared(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        declare(function)


def test_an_operation_can_be_called_otherwise_than_its_function() -> None:
    @operation(name="Fsck", progress=False)
    def check_it() -> None:
        pass

    assert check_it.__pollprog__.name == check_it.__pollprog__.doc == "Fsck"
    with pytest.raises(TypeError, match="'fsck' cannot be the name"):
        operation(name="fsck")(check_it)


def test_only_what_reports_progress_answers_with_a_status() -> None:
    for progress in (True, False):
        made = declare(returning(int), progress=progress)
        assert ("status" in made.reply.__struct_fields__) is progress


# --- results


class Tree(msgspec.Struct):
    name: str
    inside: list[Tree] = []


class Running:
    """As much of the work as a function that does nothing with it needs."""

    async def run(self, call: Callable[[], Any], *, within: trio.CapacityLimiter | None) -> Any:
        return call()

    async def run_async(self, call: Callable[[], Any]) -> Any:
        return await call()


async def result(hint: Any, value: Any) -> Any:
    """What an operation tells that declares this and returns that."""
    made = returning(hint)
    made.__code__ = (lambda: value_of[0]).__code__
    made.__globals__["value_of"] = [value]
    return await declare(made).run(typing.cast("Any", Running()), {}, typing.cast("Any", None))


value_of: list[Any] = []


@pytest.mark.parametrize(
    ("hint", "value", "told"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (Path, Path("/a"), "/a"),
        (Path | None, None, None),
        (list[str], ("a", "b"), ["a", "b"]),
        (Made, Made(3), Made(3)),
        (list[Made], [Made(3)], [Made(3)]),
        (dict[str, Made], {"a": Made(3)}, {"a": Made(3)}),
        (Tree, Tree("a", [Tree("b")]), Tree("a", [Tree("b")])),
        (None, object(), None),
    ],
)
async def test_a_result_is_told_as_it_was_declared(hint: Any, value: Any, told: Any) -> None:
    assert await result(hint, value) == told


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, "3"),
        (int, 2**63),
        (str, object()),
        (str, b"bytes"),
        (list[str], {1, 2}),
        (Made, Made("big")),  # type: ignore[arg-type] # which is the point
        (Made, {"width": 3}),
    ],
)
async def test_a_result_that_was_not_declared_fails_the_job_in_one_line(hint: Any, value: Any) -> None:
    with pytest.raises(InternalError, match=r"^Made failed: it returned something else than it declares: ") as caught:
        await result(hint, value)
    assert "\n" not in str(caught.value)


async def test_a_coroutine_function_is_an_operation_too() -> None:
    async def wait_for_it(seconds: float) -> float:
        return seconds

    made = declare(wait_for_it)
    assert await made.run(typing.cast("Any", Running()), {"seconds": 2}, typing.cast("Any", None)) == 2.0
