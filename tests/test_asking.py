"""What is typed for a call, made into its parameters."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollprog.asking import find, help_text, parameters_of, usage
from pollprog.catalogue import ours
from pollprog.errors import UsageError

OPERATIONS = [operation.described() for operation in ours().values()]


def typed(name: str, *words: str, rest: list[str] | None = None, directory: str | None = "/here") -> dict[str, Any]:
    return parameters_of(find(OPERATIONS, name), words, rest, directory=directory)


@pytest.mark.parametrize("name", ["CopyFile", "copyfile", "copy-file", "copy_file", "org.pollprog.operations.CopyFile"])
def test_an_operation_is_found_however_its_name_is_written(name: str) -> None:
    assert find(OPERATIONS, name).name == "CopyFile"


def test_a_name_that_is_not_there_is_told_with_those_that_are_near() -> None:
    with pytest.raises(UsageError, match=r"no operation 'CopyFil'; did you mean CopyFile"):
        find(OPERATIONS, "CopyFil")
    with pytest.raises(UsageError, match=r"there are .*CopyFile, CopySize"):
        find(OPERATIONS, "Qqq")


def test_a_relative_path_begins_where_the_user_is() -> None:
    told = typed("CopyFile", "source=a.img", "destination=../b/")
    assert told == {"source": "/here/a.img", "destination": "/here/../b/"}


def test_a_relative_path_means_nothing_on_another_machine() -> None:
    with pytest.raises(UsageError, match=r"source: 'a\.img' is relative, .* begin with /"):
        typed("CopyFile", "source=a.img", "destination=/b", directory=None)


def test_the_file_that_a_total_names_may_be_relative_too() -> None:
    assert typed("Run", "total=@disk.img", rest=["true"])["total"] == "@/here/disk.img"
    assert typed("Run", "total=@/disk.img", rest=["true"])["total"] == "@/disk.img"
    assert typed("Run", "total=4G", rest=["true"])["total"] == "4G"
    assert typed("Run", "total=@disk.img", rest=["true"], directory=None)["total"] == "@disk.img"  # refused there


def test_the_usage_shows_where_the_words_of_a_list_stand() -> None:
    assert usage(find(OPERATIONS, "Run")).endswith(" -- argv …")


def test_a_command_that_is_typed_without_dashes_is_told_where_it_stands() -> None:
    with pytest.raises(UsageError, match=r"'ls' is no parameter: write name=value, and argv behind --; usage: Run "):
        typed("Run", "ls")
    with pytest.raises(UsageError, match=r"'a' is no parameter: write name=value; usage: CopyFile "):
        typed("CopyFile", "a", "b")


def test_the_usage_names_first_what_has_to_be_there() -> None:
    for operation in OPERATIONS:
        words = re.split(r" \[?-- ", usage(operation))[0].split()[2:]
        assert words == sorted(words, key=lambda word: word.startswith("[")), words


def test_the_home_directory_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed("ZeroDevice", "device=~/disk.img") == {"device": "/home/me/disk.img"}


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-1", -1), ("4G", 4 << 30), ("4GB", 4 * 10**9), ("12", 12)])
def test_a_number_may_be_a_size(text: str, value: int) -> None:
    assert typed("Fill", "path=/f", f"size={text}")["size"] == value


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("no", False), ("true", True), ("0", False), ("ON", True)])
def test_a_truth_is_yes_or_no(text: str, value: bool) -> None:
    assert typed("CopyFile", "source=/a", "destination=/b", f"overwrite={text}")["overwrite"] is value


def test_a_list_is_said_again_and_again_or_behind_two_dashes() -> None:
    assert typed("Run", "argv=ls", "argv=-l") == typed("Run", rest=["ls", "-l"]) == {"argv": ["ls", "-l"]}


def test_what_stands_behind_two_dashes_is_not_looked_at() -> None:
    assert typed("Run", rest=["sh", "-c", "a=b", "--"])["argv"] == ["sh", "-c", "a=b", "--"]


def test_an_entry_of_a_map_has_its_name_in_the_key() -> None:
    words = ["environment.LANG=C", "environment.A=b=c"]
    assert typed("Run", *words, rest=["true"])["environment"] == {"LANG": "C", "A": "b=c"}


def test_json_is_taken_as_it_is() -> None:
    assert typed("Run", 'argv:=["ls", "-l"]') == {"argv": ["ls", "-l"]}


def test_the_parameters_of_every_operation_are_there_too() -> None:
    told = typed("ZeroDevice", "device=/d", "job=mine", "interval=.5")
    assert told == {"device": "/d", "job": "mine", "interval": 0.5}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["source=/a"], "CopyFile needs destination; usage: CopyFile source="),
        (["source"], "'source' is no parameter: write name=value"),
        (["sauce=/a"], "CopyFile has no parameter 'sauce'"),
        (["source=/a", "source=/b"], "source is there twice"),
        (["source="], "source is empty"),
        (["source.x=/a"], "source has no parts"),
        (["overwrite=perhaps"], "overwrite: 'perhaps' is neither yes nor no"),
        (["source:={"], "source: '{' is not JSON"),
        (["interval=soon"], "interval: 'soon' is no number"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as told:
        typed("CopyFile", *words)
    assert str(told.value).startswith(complaint)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "words", "complaint"),
    [
        ("Checksum", ["path=/a", "algorithm=sha1"], "algorithm: 'sha1' is none of sha256, sha512, blake2b, md5"),
        ("Fill", ["path=/a", "size=much"], "size: 'much'"),
        ("Observe", ["pid=1x"], "pid: '1x' is not a number"),
        ("Run", ["environment=x"], r"environment: write environment.NAME=value"),
    ],
)
def test_what_does_not_fit_its_kind_is_told(name: str, words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as told:
        typed(name, *words)
    assert str(told.value).startswith(complaint)


def test_words_behind_two_dashes_need_a_list_to_go_to() -> None:
    with pytest.raises(UsageError, match="CopyFile takes no words behind --"):
        typed("CopyFile", "source=/a", "destination=/b", rest=["x"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_help_names_every_parameter(operation: Any) -> None:
    text = help_text(operation)
    assert operation.doc in text
    for parameter in operation.parameters:
        assert f"  {parameter.name}" in text


@given(words=st.lists(st.text(max_size=20), max_size=4), rest=st.none() | st.lists(st.text(max_size=5), max_size=2))
def test_whatever_is_typed_is_taken_or_refused_in_a_line(words: list[str], rest: list[str] | None) -> None:
    for operation in OPERATIONS:
        try:
            told = parameters_of(operation, words, rest, directory="/here")
        except UsageError:
            continue
        assert {parameter.name for parameter in operation.parameters if parameter.required} <= told.keys()
