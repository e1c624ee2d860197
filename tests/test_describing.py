"""The description of an interface, read by foreign clients, and the page of the reference."""

from __future__ import annotations

import inspect
import json
import runpy
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from asyncvarlink.conversion import ConversionError
from daemons import serving
from descriptions import Understood
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog import daemon
from pollprog.catalogue import ours
from pollprog.describing import Described, description, doc_of, names_of, reference, type_text
from pollprog.errors import NoSpace, OperationError
from pollprog.operations import declare
from pollprog.status import State
from pollprog.varlink import Int

REPO = Path(__file__).parent.parent
OURS = ours()
INTERFACE = Understood(daemon.interface_of(OURS).description)


# --- ours


@pytest.mark.parametrize("name", OURS)
def test_each_operation_is_understood_with_its_parameters_and_what_they_mean(name: str) -> None:
    operation = OURS[name]
    fields = INTERFACE.fields(name)
    assert set(fields) == {*(one.name for one in operation.parameters), "job", "interval"}
    said = INTERFACE.comments(name)
    assert " ".join(operation.doc.split()) in said
    for one in operation.parameters:
        assert fields[one.name].startswith("?") is not one.required
        assert one.doc
        assert one.doc in said


@pytest.mark.parametrize("method", INTERFACE.methods)
def test_a_method_is_marked_if_and_only_if_it_may_answer_with_a_status(method: str) -> None:
    answers = INTERFACE.fields(method, "out_type")
    several = "status" in answers or method in ("Watch", "Top")
    assert INTERFACE.marked(method) == ("" if not several else "Requires" if method in ("Watch", "Top") else "Supports")


def test_every_state_is_in_the_description() -> None:
    states = INTERFACE.types["Status"].type.fields["state"]
    assert list(states.fields) == [state.value for state in State]


@pytest.mark.tool("tar")
def test_what_a_daemon_says_is_what_its_description_promises(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"x" * 100_000)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("CopyFile", {"source": f"{tmp_path}/tree/file", "destination": f"{tmp_path}/copy"}),
        ("CopyFile", {"source": f"{tmp_path}/tree/file", "destination": f"{tmp_path}/copy"}),
        ("Checksum", {"path": f"{tmp_path}/tree"}),
        ("Run", {"argv": ["sleep", "0.3"], "job": "sleeping"}),
        ("Run", {"argv": ["sh", "-c", "echo no; exit 3"]}),
        ("Run", {"argv": ["/nowhere/at/all"]}),
        ("TarOut", {"directory": f"{tmp_path}/tree", "archive": f"{tmp_path}/tree.tar"}),
        ("Submit", {"method": "Run", "parameters": {"argv": ["sleep", "0.2"]}}),
        ("Follow", {"job": "sleeping"}),
        ("Follow", {"job": "nobody"}),
        ("Cancel", {"job": "sleeping"}),
        ("Get", {"job": "sleeping"}),
        ("List", {}),
        ("Describe", {}),
    ]
    with serving(tmp_path) as served:
        assert served.description() == INTERFACE.description
        statuses = 0
        for method, parameters in calls:
            more = INTERFACE.marked(method) != ""
            for reply in served.conversation(method, parameters, more=more):
                if error := reply.pop("error", None):
                    INTERFACE.check_error(error.rpartition(".")[2], reply)
                else:
                    INTERFACE.check_reply(method, reply)
                    statuses += "status" in reply
        assert statuses


def test_the_check_of_replies_refuses_what_is_not_described() -> None:
    INTERFACE.check_reply("CopyFile", {"result": {"size": 3}})
    for wrong in {"result": {"size": "3"}}, {"result": {}}, {"result": {"size": 3, "width": 4}}, {"results": None}:
        with pytest.raises(ConversionError):
            INTERFACE.check_reply("CopyFile", wrong)


# --- anybody's


WORDS = st.from_regex(r"[A-Za-z](_?[A-Za-z0-9]){0,8}", fullmatch=True)
TEXTS = st.text(max_size=60) | st.sampled_from(
    [
        "# [Supports 'more' flag]",
        "[Supports 'more' flag]",
        "a\n[Requires 'more' flag]\n",
        "method X() -> ()",
        "a # b",
        ")",
    ]
)
CHOICES = st.lists(WORDS | st.text(max_size=5), min_size=1, max_size=4, unique=True).map(
    lambda words: Literal[tuple(words)]
)
HINTS = st.sampled_from([str, int, float, bool, Path, list[str], dict[str, str]]) | CHOICES
STRUCTS = st.builds(
    lambda name, fields: msgspec.defstruct(f"S{name}".replace("_", ""), list(fields.items())),
    WORDS,
    st.dictionaries(WORDS, st.sampled_from([str, Int, float, bool, list[str], dict[str, Int]]) | CHOICES, max_size=3),
)
RESULTS = (
    st.none() | HINTS | STRUCTS | STRUCTS.map(lambda struct: list[struct]) | STRUCTS.map(lambda struct: struct | None)
)


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """Any function that can be an operation."""
    parameters, hints = [], {}
    for name in draw(st.lists(WORDS.filter(lambda name: name not in ("job", "interval")), max_size=5, unique=True)):
        hint, empty = draw(HINTS), inspect.Parameter.empty
        nullable, default = draw(st.booleans()), draw(st.sampled_from([None, empty]))
        hints[name] = Annotated[hint | None if nullable else hint, draw(TEXTS)]
        if not iskeyword(name):
            kept = default if nullable else empty
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=kept))

    def function(**given: object) -> None:
        pass

    function.__name__ = draw(WORDS)
    function.__doc__ = draw(TEXTS)
    function.__annotations__ = {**hints, "return": draw(RESULTS)}
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # as inspect reads it
    return function


@given(functions(), st.booleans())
@settings(deadline=None)
def test_the_description_of_any_declaration_is_understood_as_it_was_meant(function: Any, progress: bool) -> None:
    operation = declare(function, progress=progress)
    method = Described(
        operation.name,
        operation.doc,
        operation.struct,
        operation.reply,
        "may" if progress else "no",
        {one.name: one.doc for one in operation.parameters},
    )
    understood = Understood(description("org.example.any", "Any.", [method], [OperationError]))
    name = operation.name
    expected = {one.name: type_text(one.type) for one in operation.parameters}
    for one in operation.parameters:
        if not one.required and not expected[one.name].startswith("?"):
            expected[one.name] = f"?{expected[one.name]}"
    assert understood.fields(name) == {**expected, "job": "?string", "interval": "?float"}
    answer = {"status": "?Status"} if progress else {}
    if operation.result is not None:
        text = type_text(operation.result)
        answer["result"] = text if text.startswith("?") else f"?{text}"
    assert understood.fields(name, "out_type") == answer
    assert understood.marked(name) == ("Supports" if progress else "")
    for struct_name, struct in names_of(operation.result or int).items():
        fields = understood.types[struct_name].type.fields
        hints = struct.__annotations__
        assert {field: understood.text(kind) for field, kind in fields.items()} == {
            field: type_text(hints[field]) for field in hints
        }
    reference([operation])


class Nested(msgspec.Struct):
    """What is in it."""

    name: str
    inside: list["Nested"] = []  # it is not there yet
    level: Annotated[Literal["1", "6", "9"] | None, "How well."] = None


def test_a_type_may_hold_itself_and_is_told_once_with_all_that_is_said_of_it() -> None:
    def tree() -> list[Nested]:
        raise NotImplementedError

    operation = declare(tree)
    text = description("org.example.any", "", [Described("Tree", "", None, operation.reply)], [])
    assert text.count("type Nested (") == 1
    assert "# What is in it.\ntype Nested (\n  name: string,\n  inside: ?[]Nested,\n" in text
    assert '  # How well. One of "1", "6", "9".\n  level: ?string\n' in text
    assert Understood(text).fields("Tree", "out_type")["result"] == "?[]Nested"


def test_two_types_of_one_name_cannot_be_told_apart() -> None:
    one, other = msgspec.defstruct("Same", [("a", int)]), msgspec.defstruct("Same", [("b", int)])
    with pytest.raises(TypeError, match="two types are called Same"):
        names_of(msgspec.defstruct("Both", [("one", one), ("other", other)]))


def test_what_somebody_says_of_a_method_is_no_mark() -> None:
    method = Described("Quiet", "It lies.\n[Supports 'more' flag]\n[Requires 'more' flag]", None, None)
    understood = Understood(description("org.example.any", "", [method], []))
    assert understood.marked("Quiet") == ""
    assert understood.comments("Quiet") == "It lies."


def test_an_annotation_is_found_in_each_of_its_places() -> None:
    assert doc_of(Annotated[int, 7, "Seven."]) == "Seven."
    assert doc_of(Annotated[int, "Seven."] | None) == "Seven."
    assert doc_of(Annotated[int | None, "Seven."]) == "Seven."
    assert doc_of(int | None) == doc_of(list[Annotated[str, "Not of the list."]]) == ""


# --- the reference


def test_the_reference_is_what_the_declarations_say() -> None:
    page = (REPO / "docs/operations.md").read_text()
    generated = runpy.run_path(str(REPO / "docs/generate.py"))["page"]()
    assert page == generated, "docs/operations.md is not up to date: run `python docs/generate.py`"


def test_nothing_that_is_said_breaks_a_table() -> None:
    def odd(
        which: Annotated[Literal["a|b", "c"], "One | or\nthe other."],
        pattern: Annotated[str, "What."] = "\0",
        word: str = " ",
        *,
        really: bool = False,
        amount: int | None = None,
    ) -> str:
        """Do | it."""
        return pattern

    page = reference([declare(odd, progress=False)], [NoSpace])
    assert [line for line in page.splitlines() if line.startswith("|")][2:] == [
        "| `which` | `a\\|b` or `c` | One \\| or the other. |",
        '| `pattern` | string | What. (default `"\\u0000"`) |',
        '| `word` | string | (default `" "`) |',
        "| `really` | boolean | (default `false`) |",
        "| `amount` | integer | (default none) |",
        "| error | meaning | parameters beside `message` |",
        "|---|---|---|",
        "| `NoSpace` | The file system, or the quota, is full. | `path` (string), `errno` (string), `offset` (int), `written` (int) |",
    ]
    assert "Reports no progress." in page
    assert "Returns `string`." in page


@pytest.mark.parametrize("operation", OURS.values(), ids=OURS)
def test_a_default_is_told_as_json(operation: Any) -> None:
    for one in operation.described().parameters:
        if one.default is not None:
            json.loads(one.default)
