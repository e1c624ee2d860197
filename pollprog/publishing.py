"""Gives what was written under a temporary name the name that it is for.

Everything is made under ``.NAME.pollprog-…`` in the directory of the destination, synced, and only then given its name. So
whoever looks finds under that name nothing, or what was there before, or all of it. A named temporary serves every file system
and both kinds of publishing; an unnamed one (``O_TMPFILE``) cannot replace, and lacks in many places. Its price is that after
SIGKILL the temporary stays. On every other way out it is removed, and nothing else is.

Without `overwrite` a file's name is given by link(2), which fails where something exists, however late it appeared; where the file
system has no hard links, by renameat2(2) with RENAME_NOREPLACE, and so is that of a directory. With `overwrite` it is given by
rename(2).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pollprog.errors import DestinationExists, OperationFailed
from pollprog.paths import called, parameter
from pollprog.syscalls import rename_without_replacing

if TYPE_CHECKING:
    from contextlib import ExitStack

__all__ = ["Place"]


class Place:
    """A directory, and the name in it that something will have when it is finished."""

    def __init__(self, stack: ExitStack, path: bytes) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.directory = os.open(os.path.dirname(path) or b".", os.O_PATH | os.O_DIRECTORY)
        """Kept open: the directory may be renamed meanwhile, and another may take its name."""
        stack.callback(os.close, self.directory)
        self.temporary = os.fsencode(f".{os.fsdecode(self.name)[:48]}.pollprog-{os.urandom(6).hex()}")

    @property
    def temporary_path(self) -> bytes:
        """For a message."""
        return os.path.join(os.path.dirname(self.path), self.temporary)

    def publish_file(self, *, overwrite: bool) -> None:
        """Give the finished file its name. The temporary one may be left."""
        if overwrite:
            os.rename(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            return
        try:
            os.link(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except FileExistsError as error:
            raise self.appeared(" (`overwrite` replaces it)") from error
        except OSError:  # no hard links there
            try:
                renamed = self.rename()
            except FileExistsError as error:
                raise self.appeared(" (`overwrite` replaces it)") from error
            if not renamed:
                text = (
                    "the file system there can name a file only by replacing what has the name (`overwrite` allows it)"
                )
                raise OperationFailed(text, path=parameter(self.path)) from None

    def publish_directory(self) -> None:
        """Give the finished directory its name."""
        try:
            if not self.rename():
                # Fails where something is, but for an empty directory, and of that nothing is lost.
                os.rename(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.appeared(": choose another name") from error
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise self.appeared(": choose another name") from error

    def rename(self) -> bool:
        """Give the name by renaming where nothing has it; False if the file system cannot do that."""
        try:
            rename_without_replacing(self.temporary, self.name, self.directory)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            return False
        return True

    def appeared(self, advice: str) -> DestinationExists:
        """The error for what was not there when the work began."""
        return DestinationExists(f"{called(self.path)} appeared meanwhile{advice}", path=parameter(self.path))
