(* What tests/test_clients.py has an OCaml program do: exercise ADDRESS SCENARIO [ARGUMENT ...]; it prints a line for each thing that happens. *)
open Pollprog_errors

exception Too_late

let told words = print_endline (String.concat " " words)
let on_one_line text = String.concat "" (String.split_on_char '\n' text)
let argument n = Sys.argv.(n + 3)
let heard = ref 0
let told_progress word (it : Pollprog.progress) = told [ word; Int64.to_string it.total; Int64.to_string it.current ]

let words_of = function
  | Usage_error -> [ "UsageError" ]
  | Protocol_error -> [ "ProtocolError" ]
  | Busy -> [ "Busy" ]
  | Unreachable { address } -> [ "Unreachable"; "address=" ^ address ]
  | Connection_lost { address } -> [ "ConnectionLost"; "address=" ^ address ]
  | No_such_file { path } -> [ "NoSuchFile"; "path=" ^ path ]
  | Path_not_absolute { path } -> [ "PathNotAbsolute"; "path=" ^ path ]
  | Invalid_parameter { parameter } -> [ "InvalidParameter"; "parameter=" ^ parameter ]
  | Command_failed { exit; signal = None; output } ->
      [ "CommandFailed"; "exit=" ^ Int64.to_string (Option.get exit); "output=" ^ on_one_line output ]
  | Cancelled { path; _ } -> [ "Cancelled"; "path=" ^ path ]
  | Foreign { name; _ } -> [ name ]
  | _ -> [ "another" ]

let tried work =
  try work () with
  | Pollprog.Error (reason, text) ->
      told ("error" :: words_of reason);
      told [ "text"; text ]
  | Failure text -> told [ "raised"; text ]
  | Too_late -> told [ "raised"; "too late" ]

let sum handle () =
  let summed = Pollprog_operations.checksum handle ~path:(argument 0) ~interval:0.1 in
  told [ "result"; summed.digest; Int64.to_string summed.size ]

let callback handle work = Pollprog.set_progress_callback handle (Some work)
let timer seconds every = ignore (Unix.setitimer ITIMER_REAL { it_value = seconds; it_interval = every })
let on_alarm work = Sys.set_signal Sys.sigalrm (Signal_handle (fun _ -> work ()))

(* The newest job is over when the daemon has noticed that nobody waits for it. *)
let rec states handle =
  match List.assoc "jobs" (Pollprog.call handle "List" [ ("limit", `Int 1) ]) with
  | `List [ `Assoc job ] when Pollprog_json.float "ended" job <> None ->
      told [ "state"; Option.get (Pollprog_json.string "state" job) ]
  | _ -> states handle

let stop_when_told handle =
  let progress = Pollprog.get_progress handle in
  progress.current >= 0L
  && begin
       told_progress "progress" progress;
       Pollprog.cancel handle
     end

let scenario handle = function
  | "sum" -> tried (sum handle)
  | "follow" ->
      callback handle (told_progress "progress");
      tried (sum handle);
      Unix.sleepf 0.5; (* a service that closes has closed by now *)
      tried (sum handle)
  | "wait" ->
      callback handle (fun progress ->
          told_progress "progress" progress;
          if Pollprog.busy handle then told [ "busy" ];
          incr heard;
          if !heard = 3 then close_out (open_out (argument 0)));
      let argv = [ "sh"; "-c"; "until [ -e \"$0\" ]; do sleep 0.05; done; echo ended"; argument 0 ] in
      tried (fun () -> told [ "result"; on_one_line (Pollprog_operations.run handle ~argv ~interval:0.1).output ])
  | "cancel-callback" ->
      callback handle (fun progress ->
          told_progress "progress" progress;
          incr heard;
          if !heard = 2 then told [ "cancel"; (if Pollprog.cancel handle then "1" else "0") ]);
      tried (sum handle)
  | "cancel-signal" ->
      let stopped = ref false in
      on_alarm (fun () ->
          (* which may come again while this is still at it *)
          if (not !stopped) && (Pollprog.get_progress handle).current >= 0L then (
            stopped := true;
            ignore (stop_when_told handle)));
      timer 0.05 0.05;
      tried (sum handle)
  | "cancel-thread" ->
      let rec look () = if not (stop_when_told handle) then (Thread.delay 0.02; look ()) in
      let thread = Thread.create look () in
      tried (sum handle);
      Thread.join thread
  | "cancel-often" ->
      on_alarm (fun () -> ignore (Pollprog.cancel handle));
      for i = 1 to 50 do
        timer (0.0005 +. (float i /. 10_000.)) 0.01;
        (* while it sends, waits, reads *)
        match Pollprog_operations.checksum handle ~path:(argument 0) with
        | _ -> told [ "ended" ]
        | exception Pollprog.Error (reason, _) -> told [ List.hd (words_of reason) ]
      done;
      timer 0. 0.
  | "timeout" ->
      on_alarm (fun () -> raise Too_late);
      callback handle (fun _ -> if !heard = 0 then (incr heard; timer 0.1 0.));
      tried (sum handle);
      Pollprog.set_progress_callback handle None;
      states handle
  | "raise" ->
      callback handle (fun _ -> failwith "from the callback");
      tried (sum handle);
      states handle
  | "busy" ->
      callback handle (fun _ ->
          if !heard = 0 then (
            incr heard;
            tried (sum handle);
            ignore (Pollprog.cancel handle)));
      tried (sum handle)
  | "command" ->
      tried (fun () -> ignore (Pollprog_operations.run handle ~argv:[ "sh"; "-c"; "echo hällo; exit 3" ]))
  | "wide" ->
      tried (fun () ->
          let copied =
            Pollprog_operations.copy_size handle ~source:(argument 0) ~destination:"/ü" ~size:9007199254740993L
              ~source_offset:0x4000000000000000L ~sparse:true
          in
          told [ "result"; Int64.to_string copied.size ])
  | "large" -> tried (fun () -> ignore (Pollprog_operations.checksum handle ~path:("/" ^ String.make 4_000_000 'x')))
  | "refused" ->
      tried (fun () -> ignore (Pollprog_operations.checksum handle ~path:"/tmp/\xff"));
      tried (fun () -> ignore (Pollprog_operations.checksum handle ~path:"/x" ~interval:nan));
      tried (fun () -> ignore (Pollprog.call handle "Checksum" []))
  | other -> failwith other

let () =
  tried @@ fun () ->
  Pollprog.with_handle ~address:Sys.argv.(1) @@ fun handle ->
  scenario handle Sys.argv.(2);
  told_progress "after" (Pollprog.get_progress handle);
  if not (Pollprog.cancel handle || Pollprog.busy handle) then told [ "nothing" ]
