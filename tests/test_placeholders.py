"""Texts with placeholders: how they are read, and that nothing which fills one becomes an option."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pollprog.errors import InvalidParameter
from pollprog.placeholders import Placeholder, argument, chooses_option, filled, placeholders


def test_a_text_is_read_with_what_stands_before_each_placeholder() -> None:
    assert placeholders("--a={{x}}={name:string}{other}") == [
        Placeholder("name", "string", "--a={{x}}="),
        Placeholder("other", None, "--a={{x}}={name:string}"),
    ]
    assert placeholders("{{no:placeholder}}") == []


@pytest.mark.parametrize(
    "text", ["{", "}", "a{b", "}{", "{{}", "{a:b}}", "{}", "{:path}", "{a b}", "{_a}", "{a_}", "{1}", "{é}"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"brace|no placeholder"):
        placeholders(text)


def test_a_nul_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(ValueError, match="NUL"):
        placeholders("a\0b")
    with pytest.raises(InvalidParameter, match="x: no argument has a NUL"):
        filled("{x}", {"x": "a\0b"})


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("{x}", "va{x}lue"),
        ("a{{{x:string}}}", "a{va{x}lue}"),
        ("if={x}", "if=va{x}lue"),
        ("{empty}", ""),
        ("{empty}{x}", "va{x}lue"),
        ("--level={dash}", "--level=-v"),
        ("a{dash}", "a-v"),
        ("-o{x}", "-ova{x}lue"),
        ("$(rm) {lines}", "$(rm) a\nb; 'c"),
    ],
)
def test_a_placeholder_is_filled_once_and_nothing_is_expanded(text: str, whole: str) -> None:
    values = {"x": "va{x}lue", "empty": "", "dash": "-v", "lines": "a\nb; 'c"}
    assert argument(text, values) == whole


@pytest.mark.parametrize(
    "text", ["{dash}", "{empty}{dash}", "{empty}{empty}{dash}x", "-{dash}", "--{dash}", "-{empty}{dash}"]
)
def test_what_would_become_an_option_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InvalidParameter, match="dash: '-v' begins with -, and would be taken for an option") as caught:
        argument(text, {"empty": "", "dash": "-v"})
    assert caught.value.parameter == "dash"


def test_an_option_is_chosen_by_what_stands_in_its_name() -> None:
    choosing = [chooses_option(placeholders(text)[0]) for text in ("-{x}", "--{x}", "-o{x}", "--a{x}=")]
    assert all(choosing)
    assert not any(chooses_option(placeholders(text)[0]) for text in ("{x}", "--a={x}", "a-{x}", "-Da=b-{x}"))


TEXT = st.text() | st.sampled_from(["-", "--", "-x", "--help", "", "\0", "{x}", "{{", "}", "=", "-\n"])
LITERAL = st.text(st.characters(exclude_characters="\0"), max_size=4) | st.sampled_from(["-", "--", "-o", "--a=", "="])
PIECES = st.lists(st.tuples(LITERAL, st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=4)


@given(PIECES, st.fixed_dictionaries(dict.fromkeys("abc", TEXT)))
@example([("", "a"), ("", "b")], {"a": "", "b": "-x", "c": ""})
@example([("-", "a")], {"a": "-", "b": "", "c": ""})
@settings(deadline=None, max_examples=500)
def test_whatever_is_filled_in_an_argument_begins_with_a_dash_only_where_it_is_written(
    pieces: list[tuple[str, str | None]], values: dict[str, str]
) -> None:
    text = "".join(
        literal.replace("{", "{{").replace("}", "}}") + (f"{{{name}}}" if name else "") for literal, name in pieces
    )
    try:
        whole = argument(text, values)
    except InvalidParameter:
        return
    assert whole == "".join(literal + (values[name] if name else "") for literal, name in pieces)
    assert "\0" not in whole
    written = ""
    for literal, name in pieces:
        written += literal
        if name:
            break
    assert whole.startswith("-") == written.startswith("-")
    if not written.strip("-"):
        assert len(whole) - len(whole.lstrip("-")) == len(written) or name is None


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), min_size=1, max_size=5))
@settings(deadline=None, max_examples=20)
def test_a_program_gets_as_many_arguments_as_are_written_down(values: list[str]) -> None:
    assume(not any(value.startswith("-") for value in values))
    names = {f"x{at}": value for at, value in enumerate(values)}
    arguments = [argument(f"{{{name}}}", names) for name in names]
    script = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    ran = subprocess.run([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, check=True)
    assert ran.stdout.decode().split("\0") == values
