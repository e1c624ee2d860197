(** Run long operations in a pollprog daemon, and learn how far they are.

    {[
      Pollprog.with_handle (fun handle ->
          Pollprog.set_progress_callback handle
            (Some (fun { total; current } -> Printf.eprintf "%Ld of %Ld bytes\n%!" current total));
          let copied = Pollprog_operations.copy_file handle ~source:"/srv/a.img" ~destination:"/srv/b.img" in
          Printf.printf "%Ld bytes\n" copied.size)
    ]}

    The operations are in {!Pollprog_operations}. A call is made in the thread that asks for it, and waits for the end of its operation;
    {!get_progress}, {!busy} and {!cancel} may be used at the same time from any other thread, and from signal handlers. *)

type t
(** A handle: a connection on which one call runs at a time. *)

type progress = { total : int64; current : int64 }
(** How far a call is. A total of -1 means that nobody knows it. *)

exception Error of Pollprog_errors.reason * string
(** What went wrong, and the same in a line for people. *)

val connect : ?address:string -> unit -> t
(** The address is [unix:PATH] or a path; without one [$POLLPROG_ADDRESS], or the socket of this user's own daemon. *)

val close : t -> unit
(** Closes the connection. A later call opens another, as it does after one that was lost. *)

val with_handle : ?address:string -> (t -> 'a) -> 'a
(** Connects, and closes in the end. *)

val set_progress_callback : t -> (progress -> unit) option -> unit
(** Called during each call, in its thread: not before the daemon's first delay (a second), then once an interval. One that is slow gets
    the newest, not every one. If it raises, the call ends with that exception, and the daemon cancels the work; so does an exception
    of a signal handler. Another call from inside it has to be made on another handle. *)

val get_progress : t -> progress
(** The newest, at once: -1 of -1 where no call runs, or none was told yet. *)

val get_status : t -> Pollprog_json.members option
(** The newest status whole (unit, phase, rate, remaining, ...): it stays until the next call. *)

val busy : t -> bool
(** Whether a call runs. *)

val cancel : t -> bool
(** Asks the daemon to stop what runs, over a second connection; whether something ran. The call then ends with
    [Cancelled], when the work has really ended. *)

(** {1 Calls by name} *)

val call : t -> string -> Pollprog_json.members -> Pollprog_json.members
(** Any method by its name on the wire: operations of the daemon's configuration, and [List], [Get], [Follow], [Submit], [Cancel], [Pause],
    [Resume], [Describe]. Returns the parameters of the reply; those of an operation have a member [result]. *)

val result : Pollprog_json.members -> Pollprog_json.members
(** The result of an operation in such a reply. *)

val required : 'a option -> 'a
(** What has to be in it. *)
