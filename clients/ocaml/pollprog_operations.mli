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

type synced = {
  files : int64;  (** How many files. *)
  size : int64;  (** Their size in bytes. *)
}
(** What was copied, because it differed. *)

type exit = {
  exit : int64 option;  (** Its exit code, where the kernel tells it. *)
  signal : int64 option;  (** The signal that ended it. *)
}
(** How a process ended that was watched; nothing where nobody knows. *)

type checked = {
  corrected : bool;  (** Whether there were errors, which are corrected now. *)
  output : string;  (** The last of what e2fsck printed. *)
}
(** What a check has found. *)

type filesystem = {
  size : int64;  (** Its size in bytes. *)
  block_size : int64;  (** Bytes of a block. *)
}
(** An ext file system. *)

type zeroed = {
  zeroed : int64;  (** Was not zero, and is now. *)
  free : int64;  (** Free, all of it. *)
  size : int64;  (** The whole file system. *)
}
(** What is free in a file system, in bytes. *)

type resized = {
  size : int64;  (** Its size in bytes. *)
  partition : int64;  (** The number of the partition that has grown. *)
  partition_size : int64;  (** How large that is now, in bytes. *)
  filesystem : bool;  (** Whether an ext file system in it has grown, too. *)
}
(** The image that was made. *)

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

val rsync :
  ?job:string -> ?interval:float ->
  ?exclude:string list ->
  ?limit:int64 ->
  ?delete:bool ->
  ?checksum:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> synced
(** Make a directory like another with rsync, copying what differs. What has been copied stays, whatever happens.
    - [source]: File to copy, or directory, of which all that is in it is copied.
    - [destination]: Directory, which becomes like the source; it is made if it is not there.
    - [exclude]: Patterns of what is left out, as rsync has them. Default: \[\].
    - [limit]: Bytes a second at the most.
    - [delete]: Delete in the destination what the source does not have. Default: false.
    - [checksum]: Compare what is in the files, and not their sizes and times. Default: false. *)

val observe :
  ?job:string -> ?interval:float ->
  ?pid:int64 ->
  ?resource:string ->
  Pollprog.t -> exit
(** Watch a process that already runs, or other work that is under way, to its end. Cancelling ends the watching, not the work.
    - [pid]: The number of the process.
    - [resource]: Instead of that, work that no process stands for: KIND:NAME, as in md:md0. *)

val check_filesystem :
  ?job:string -> ?interval:float ->
  ?repair:[ `No | `Safe | `Yes ] ->
  ?force:bool ->
  device:string ->
  Pollprog.t -> checked
(** Check an ext file system with e2fsck, and correct it if you say so. Errors that are left are an error.
    - [device]: Device with an ext file system, or an image of one; not mounted.
    - [repair]: What to correct: nothing, what is safe, or all. Default: 'no'.
    - [force]: Check it even if it says that it is clean. Default: false. *)

val make_filesystem :
  ?job:string -> ?interval:float ->
  ?kind:[ `Ext4 | `Ext3 | `Ext2 ] ->
  ?label:string ->
  ?size:int64 ->
  ?block_size:int64 ->
  ?lazy_:bool ->
  ?overwrite:bool ->
  device:string ->
  Pollprog.t -> filesystem
(** Make an ext file system with mke2fs.
    - [device]: Device, or an image of one; a file that is not there is made.
    - [kind]: Which file system. Default: 'ext4'.
    - [label]: Its name.
    - [size]: Bytes; none: as large as the device. A file that is made needs one.
    - [block_size]: Bytes of a block: 1024, 2048 or 4096; none: as mke2fs finds best.
    - [lazy_]: Leave to the first mount what can be left to it. Default: true.
    - [overwrite]: Make it even where there is something already. Default: false. *)

val resize_filesystem :
  ?job:string -> ?interval:float ->
  ?size:int64 ->
  device:string ->
  Pollprog.t -> filesystem
(** Check an ext file system, then make it larger or smaller with resize2fs; an image becomes as long as it. If cancelled, repair it.
    - [device]: Device with an ext file system, or an image of one; not mounted.
    - [size]: Bytes, of which whole blocks count; none: as large as the device. *)

val zero_free :
  ?job:string -> ?interval:float ->
  device:string ->
  Pollprog.t -> zeroed
(** Write zeroes over all that is free in an ext file system, with zerofree, so that an image of it compresses well.
    - [device]: Device with an ext file system, or an image of one; not mounted. *)

val convert_image :
  ?job:string -> ?interval:float ->
  ?to_:[ `Qcow2 | `Raw ] ->
  ?source_format:[ `Qcow2 | `Raw ] ->
  ?compress:bool ->
  ?overwrite:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> written
(** Convert an image of a disk with qemu-img, from raw or qcow2 to either. What is zero takes no room.
    - [source]: Image, or block device.
    - [destination]: Name of the new image: it is there when all of it is.
    - [to_]: Which format it becomes. Default: 'qcow2'.
    - [source_format]: Which it has; none: as it looks. Say it where others can write into the image.
    - [compress]: Compress what is in a qcow2. Default: false.
    - [overwrite]: Replace what has that name. Default: false. *)

val ntfs_clone :
  ?job:string -> ?interval:float ->
  ?how:[ `Clone | `Save | `Restore ] ->
  ?force:bool ->
  ?overwrite:bool ->
  source:string ->
  destination:string ->
  Pollprog.t -> written
(** Copy what is in use of an NTFS with ntfsclone, into an image.
    - [source]: Device with an NTFS, an image of one, or what `save` has made; not mounted.
    - [destination]: Name of the copy: it is there when all of it is.
    - [how]: A sparse image; ntfsclone's own format, which has no holes; or back from that. Default: 'clone'.
    - [force]: Even if it was not unmounted in order. Default: false.
    - [overwrite]: Replace what has that name. Default: false. *)

val resize_image :
  ?job:string -> ?interval:float ->
  ?partition:int64 ->
  ?filesystem:bool ->
  ?overwrite:bool ->
  source:string ->
  destination:string ->
  size:int64 ->
  Pollprog.t -> resized
(** Make a larger copy of an image of a disk, in which a partition is larger, and the ext file system in that.
    - [source]: Image of a disk, as it is and not qcow2, with GPT or MBR; or a block device.
    - [destination]: Name of the new image: it is there when all of it is.
    - [size]: Bytes of the new image: more than the old one has.
    - [partition]: Number of the partition that grows; none: the last one.
    - [filesystem]: Grow the ext file system in it, too. Default: true.
    - [overwrite]: Replace what has that name. Default: false. *)
