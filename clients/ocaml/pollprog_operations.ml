(* Made by clients/generate.py from the declarations of the operations. Change those. *)

type copied = {
  size : int64;  (** Bytes: of a copy its size, holes included; of a range its length. *)
}

let copied_of members = {
  size = Pollprog.required (Pollprog_json.int "size" members);
}

type summed = {
  digest : string;  (** In hexadecimal. *)
  files : int64;  (** How many files went into it. *)
  size : int64;  (** Bytes that were read. *)
}

let summed_of members = {
  digest = Pollprog.required (Pollprog_json.string "digest" members);
  files = Pollprog.required (Pollprog_json.int "files" members);
  size = Pollprog.required (Pollprog_json.int "size" members);
}

type ran = {
  output : string;  (** The last of what it printed. *)
}

let ran_of members = {
  output = Pollprog.required (Pollprog_json.string "output" members);
}

type written = {
  size : int64;  (** Its size in bytes. *)
}

let written_of members = {
  size = Pollprog.required (Pollprog_json.int "size" members);
}

type synced = {
  files : int64;  (** How many files. *)
  size : int64;  (** Their size in bytes. *)
}

let synced_of members = {
  files = Pollprog.required (Pollprog_json.int "files" members);
  size = Pollprog.required (Pollprog_json.int "size" members);
}

type exit = {
  exit : int64 option;  (** Its exit code, where the kernel tells it. *)
  signal : int64 option;  (** The signal that ended it. *)
}

let exit_of members = {
  exit = Pollprog_json.int "exit" members;
  signal = Pollprog_json.int "signal" members;
}

type checked = {
  corrected : bool;  (** Whether there were errors, which are corrected now. *)
  output : string;  (** The last of what e2fsck printed. *)
}

let checked_of members = {
  corrected = Pollprog.required (Pollprog_json.bool "corrected" members);
  output = Pollprog.required (Pollprog_json.string "output" members);
}

type filesystem = {
  size : int64;  (** Its size in bytes. *)
  block_size : int64;  (** Bytes of a block. *)
}

let filesystem_of members = {
  size = Pollprog.required (Pollprog_json.int "size" members);
  block_size = Pollprog.required (Pollprog_json.int "block_size" members);
}

type zeroed = {
  zeroed : int64;  (** Was not zero, and is now. *)
  free : int64;  (** Free, all of it. *)
  size : int64;  (** The whole file system. *)
}

let zeroed_of members = {
  zeroed = Pollprog.required (Pollprog_json.int "zeroed" members);
  free = Pollprog.required (Pollprog_json.int "free" members);
  size = Pollprog.required (Pollprog_json.int "size" members);
}

type resized = {
  size : int64;  (** Its size in bytes. *)
  partition : int64;  (** The number of the partition that has grown. *)
  partition_size : int64;  (** How large that is now, in bytes. *)
  filesystem : bool;  (** Whether an ext file system in it has grown, too. *)
}

let resized_of members = {
  size = Pollprog.required (Pollprog_json.int "size" members);
  partition = Pollprog.required (Pollprog_json.int "partition" members);
  partition_size = Pollprog.required (Pollprog_json.int "partition_size" members);
  filesystem = Pollprog.required (Pollprog_json.bool "filesystem" members);
}

let given name value = function Some it -> [ (name, value it) ] | None -> []

let copy_file ?job ?interval ?overwrite ?preserve ~source ~destination handle =
  Pollprog.call handle "CopyFile"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "preserve" Pollprog_json.of_boolean preserve;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> copied_of

let copy_tree ?job ?interval ?preserve ~source ~destination handle =
  Pollprog.call handle "CopyTree"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "preserve" Pollprog_json.of_boolean preserve;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> copied_of

let copy_size ?job ?interval ?size ?source_offset ?destination_offset ?sparse ~source ~destination handle =
  Pollprog.call handle "CopySize"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "size" Pollprog_json.of_integer size;
      given "source_offset" Pollprog_json.of_integer source_offset;
      given "destination_offset" Pollprog_json.of_integer destination_offset;
      given "sparse" Pollprog_json.of_boolean sparse;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> copied_of

let fill ?job ?interval ?offset ?pattern ~path ~size handle =
  Pollprog.call handle "Fill"
    (List.concat [
      [ ("path", Pollprog_json.of_string path) ];
      [ ("size", Pollprog_json.of_integer size) ];
      given "offset" Pollprog_json.of_integer offset;
      given "pattern" Pollprog_json.of_string pattern;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> copied_of

let zero ?job ?interval ?offset ?size ~path handle =
  Pollprog.call handle "Zero"
    (List.concat [
      [ ("path", Pollprog_json.of_string path) ];
      given "offset" Pollprog_json.of_integer offset;
      given "size" Pollprog_json.of_integer size;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> copied_of

let zero_device ?job ?interval ~device handle =
  Pollprog.call handle "ZeroDevice"
    (List.concat [
      [ ("device", Pollprog_json.of_string device) ];
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> copied_of

let checksum ?job ?interval ?algorithm ~path handle =
  Pollprog.call handle "Checksum"
    (List.concat [
      [ ("path", Pollprog_json.of_string path) ];
      given "algorithm" (function `Sha256 -> `String "sha256" | `Sha512 -> `String "sha512" | `Blake2b -> `String "blake2b" | `Md5 -> `String "md5") algorithm;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> summed_of

let run ?job ?interval ?directory ?environment ?probe ?total ?prepare ~argv handle =
  Pollprog.call handle "Run"
    (List.concat [
      [ ("argv", Pollprog_json.of_strings argv) ];
      given "directory" Pollprog_json.of_string directory;
      given "environment" Pollprog_json.of_map environment;
      given "probe" Pollprog_json.of_string probe;
      given "total" Pollprog_json.of_string total;
      given "prepare" Pollprog_json.of_boolean prepare;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> ran_of

let dd ?job ?interval ?block_size ?count ?skip ?seek ~source ~destination handle =
  Pollprog.call handle "Dd"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "block_size" Pollprog_json.of_integer block_size;
      given "count" Pollprog_json.of_integer count;
      given "skip" Pollprog_json.of_integer skip;
      given "seek" Pollprog_json.of_integer seek;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> ran_of

let tar_in ?job ?interval ~archive ~directory handle =
  Pollprog.call handle "TarIn"
    (List.concat [
      [ ("archive", Pollprog_json.of_string archive) ];
      [ ("directory", Pollprog_json.of_string directory) ];
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> ran_of

let tar_out ?job ?interval ?compression ?overwrite ~directory ~archive handle =
  Pollprog.call handle "TarOut"
    (List.concat [
      [ ("directory", Pollprog_json.of_string directory) ];
      [ ("archive", Pollprog_json.of_string archive) ];
      given "compression" (function `None -> `String "none" | `Gzip -> `String "gzip" | `Bzip2 -> `String "bzip2" | `Xz -> `String "xz" | `Zstd -> `String "zstd") compression;
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> written_of

let compress_out ?job ?interval ?compression ?overwrite ~source ~destination handle =
  Pollprog.call handle "CompressOut"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "compression" (function `Gzip -> `String "gzip" | `Bzip2 -> `String "bzip2" | `Xz -> `String "xz" | `Zstd -> `String "zstd") compression;
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> written_of

let rsync ?job ?interval ?exclude ?limit ?delete ?checksum ~source ~destination handle =
  Pollprog.call handle "Rsync"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "exclude" Pollprog_json.of_strings exclude;
      given "limit" Pollprog_json.of_integer limit;
      given "delete" Pollprog_json.of_boolean delete;
      given "checksum" Pollprog_json.of_boolean checksum;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> synced_of

let observe ?job ?interval ?pid ?resource handle =
  Pollprog.call handle "Observe"
    (List.concat [
      given "pid" Pollprog_json.of_integer pid;
      given "resource" Pollprog_json.of_string resource;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> exit_of

let check_filesystem ?job ?interval ?repair ?force ~device handle =
  Pollprog.call handle "CheckFilesystem"
    (List.concat [
      [ ("device", Pollprog_json.of_string device) ];
      given "repair" (function `No -> `String "no" | `Safe -> `String "safe" | `Yes -> `String "yes") repair;
      given "force" Pollprog_json.of_boolean force;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> checked_of

let make_filesystem ?job ?interval ?kind ?label ?size ?block_size ?lazy_ ?overwrite ~device handle =
  Pollprog.call handle "MakeFilesystem"
    (List.concat [
      [ ("device", Pollprog_json.of_string device) ];
      given "kind" (function `Ext4 -> `String "ext4" | `Ext3 -> `String "ext3" | `Ext2 -> `String "ext2") kind;
      given "label" Pollprog_json.of_string label;
      given "size" Pollprog_json.of_integer size;
      given "block_size" Pollprog_json.of_integer block_size;
      given "lazy" Pollprog_json.of_boolean lazy_;
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> filesystem_of

let resize_filesystem ?job ?interval ?size ~device handle =
  Pollprog.call handle "ResizeFilesystem"
    (List.concat [
      [ ("device", Pollprog_json.of_string device) ];
      given "size" Pollprog_json.of_integer size;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> filesystem_of

let zero_free ?job ?interval ~device handle =
  Pollprog.call handle "ZeroFree"
    (List.concat [
      [ ("device", Pollprog_json.of_string device) ];
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> zeroed_of

let convert_image ?job ?interval ?to_ ?source_format ?compress ?overwrite ~source ~destination handle =
  Pollprog.call handle "ConvertImage"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "to" (function `Qcow2 -> `String "qcow2" | `Raw -> `String "raw") to_;
      given "source_format" (function `Qcow2 -> `String "qcow2" | `Raw -> `String "raw") source_format;
      given "compress" Pollprog_json.of_boolean compress;
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> written_of

let ntfs_clone ?job ?interval ?how ?force ?overwrite ~source ~destination handle =
  Pollprog.call handle "NtfsClone"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      given "how" (function `Clone -> `String "clone" | `Save -> `String "save" | `Restore -> `String "restore") how;
      given "force" Pollprog_json.of_boolean force;
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> written_of

let resize_image ?job ?interval ?partition ?filesystem ?overwrite ~source ~destination ~size handle =
  Pollprog.call handle "ResizeImage"
    (List.concat [
      [ ("source", Pollprog_json.of_string source) ];
      [ ("destination", Pollprog_json.of_string destination) ];
      [ ("size", Pollprog_json.of_integer size) ];
      given "partition" Pollprog_json.of_integer partition;
      given "filesystem" Pollprog_json.of_boolean filesystem;
      given "overwrite" Pollprog_json.of_boolean overwrite;
      given "job" Pollprog_json.of_string job;
      given "interval" Pollprog_json.of_number interval ])
  |> Pollprog.result |> resized_of
