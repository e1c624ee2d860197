type members = (string * Yojson.Safe.t) list

exception Malformed of string

let malformed text = raise (Malformed text)

let is_utf_8 text =
  let length = String.length text in
  let byte i = if i < length then Char.code text.[i] else 0 in
  let tail i = byte i land 0xc0 = 0x80 in
  let rec from i =
    i >= length
    ||
    let first = byte i and second = byte (i + 1) in
    if first < 0x80 then from (i + 1)
    else if first < 0xc2 || first > 0xf4 || not (tail (i + 1)) then false
    else if first < 0xe0 then from (i + 2)
    else if not (tail (i + 2)) then false
    else if first < 0xf0 then (* neither too long nor a surrogate *)
      (first <> 0xe0 || second >= 0xa0) && (first <> 0xed || second < 0xa0) && from (i + 3)
    else (* neither too long nor beyond the last character *)
      tail (i + 3) && (first <> 0xf0 || second >= 0x90) && (first <> 0xf4 || second < 0x90) && from (i + 4)
  in
  from 0

(* Yojson reads more than JSON (comments, tuples, variants, NaN), and calls itself for each level: a stranger could exhaust the
   stack, which ends the process where a thread has it. So what no JSON has is refused first, and so is what is too deep. *)
let deepest = 500

let check text =
  let depth = ref 0 and quoted = ref false and escaped = ref false in
  String.iter
    (fun letter ->
      if !escaped then escaped := false
      else if !quoted then (
        if letter = '\\' then escaped := true else if letter = '"' then quoted := false)
      else
        match letter with
        | '"' -> quoted := true
        | '{' | '[' ->
            incr depth;
            if !depth > deepest then malformed "nested too deep"
        | '}' | ']' -> decr depth
        | 'a' .. 'z' | 'E' | '0' .. '9' | '+' | '-' | '.' | ',' | ':' | ' ' | '\t' | '\n' | '\r' -> ()
        | _ -> malformed "not JSON")
    text;
  if not (is_utf_8 text) then malformed "not UTF-8"

let parse text =
  check text;
  match Yojson.Safe.from_string text with
  | `Assoc members -> members
  | _ -> malformed "not an object"
  | exception Yojson.Json_error _ -> malformed "not JSON"

let rec sendable : Yojson.Safe.t -> unit = function
  | `String text -> if not (is_utf_8 text) then malformed (Printf.sprintf "%S is not UTF-8, and nothing else can be sent" text)
  | `Float number -> if not (Float.is_finite number) then malformed "a number has to be finite"
  | `List values -> List.iter sendable values
  | `Assoc members -> List.iter (fun (name, value) -> sendable (`String name); sendable value) members
  | _ -> ()

let print members =
  sendable (`Assoc members);
  Yojson.Safe.to_string (`Assoc members)

let of_string text = `String text
let of_integer number = `Intlit (Int64.to_string number)
let of_number number = `Float number
let of_boolean truth = `Bool truth
let of_strings texts = `List (List.map of_string texts)
let of_map entries = `Assoc (List.map (fun (name, text) -> (name, `String text)) entries)

let member read name members = Option.bind (List.assoc_opt name members) read
let string name = member (function `String text -> Some text | _ -> None) name
let bool name = member (function `Bool truth -> Some truth | _ -> None) name
let objekt name = member (function `Assoc inner -> Some inner | _ -> None) name

let int name =
  member (function `Int number -> Some (Int64.of_int number) | `Intlit digits -> Int64.of_string_opt digits | _ -> None) name

let float name =
  member
    (function
      | `Float number -> Some number
      | `Int number -> Some (Float.of_int number)
      | `Intlit digits -> Float.of_string_opt digits
      | _ -> None)
    name
