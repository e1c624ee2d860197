"""What strangers understand of an interface description: read by one foreign client, held against messages by another."""

from __future__ import annotations

import re
from typing import Any

import varlink
from asyncvarlink import conversion

PLAIN = {bool: "bool", int: "int", float: "float", str: "string"}


class Understood:
    """An interface, as the reference implementation reads it, with types of asyncvarlink's."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.members = varlink.Interface(description).members
        self.methods = {name: one for name, one in self.members.items() if hasattr(one, "in_type")}
        self.types = {name: one for name, one in self.members.items() if type(one).__name__ == "_Alias"}
        self.errors = {name: one for name, one in self.members.items() if type(one).__name__ == "_Error"}

    def fields(self, method: str, side: str = "in_type") -> dict[str, str]:
        """The types of what a method takes, or answers (``out_type``), in Varlink's words."""
        return {name: self.text(type_) for name, type_ in getattr(self.methods[method], side).fields.items()}

    def text(self, type_: Any) -> str:
        """A type in Varlink's words, as it was read."""
        kind = type(type_).__name__
        if kind in ("_Maybe", "_Array", "_Dict"):
            return {"_Maybe": "?", "_Array": "[]", "_Dict": "[string]"}[kind] + self.text(type_.element_type)
        if kind == "_Enum":
            return f"({', '.join(type_.fields)})"
        if kind in ("_CustomType", "_Object"):
            return getattr(type_, "name", "object")
        return PLAIN[type(type_)]

    def type(self, type_: Any) -> conversion.VarlinkType:
        """The same as a type of asyncvarlink's, which is strict."""
        kind = type(type_).__name__
        match kind:
            case "_Maybe":
                return conversion.OptionalVarlinkType(self.type(type_.element_type))
            case "_Array":
                return conversion.ListVarlinkType(self.type(type_.element_type))
            case "_Dict":
                return conversion.DictVarlinkType(self.type(type_.element_type))
            case "_Enum":
                return conversion.LiteralVarlinkType(tuple(type_.fields))
            case "_Object":
                return conversion.ForeignVarlinkType()
            case "_Struct":
                return conversion.ObjectVarlinkType({name: self.type(one) for name, one in type_.fields.items()})
            case "_CustomType":
                return self.type(self.members[type_.name].type)
        also = (int,) if isinstance(type_, float) else ()
        return conversion.SimpleVarlinkType(PLAIN[type(type_)], type(type_), *also)

    def check_reply(self, method: str, parameters: dict[str, Any]) -> None:
        """ConversionError if a reply is not what the method answers."""
        self.type(self.methods[method].out_type).fromjson(parameters)

    def check_error(self, name: str, parameters: dict[str, Any]) -> None:
        """ConversionError if this is not what the error says; `name` without the interface."""
        self.type(self.errors[name].type).fromjson(parameters)

    def marked(self, method: str) -> str:
        """The mark above a method: Supports, Requires, or nothing."""
        above = self.description.partition(f"\nmethod {method}(")[0].rpartition("\n\n")[2]
        found = re.findall(r"^# \[(Supports|Requires) 'more' flag\]$", above, re.MULTILINE)
        assert len(found) <= 1
        return found[0] if found else ""

    def comments(self, method: str) -> str:
        """All that is said of a method and its parameters, in one line."""
        above, _, below = self.description.partition(f"\nmethod {method}(")
        text = f"{above.rpartition(chr(10) * 2)[2]}\n{below.partition(') -> (')[0]}"
        return " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines() if "#" in line)
