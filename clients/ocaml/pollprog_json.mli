(** JSON as it goes over the wire: objects, read strictly, whoever sent them. *)

type members = (string * Yojson.Safe.t) list
(** An object. *)

exception Malformed of string
(** Something cannot be sent, or what came is not JSON. *)

val parse : string -> members
val print : members -> string

(** {1 What is sent} *)

val of_string : string -> Yojson.Safe.t
val of_integer : int64 -> Yojson.Safe.t
val of_number : float -> Yojson.Safe.t
val of_boolean : bool -> Yojson.Safe.t
val of_strings : string list -> Yojson.Safe.t
val of_map : (string * string) list -> Yojson.Safe.t

(** {1 What comes: a member, if it is there and of that type} *)

val string : string -> members -> string option
val int : string -> members -> int64 option
val float : string -> members -> float option
val bool : string -> members -> bool option
val objekt : string -> members -> members option
