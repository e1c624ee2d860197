"""Makes the generated parts of the two clients from the declarations: ``python clients/generate.py``.

What a client knows of operations and errors is what `pollprog.catalogue.ours` and `pollprog.errors` declare. Operations that a daemon's
configuration or other packages add are called by name. A test compares what is committed with what `made` says.
"""  # noqa: INP001 # this folder holds clients in other languages, and is no package

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pollprog import errors
from pollprog.catalogue import ours
from pollprog.daemon import interface_of
from pollprog.describing import fields_of
from pollprog.errors import PollprogError

if TYPE_CHECKING:
    from pollprog.operations import Operation, Parameter

HERE = Path(__file__).parent
NOTE = "Made by clients/generate.py from the declarations of the operations. Change those."
COMMON = (
    ("job", "string", "Name that you pick for the job, so that others can follow or cancel it."),
    ("interval", "number", "Seconds between two statuses; 0.1 at least."),
)
"""Parameters that every operation has."""
OCAML_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "and as assert begin class constraint do done downto else end exception external false for fun function functor if in include "
        "inherit initializer lazy let match method module mutable new nonrec object of open or private rec sig struct then to true try "
        "type val virtual when while with",
    )
)
OCAML_TYPES = {
    "string": "string",
    "path": "string",
    "integer": "int64",
    "number": "float",
    "boolean": "bool",
    "strings": "string list",
    "map": "(string * string) list",
}
RESULT_TYPES = {"string": "string", "int": "int64", "float": "float", "bool": "bool"}


def made() -> dict[Path, str]:
    """Each generated file, with what has to be in it."""
    return {
        HERE / "perl/lib/Pollprog/Operations.pm": perl(),
        HERE / "ocaml/pollprog_errors.ml": ocaml_errors(),
        HERE / "ocaml/pollprog_operations.ml": ocaml(),
        HERE / "ocaml/pollprog_operations.mli": ocaml_interface(),
    }


# --- what is declared


def snake(name: str) -> str:
    """CopyFile as copy_file, NotAFile as not_a_file."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def sorted_parameters(one: Operation) -> list[Parameter]:
    """Those that have to be said, then the others."""
    return sorted(one.parameters, key=lambda parameter: not parameter.required)


def control() -> list[str]:
    """The methods of the daemon that are no operations."""
    return sorted(method.name for method in interface_of({}).methods)


def raised() -> list[type[PollprogError]]:
    """Every error but the base of all, each after the one it inherits from."""
    classes = [getattr(errors, name) for name in errors.__all__]
    return sorted((c for c in classes if c is not PollprogError), key=lambda c: (len(c.__mro__), c.__name__))


def default_of(parameter: Parameter) -> str:
    """What an operation does if nobody says, in words for the documentation."""
    if parameter.required or parameter.default is None:
        return ""
    return f" Default: {msgspec.json.encode(parameter.default).decode()}."


# --- Perl


def perl() -> str:
    """The tables of operations and errors, and a page about them."""
    lines = [
        f"package Pollprog::Operations;    # {NOTE}",
        "",
        "use v5.20;",
        "use warnings;",
        "",
        "our %OPERATIONS = (",
    ]
    for one in ours().values():
        kinds = [(parameter.name, parameter.kind) for parameter in sorted_parameters(one)]
        kinds += [(name, kind) for name, kind, _ in COMMON]
        lines.append(f"    {snake(one.name)} => {{")
        lines.append(f"        method => '{one.name}',")
        lines.append("        kinds  => {")
        lines += [f"            {name} => '{kind}'," for name, kind in kinds]
        lines += ["        },", "    },"]
    lines += [");", "", "# Methods of the daemon that are no operations.", "our %CONTROL = map { $_ => 1 } qw("]
    lines += [f"    {name}" for name in control()]
    lines += [");", "", "# Each error, with the one that it inherits from.", "our %ERRORS = ("]
    lines += [f"    {class_.__name__} => '{class_.__base__.__name__}'," for class_ in raised() if class_.__base__]
    lines += [");", "", "1;", "", "__END__", "", "=encoding UTF-8", "", "=head1 NAME", ""]
    lines += ["Pollprog::Operations - what can be asked of a pollprog daemon", "", "=head1 METHODS OF THE HANDLE", ""]
    lines += ["Each takes these too:", ""]
    lines += pod_list([(name, kind, doc) for name, kind, doc in COMMON])
    for one in ours().values():
        lines += [f"=head2 $handle->{snake(one.name)}(...)", "", pod(one.doc), ""]
        lines += pod_list([(p.name, perl_kind(p), p.doc + default_of(p)) for p in sorted_parameters(one)])
        if one.result is not None:
            told = ", ".join(f"C<{name}>" + (f" ({doc.rstrip('.')})" if doc else "") for name, _, doc in result_of(one))
            lines += [f"Returns {told}.", ""]
    return "\n".join([*lines, "=cut", ""])


def perl_kind(parameter: Parameter) -> str:
    """What a parameter takes, as the page says it."""
    kind = {"strings": "reference to an array of strings", "map": "reference to a hash of strings"}
    said = " or ".join(parameter.choices) if parameter.choices else kind.get(parameter.kind, parameter.kind)
    return said if parameter.required else f"{said}, optional"


def pod_list(entries: list[tuple[str, str, str]]) -> list[str]:
    """A list of names, each with what it takes and what it means."""
    lines = ["=over 4", ""]
    for name, kind, doc in entries:
        lines += [f"=item C<{name}> ({kind})", "", pod(doc), ""]
    return [*lines, "=back", ""]


def pod(text: str) -> str:
    """Text in which POD sees no markup."""
    return text.replace("<", "E<lt>")


# --- OCaml


def result_of(one: Operation) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each member of a result."""
    if one.result is None:
        return []
    return fields_of(one.result)


def word(name: str) -> str:
    """A name that OCaml takes for one."""
    return f"{name}_" if name in OCAML_KEYWORDS else name


def comment(text: str) -> str:
    """Text in a comment for ocamldoc."""
    return re.sub(r"([\[\]{}@])", r"\\\1", " ".join(text.split()).replace('"', "'").replace("*)", "* )"))


def ocaml_type(parameter: Parameter) -> str:
    """The type of a parameter."""
    if parameter.choices:
        return f"[ {' | '.join(f'`{word.capitalize()}' for word in parameter.choices)} ]"
    return OCAML_TYPES[parameter.kind]


def ocaml_value(parameter: Parameter) -> str:
    """The function from a parameter to what is sent."""
    if parameter.choices:
        cases = " | ".join(f'`{word.capitalize()} -> `String "{word}"' for word in parameter.choices)
        return f"(function {cases})"
    return f"Pollprog_json.of_{parameter.kind if parameter.kind != 'path' else 'string'}"


def result_type(kind: str) -> str:
    """The type of a member of a result."""
    return RESULT_TYPES[kind.removeprefix("?")] + (" option" if kind.startswith("?") else "")


def ocaml_results(*, bodies: bool) -> list[str]:
    """The types of the results, and, for the implementation, how each is read."""
    lines = []
    for struct in dict.fromkeys(one.result for one in ours().values() if one.result is not None):
        name = word(snake(struct.__name__))
        lines += ["", f"type {name} = {{"]
        for field, kind, doc in fields_of(struct):
            lines.append(f"  {word(field)} : {result_type(kind)};" + (f"  (** {comment(doc)} *)" if doc else ""))
        lines.append("}")
        if not bodies:
            lines.append(f"(** {comment(struct.__doc__ or '')} *)")
            continue
        lines += ["", f"let {name}_of members = {{"]
        for field, kind, _ in fields_of(struct):
            read = f'Pollprog_json.{kind.lstrip("?")} "{field}" members'
            lines.append(f"  {word(field)} = {read if kind.startswith('?') else f'Pollprog.required ({read})'};")
        lines.append("}")
    return lines


def ocaml() -> str:
    """One function for each operation."""
    lines = [f"(* {NOTE} *)", *ocaml_results(bodies=True)]
    lines += ["", "let given name value = function Some it -> [ (name, value it) ] | None -> []"]
    for one in ours().values():
        parameters = sorted_parameters(one)
        optional = " ".join(f"?{word(p.name)}" for p in parameters if not p.required)
        required = " ".join(f"~{word(p.name)}" for p in parameters if p.required)
        said = " ".join(part for part in ("?job ?interval", optional, required, "handle") if part)
        lines += ["", f"let {word(snake(one.name))} {said} ="]
        lines.append(f'  Pollprog.call handle "{one.name}"')
        lines.append("    (List.concat [")
        for p in parameters:
            said = (
                f'[ ("{p.name}", {ocaml_value(p)} {word(p.name)}) ]'
                if p.required
                else f'given "{p.name}" {ocaml_value(p)} {word(p.name)}'
            )
            lines.append(f"      {said};")
        lines += ['      given "job" Pollprog_json.of_string job;']
        lines += ['      given "interval" Pollprog_json.of_number interval ])']
        lines.append(
            f"  |> Pollprog.result |> {word(snake(one.result.__name__))}_of"
            if one.result is not None
            else "  |> ignore"
        )
    return "\n".join(lines) + "\n"


def ocaml_interface() -> str:
    """The same with types and words."""
    lines = [
        f"(* {NOTE} *)",
        "",
        "(** What can be asked of a daemon: each waits for the end of its operation and returns the result. It raises",
        "    {!Pollprog.Error}. [job] is the name of the job, by default one of its own; [interval] the seconds between two statuses. *)",
        *ocaml_results(bodies=False),
    ]
    for one in ours().values():
        lines += ["", f"val {word(snake(one.name))} :", "  ?job:string -> ?interval:float ->"]
        parameters = sorted_parameters(one)
        for mark, chosen in (
            ("?", [p for p in parameters if not p.required]),
            ("", [p for p in parameters if p.required]),
        ):
            lines += [f"  {mark}{word(p.name)}:{ocaml_type(p)} ->" for p in chosen]
        lines.append(f"  Pollprog.t -> {word(snake(one.result.__name__)) if one.result is not None else 'unit'}")
        lines.append(f"(** {comment(one.doc)}")
        lines += [f"    - [{word(p.name)}]: {comment(p.doc + default_of(p))}" for p in parameters]
        lines[-1] += " *)"
    return "\n".join(lines) + "\n"


def ocaml_errors() -> str:
    """Every error as a constructor with its parameters, and how it is read from a reply."""
    lines = [
        f"(* {NOTE} *)",
        "",
        "type reason =",
    ]
    readers = []
    for class_ in raised():
        hints = typing.get_type_hints(class_)
        name = class_.__name__
        constructor = snake(name).capitalize()
        fields = "; ".join(f"{word(field)} : {ocaml_hint(hint)}" for field, hint in hints.items())
        lines.append(f"  | {constructor}{f' of {{ {fields} }}' if fields else ''}")
        lines.append(f"      (** {comment(class_.__doc__ or '')} *)")
        values = "; ".join(f"{word(field)} = {ocaml_read(field, hint)}" for field, hint in hints.items())
        readers.append(f'  | "{name}" -> {constructor}{f" {{ {values} }}" if values else ""}')
    lines += ["  | Foreign of { name : string; parameters : Pollprog_json.members }"]
    lines += ["      (** An error of another interface, with its whole name. *)", ""]
    lines += [
        "let of_name name members =",
        '  let text field = Option.value ~default:"" (Pollprog_json.string field members)',
    ]
    lines += ["  and number field = Option.value ~default:0L (Pollprog_json.int field members) in", "  match name with"]
    lines += [*readers, "  | _ -> Foreign { name; parameters = members }", ""]
    lines += ["(* Methods of the daemon that are no operations. *)"]
    names = "; ".join(f'"{name}"' for name in control())
    lines.append(f"let control = [ {names} ]")
    return "\n".join([*lines, ""])


def ocaml_hint(hint: Any) -> str:
    """The type of a parameter of an error."""
    return {str: "string", int: "int64"}.get(hint) or "int64 option"


def ocaml_read(field: str, hint: Any) -> str:
    """How a parameter of an error is read."""
    if hint is str:
        return f'text "{field}"'
    return f'number "{field}"' if hint is int else f'Pollprog_json.int "{field}" members'


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
