(* Made by clients/generate.py from the declarations of the operations. Change those. *)

type reason =
  | Busy
      (** A call runs on this handle already. *)
  | Command_not_executable
      (** The command is there and cannot be run: no permission, a directory, a missing interpreter. *)
  | Command_not_found
      (** There is no command of that name. *)
  | Operation_error
      (** What was asked for could not be done. *)
  | Process_error
      (** A process, or other work, that cannot be watched: it is gone, is the kernel's own, belongs to somebody else, or cannot be asked. *)
  | Protocol_error
      (** What the other side sent is not a message that can follow. *)
  | Unreachable of { address : string }
      (** Nobody answers at this address, or somebody who is not pollprog. *)
  | Usage_error
      (** What was typed, or passed, is not something that can be asked for. *)
  | Command_failed of { exit : int64 option; signal : int64 option; output : string }
      (** The command behind an operation ended with another status than 0. *)
  | Configuration_error
      (** The configuration file says something that cannot be. The text names the file and the line. *)
  | Connection_lost of { address : string }
      (** The connection ended before the reply came. *)
  | Destination_exists of { path : string }
      (** Something has that name already, and nobody said that it may be replaced. *)
  | Expected_more
      (** The method answers with several messages, and has to be called so. *)
  | Interface_not_found of { interface : string }
      (** There is no interface of that name. *)
  | Internal_error
      (** A fault of pollprog's own, or of somebody's operation. The daemon's log says more. *)
  | Invalid_parameter of { parameter : string }
      (** A parameter is missing, unknown, or of another type than it has to be. *)
  | Is_directory of { path : string }
      (** A directory stands where a file was asked for. *)
  | Job_exists of { job : string }
      (** Another job has that id. *)
  | Job_over of { job : string }
      (** The job has ended, and cannot be paused, resumed or cancelled any more. *)
  | Method_not_found of { method_ : string }
      (** There is no method of that name. *)
  | Method_not_implemented of { method_ : string }
      (** The method is described, and cannot be called here. *)
  | No_such_file of { path : string }
      (** There is nothing of that name, or no directory in which it could be. *)
  | No_such_job of { job : string }
      (** There is no job of that id, or none that the caller may see. *)
  | Not_a_file of { path : string }
      (** It is a FIFO, a socket or a device, where a file with an end was asked for. *)
  | Not_directory of { path : string }
      (** Something else stands where a directory was asked for. *)
  | Operation_failed of { path : string; errno : string; offset : int64; written : int64 }
      (** It began, and could not be finished. *)
  | Path_not_absolute of { path : string }
      (** A path that begins elsewhere than at the root would mean another file for each who reads it. *)
  | Permission_denied of { path : string }
      (** The file, or a directory on the way there, is closed to us. *)
  | Same_file of { source : string; destination : string }
      (** Source and destination are one file. *)
  | Too_busy of { limit : int64 }
      (** As many jobs run, or as many connections are open, as may be. *)
  | Cancelled of { path : string; errno : string; offset : int64; written : int64 }
      (** It stopped because it was asked to. *)
  | No_space of { path : string; errno : string; offset : int64; written : int64 }
      (** The file system, or the quota, is full. *)
  | Foreign of { name : string; parameters : Pollprog_json.members }
      (** An error of another interface, with its whole name. *)

let of_name name members =
  let text field = Option.value ~default:"" (Pollprog_json.string field members)
  and number field = Option.value ~default:0L (Pollprog_json.int field members) in
  match name with
  | "Busy" -> Busy
  | "CommandNotExecutable" -> Command_not_executable
  | "CommandNotFound" -> Command_not_found
  | "OperationError" -> Operation_error
  | "ProcessError" -> Process_error
  | "ProtocolError" -> Protocol_error
  | "Unreachable" -> Unreachable { address = text "address" }
  | "UsageError" -> Usage_error
  | "CommandFailed" -> Command_failed { exit = Pollprog_json.int "exit" members; signal = Pollprog_json.int "signal" members; output = text "output" }
  | "ConfigurationError" -> Configuration_error
  | "ConnectionLost" -> Connection_lost { address = text "address" }
  | "DestinationExists" -> Destination_exists { path = text "path" }
  | "ExpectedMore" -> Expected_more
  | "InterfaceNotFound" -> Interface_not_found { interface = text "interface" }
  | "InternalError" -> Internal_error
  | "InvalidParameter" -> Invalid_parameter { parameter = text "parameter" }
  | "IsDirectory" -> Is_directory { path = text "path" }
  | "JobExists" -> Job_exists { job = text "job" }
  | "JobOver" -> Job_over { job = text "job" }
  | "MethodNotFound" -> Method_not_found { method_ = text "method" }
  | "MethodNotImplemented" -> Method_not_implemented { method_ = text "method" }
  | "NoSuchFile" -> No_such_file { path = text "path" }
  | "NoSuchJob" -> No_such_job { job = text "job" }
  | "NotAFile" -> Not_a_file { path = text "path" }
  | "NotDirectory" -> Not_directory { path = text "path" }
  | "OperationFailed" -> Operation_failed { path = text "path"; errno = text "errno"; offset = number "offset"; written = number "written" }
  | "PathNotAbsolute" -> Path_not_absolute { path = text "path" }
  | "PermissionDenied" -> Permission_denied { path = text "path" }
  | "SameFile" -> Same_file { source = text "source"; destination = text "destination" }
  | "TooBusy" -> Too_busy { limit = number "limit" }
  | "Cancelled" -> Cancelled { path = text "path"; errno = text "errno"; offset = number "offset"; written = number "written" }
  | "NoSpace" -> No_space { path = text "path"; errno = text "errno"; offset = number "offset"; written = number "written" }
  | _ -> Foreign { name; parameters = members }

(* Methods of the daemon that are no operations. *)
let control = [ "Cancel"; "Describe"; "Follow"; "Get"; "List"; "Pause"; "Resume"; "Submit"; "Top"; "Watch" ]
