open Pollprog_errors

type progress = { total : int64; current : int64 }

exception Error of reason * string

let interface = "org.pollprog.operations"
let standard_interface = "org.varlink.service"
let patience = 5.0 (* seconds for what is answered at once: connecting, Cancel *)
let tick = 0.5 (* seconds; no wait in the kernel is longer, so no other thread's wish waits longer *)
let longest_path = 107 (* bytes of the path of a socket (unix(7)) *)
let limit = 64 lsl 20 (* bytes that a message may have *)

(* One line, whoever wrote it: control characters are replaced, those of two bytes too. *)
let printable text =
  let printed i = function
    | '\000' .. '\031' | '\127' -> '?'
    | '\128' .. '\159' when i > 0 && text.[i - 1] = '\194' -> '\160'
    | letter -> letter
  in
  String.mapi printed (if String.length text > 2000 then String.sub text 0 2000 else text)

let fail reason text = raise (Error (reason, printable text))
let broken text = fail Protocol_error text

let () =
  Printexc.register_printer (function Error (_, text) -> Some ("pollprog: " ^ text) | _ -> None)

(* --- one stream: messages out, messages in *)

module Connection = struct
  type t = { socket : Unix.file_descr; address : string; unread : Buffer.t; chunk : Bytes.t }

  let close it = try Unix.close it.socket with Unix.Unix_error _ -> ()

  let check it until =
    if Unix.gettimeofday () > until then fail (Unreachable { address = it.address }) ("no answer from " ^ it.address)

  let lost it reason =
    fail (Connection_lost { address = it.address })
      (Printf.sprintf "the connection to %s ended before the reply came%s" it.address reason)

  let open_ path =
    let socket = Unix.socket ~cloexec:true Unix.PF_UNIX Unix.SOCK_STREAM 0 in
    let it = { socket; address = "unix:" ^ path; unread = Buffer.create 4096; chunk = Bytes.create 65536 } in
    let until = Unix.gettimeofday () +. patience in
    let rec connect () =
      try Unix.connect socket (Unix.ADDR_UNIX path) with
      | Unix.Unix_error ((EINTR | EAGAIN | EWOULDBLOCK), _, _) when Unix.gettimeofday () < until -> connect ()
      | Unix.Unix_error (error, _, _) ->
          fail (Unreachable { address = it.address })
            (Printf.sprintf "nobody answers at %s: %s" it.address (Unix.error_message error))
    in
    try
      Unix.setsockopt_float socket Unix.SO_RCVTIMEO tick;
      Unix.setsockopt_float socket Unix.SO_SNDTIMEO tick;
      connect ();
      it
    with error -> close it; raise error

  (* OCaml has no MSG_NOSIGNAL, and SIGPIPE belongs to the program: one that a write of ours caused is taken back. *)
  let without_sigpipe write =
    let before = Thread.sigmask Unix.SIG_BLOCK [ Sys.sigpipe ] in
    let restore () =
      if not (List.mem Sys.sigpipe before) then (
        if List.mem Sys.sigpipe (Unix.sigpending ()) then ignore (Thread.wait_signal [ Sys.sigpipe ]);
        ignore (Thread.sigmask Unix.SIG_UNBLOCK [ Sys.sigpipe ]))
    in
    Fun.protect ~finally:restore write

  let rec send ?(from = 0) ?(until = infinity) it text =
    if from < String.length text then (
      let sent =
        try without_sigpipe (fun () -> Unix.single_write_substring it.socket text from (String.length text - from)) with
        | Unix.Unix_error ((EINTR | EAGAIN | EWOULDBLOCK), _, _) -> check it until; 0
        | Unix.Unix_error (error, _, _) -> lost it (": " ^ Unix.error_message error)
      in
      send ~from:(from + sent) ~until it text)

  (* Every whole message that has come; none after a tick or a signal. *)
  let receive it =
    match Unix.read it.socket it.chunk 0 (Bytes.length it.chunk) with
    | exception Unix.Unix_error ((EINTR | EAGAIN | EWOULDBLOCK), _, _) -> []
    | exception Unix.Unix_error (error, _, _) -> lost it (": " ^ Unix.error_message error)
    | 0 -> lost it ""
    | count ->
        let rec cut from messages =
          match Bytes.index_from_opt it.chunk from '\000' with
          | Some at when at < count ->
              Buffer.add_subbytes it.unread it.chunk from (at - from);
              let message = Buffer.contents it.unread in
              Buffer.clear it.unread;
              cut (at + 1) (message :: messages)
          | _ ->
              Buffer.add_subbytes it.unread it.chunk from (count - from);
              if Buffer.length it.unread > limit then broken "a message without an end";
              List.rev messages
        in
        cut 0 []

  (* Whether another call can be made on it: it is still there, and nothing came that nobody asked for. *)
  let is_usable it =
    Buffer.length it.unread = 0
    &&
    try
      Unix.set_nonblock it.socket;
      ignore (Unix.recv it.socket it.chunk 0 1 [ MSG_PEEK ]);
      false
    with
    | Unix.Unix_error ((EAGAIN | EWOULDBLOCK), _, _) -> Unix.clear_nonblock it.socket; true
    | Unix.Unix_error _ -> false
end

(* --- what is said *)

type reply = Continues of Pollprog_json.members | Done of Pollprog_json.members | Failed of exn

let error_of name members =
  let prefix, short =
    match String.rindex_opt name '.' with
    | Some at -> (String.sub name 0 at, String.sub name (at + 1) (String.length name - at - 1))
    | None -> ("", name)
  in
  let ours = prefix = interface || prefix = standard_interface in
  let shown = List.map (fun (name, value) -> Printf.sprintf " %s=%s" name (Yojson.Safe.to_string value)) members in
  let text =
    match Pollprog_json.string "message" members with
    | Some text -> text
    | None -> "the service answered with " ^ String.concat "" ((if ours then short else name) :: shown)
  in
  Error ((if ours then of_name short members else Foreign { name; parameters = members }), printable text)

let reply_of message =
  let members = try Pollprog_json.parse message with Pollprog_json.Malformed what -> broken ("what came is no reply: " ^ what) in
  let parameters = Option.value ~default:[] (Pollprog_json.objekt "parameters" members) in
  let continues = Pollprog_json.bool "continues" members = Some true in
  match List.assoc_opt "error" members with
  | Some (`String name) when not continues -> Failed (error_of name parameters)
  | Some `Null | None -> if continues then Continues parameters else Done parameters
  | Some _ -> broken "what came is no Varlink reply"

let message_of name parameters =
  let call = [ ("method", `String (interface ^ "." ^ name)); ("parameters", `Assoc parameters); ("more", `Bool true) ] in
  try Pollprog_json.print call ^ "\000" with Pollprog_json.Malformed text -> fail Usage_error text

let required = function Some value -> value | None -> broken "the answer is not what was expected"
let result reply = required (Pollprog_json.objekt "result" reply)

let nothing = { total = -1L; current = -1L }

let progress_of status =
  let number name =
    match List.assoc_opt name status with
    | None | Some `Null -> None
    | Some _ -> Some (required (Pollprog_json.int name status))
  in
  match (number "total", Option.map (Int64.max 0L) (number "current")) with
  | _, None -> nothing (* nobody has looked yet *)
  | Some total, Some current when total > 0L -> { total; current = Int64.min current total }
  | _, Some current -> { total = -1L; current }

(* --- where the daemon is *)

let default_path () =
  let uid = Unix.geteuid () in
  let is_directory path = try (Unix.stat path).st_kind = S_DIR with Unix.Unix_error _ -> false in
  let not_another's path = try (Unix.stat path).st_uid = uid with Unix.Unix_error _ -> true in
  match Sys.getenv_opt "XDG_RUNTIME_DIR" with
  | Some runtime when String.starts_with ~prefix:"/" runtime && not_another's runtime -> runtime ^ "/pollprog/sock"
  | _ when is_directory (Printf.sprintf "/run/user/%d" uid) -> Printf.sprintf "/run/user/%d/pollprog/sock" uid
  | _ -> (
      let directory = Printf.sprintf "/tmp/pollprog-%d" uid in
      match Unix.lstat directory with
      | exception Unix.Unix_error _ -> directory ^ "/sock"
      | { st_kind = S_DIR; st_uid; st_perm; _ } when st_uid = uid && st_perm land 0o022 = 0 -> directory ^ "/sock"
      | _ ->
          fail (Unreachable { address = "unix:" ^ directory ^ "/sock" })
            (directory ^ " belongs to somebody else: name the daemon's address"))

let path_of address =
  let given = function Some text when text <> "" -> Some text | _ -> None in
  let text =
    match (given address, given (Sys.getenv_opt "POLLPROG_ADDRESS")) with
    | Some text, _ | None, Some text -> text
    | None, None -> default_path ()
  in
  let path = if String.starts_with ~prefix:"unix:" text then String.sub text 5 (String.length text - 5) else text in
  if (not (String.starts_with ~prefix:"/" path)) || String.contains path '\000' then
    fail Usage_error (Printf.sprintf "%S is no address that can be reached from here: it has to be like unix:/run/pollprog/sock" text);
  if String.length path > longest_path then
    fail Usage_error (Printf.sprintf "%S is too long: the path of a socket has %d bytes at most" text longest_path);
  path

(* --- the handle *)

(* What a call that runs is asked; [stop] stays set until the daemon has heard of it. *)
type running = { job : string option; mutable stop : bool }

(* Who looks in from another thread or a signal handler reads one field, and waits for nothing. *)
type t = {
  path : string;
  mutable idle : Connection.t option;
  running : running option Atomic.t;
  mutable progress : progress;
  mutable status : Pollprog_json.members option;
  mutable callback : (progress -> unit) option;
}

let connect ?address () =
  let path = path_of address in
  let idle = Some (Connection.open_ path) in
  { path; idle; running = Atomic.make None; progress = nothing; status = None; callback = None }

let close handle =
  Option.iter Connection.close handle.idle;
  handle.idle <- None

let with_handle ?address body =
  let handle = connect ?address () in
  Fun.protect ~finally:(fun () -> close handle) (fun () -> body handle)

let set_progress_callback handle callback = handle.callback <- callback
let get_progress handle = handle.progress
let get_status handle = handle.status
let busy handle = Atomic.get handle.running <> None

(* The call itself keeps its connection busy, so this goes over another one. The daemon may not have heard of the job yet: then
   [stop] stays set, and the call asks again. *)
let ask_to_stop handle running job =
  let connection = Connection.open_ handle.path in
  Fun.protect ~finally:(fun () -> Connection.close connection) @@ fun () ->
  let until = Unix.gettimeofday () +. patience in
  Connection.send ~until connection (message_of "Cancel" [ ("job", `String job) ]);
  let rec answer () =
    match Connection.receive connection with
    | [] -> Connection.check connection until; answer ()
    | message :: _ -> reply_of message
  in
  match answer () with
  | Failed (Error (No_such_job _, _)) -> ()
  | Done _ | Failed (Error (Job_over _, _)) -> running.stop <- false
  | Failed error -> running.stop <- false; raise error
  | Continues _ -> broken "a message that continues, where one was asked for"

let cancel handle =
  match Atomic.get handle.running with
  | Some ({ job = Some job; _ } as running) ->
      running.stop <- true;
      ask_to_stop handle running job;
      true
  | _ -> false

let fresh_job () =
  let random = open_in_bin "/dev/urandom" in
  let bytes = Fun.protect ~finally:(fun () -> close_in random) (fun () -> really_input_string random 8) in
  Printf.sprintf "ocaml-%d-%Lx" (Unix.getpid ()) (String.get_int64_le bytes 0)

let tell handle status =
  let progress = progress_of status in
  handle.status <- Some status;
  if progress.current >= 0L then (
    handle.progress <- progress;
    Option.iter (fun callback -> callback progress) handle.callback)

(* The last reply, when it has come; of the statuses that came together the newest is told. What nobody asked for spoils the
   connection, and not the reply. *)
let rec converse handle running connection =
  (match running with { stop = true; job = Some job } -> ask_to_stop handle running job | _ -> ());
  let rec newest status = function
    | [] -> (status, None)
    | message :: behind -> (
        match reply_of message with
        | Continues parameters -> newest (Some (required (Pollprog_json.objekt "status" parameters))) behind
        | answer -> (status, Some (answer, behind)))
  in
  let status, last = newest None (Connection.receive connection) in
  Option.iter (tell handle) status;
  match last with
  | None -> converse handle running connection
  | Some (answer, behind) ->
      if behind = [] && Connection.is_usable connection then handle.idle <- Some connection else Connection.close connection;
      answer

(* Methods of the daemon that are no operations take no name for a job of their own. *)
let job_of name parameters =
  match Pollprog_json.string "job" parameters with
  | Some job -> (Some job, parameters)
  | None when List.mem name Pollprog_errors.control -> (None, parameters)
  | None ->
      let job = fresh_job () in
      (Some job, ("job", `String job) :: parameters)

let call handle name parameters =
  let job, parameters = job_of name parameters in
  let message = message_of name parameters in
  let running = { job; stop = false } in
  if not (Atomic.compare_and_set handle.running None (Some running)) then
    fail Busy "a call runs on this handle already: make it on another one";
  let ended () =
    handle.progress <- nothing;
    Atomic.set handle.running None
  in
  Fun.protect ~finally:ended @@ fun () ->
  handle.status <- None;
  let connection =
    match handle.idle with
    | Some idle when Connection.is_usable idle -> handle.idle <- None; idle
    | _ -> close handle; Connection.open_ handle.path
  in
  match Connection.send connection message; converse handle running connection with
  | exception error -> Connection.close connection; raise error (* the daemon cancels what ran on it *)
  | Done reply -> reply
  | Failed error -> raise error
  | Continues _ -> assert false
