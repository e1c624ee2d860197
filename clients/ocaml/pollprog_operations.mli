(* Made by clients/generate.py from the declarations of the operations. Change those. *)

(** What can be asked of a daemon: each waits for the end of its operation and returns the result. It raises
    {!Pollprog.Error}. [job] is the name of the job, by default one of its own; [interval] the seconds between two statuses. *)

type copied = {
  size : int64;  (** Bytes: of a copy its size, holes included; of a range its length. *)
}
(** What was copied or written. *)

type summed = {
  digest : string;  (** In hexadecimal. *)
  files : int64;  (** How many files went into it. *)
  size : int64;  (** Bytes that were read. *)
}
(** A checksum, and of what. *)

type ran = {
  output : string;  (** The last of what it printed. *)
}
(** A command that has ended well. *)

type written = {
  size : int64;  (** Its size in bytes. *)
}
(** A file that was made. *)

type exit = {
  exit : int64 option;  (** Its exit code, where the kernel tells it. *)
  signal : int64 option;  (** The signal that ended it. *)
}
(** How a process ended that was watched; nothing where nobody knows. *)

val copy_file :
  ?job:string -> ?interval:float ->
  ?overwrite:bool ->
  ?preserve:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> copied
(** Copy a file: all of it, or nothing, under the name that you give. Holes stay holes.
    - [source]: File to copy, or a block device.
    - [destination]: Name of the copy.
    - [overwrite]: Replace what has that name. Default: false.
    - [preserve]: Keep mode, times and owner. Default: false. *)

val copy_tree :
  ?job:string -> ?interval:float ->
  ?preserve:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> copied
(** Copy a tree: all of it, or nothing, under the name that you give.
    - [source]: Directory to copy, with all that is in it.
    - [destination]: Name of the copy, which must not exist.
    - [preserve]: Keep times and owners too. Default: false. *)

val copy_size :
  ?job:string -> ?interval:float ->
  ?size:int64 ->
  ?source_offset:int64 ->
  ?destination_offset:int64 ->
  ?sparse:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> copied
(** Copy so many bytes from one place to another, in place: the rest of the destination stays as it is.
    - [source]: File or block device to read.
    - [destination]: File or block device to write into; a file that is not there is made.
    - [size]: Bytes to copy; none: to the end of the source.
    - [source_offset]: Where in the source to begin. Default: 0.
    - [destination_offset]: Where in the destination to begin. Default: 0.
    - [sparse]: Leave holes where the source has some. Default: false. *)

val fill :
  ?job:string -> ?interval:float ->
  ?offset:int64 ->
  ?pattern:string ->
  path:string ->
  size:int64 ->
  Pollprog.t -> copied
(** Write a pattern, again and again, into a file or device: the rest of it stays as it is.
    - [path]: File or block device to write into; a file that is not there is made.
    - [size]: Bytes to write.
    - [offset]: Where to begin. Default: 0.
    - [pattern]: What to write, again and again. Default: '\u0000'. *)

val zero :
  ?job:string -> ?interval:float ->
  ?offset:int64 ->
  ?size:int64 ->
  path:string ->
  Pollprog.t -> copied
(** Write zeroes into a file or device: the rest of it stays as it is.
    - [path]: File or block device to write into.
    - [offset]: Where to begin. Default: 0.
    - [size]: Bytes to write; none: to the end. *)

val zero_device :
  ?job:string -> ?interval:float ->
  device:string ->
  Pollprog.t -> copied
(** Write zeroes over the whole of a device.
    - [device]: Block device, or an image of one. *)

val checksum :
  ?job:string -> ?interval:float ->
  ?algorithm:[ `Sha256 | `Sha512 | `Blake2b | `Md5 ] ->
  path:string ->
  Pollprog.t -> summed
(** Sum up a file, a device or a tree. That of a tree is the sum of what sha256sum prints for its files, sorted by name.
    - [path]: File, block device, or directory.
    - [algorithm]: Which sum. Default: 'sha256'. *)

val run :
  ?job:string -> ?interval:float ->
  ?directory:string ->
  ?environment:(string * string) list ->
  ?probe:string ->
  ?total:string ->
  ?prepare:bool ->
  argv:string list ->
  Pollprog.t -> ran
(** Run any command.
    - [argv]: The command, a word each; nothing goes through a shell.
    - [directory]: Where it runs.
    - [environment]: Its environment, instead of the job's.
    - [probe]: How to measure it: a probe as after --probe.
    - [total]: What the work amounts to, as after --total: 4G, \@/FILE.
    - [prepare]: Whether a plugin may have it say how far it is, as by --info=progress2. Default: true. *)

val dd :
  ?job:string -> ?interval:float ->
  ?block_size:int64 ->
  ?count:int64 ->
  ?skip:int64 ->
  ?seek:int64 ->
  source:string ->
  destination:string ->
  Pollprog.t -> ran
(** Copy with dd, in place: the rest of the destination stays as it is.
    - [source]: File or device to read.
    - [destination]: File or device to write into, in place; a file that is not there is made.
    - [block_size]: Bytes read and written at a time. Default: 1048576.
    - [count]: So many blocks; none: to the end of the source.
    - [skip]: Blocks of the source to pass over. Default: 0.
    - [seek]: Blocks of the destination to pass over. Default: 0. *)

val tar_in :
  ?job:string -> ?interval:float ->
  archive:string ->
  directory:string ->
  Pollprog.t -> ran
(** Unpack an archive with tar. What has been unpacked stays, whatever happens.
    - [archive]: The archive; how it is compressed is found out.
    - [directory]: Where to unpack it; it has to be there. *)

val tar_out :
  ?job:string -> ?interval:float ->
  ?compression:[ `None | `Gzip | `Bzip2 | `Xz | `Zstd ] ->
  ?overwrite:bool ->
  directory:string ->
  archive:string ->
  Pollprog.t -> written
(** Pack a directory into an archive with tar.
    - [directory]: What to pack.
    - [archive]: Name of the archive: it is there when all of it is.
    - [compression]: How to compress it. Default: 'none'.
    - [overwrite]: Replace what has that name. Default: false. *)

val compress_out :
  ?job:string -> ?interval:float ->
  ?compression:[ `Gzip | `Bzip2 | `Xz | `Zstd ] ->
  ?overwrite:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> written
(** Compress a file or a device.
    - [source]: File or block device to compress.
    - [destination]: Name of the compressed file: it is there when all of it is.
    - [compression]: How. Default: 'gzip'.
    - [overwrite]: Replace what has that name. Default: false. *)

val observe :
  ?job:string -> ?interval:float ->
  ?pid:int64 ->
  ?resource:string ->
  Pollprog.t -> exit
(** Watch a process that already runs, or other work that is under way, to its end. Cancelling ends the watching, not the work.
    - [pid]: The number of the process.
    - [resource]: Instead of that, work that no process stands for: KIND:NAME, as in md:md0. *)
