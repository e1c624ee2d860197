"""An operation of your own: find files that are there twice."""

import hashlib
import os
from collections import defaultdict
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from pollprog import NotDirectory, OperationFailed, notify_progress, operation, steps


class Duplicates(Struct, frozen=True):
    """Files that are there more than once."""

    files: Annotated[list[list[str]], "Their names; those that are alike stand together."]
    wasted: Annotated[int, "Bytes that one of each would save."]


@operation
def find_duplicates(
    folder: Annotated[Path, "Where to look."],
    least: Annotated[int, "Only files of so many bytes or more."] = 1,
) -> Duplicates:
    """Find the files in a folder that are there more than once."""
    if not folder.is_dir():
        raise NotDirectory(f"{folder} is no directory: name one to look into", path=str(folder))
    plan = steps(look=1, compare=9)  # the first is a tenth of the work, more or less
    plan.begin("look")
    by_size = defaultdict(list)
    for directory, _, names in os.walk(folder):
        for path in (os.path.join(directory, name) for name in sorted(names)):
            if os.path.isfile(path) and not os.path.islink(path):
                by_size[os.path.getsize(path)].append(path)
                notify_progress(len(by_size))  # of how many, nobody knows

    plan.begin("compare")
    alike = {size: paths for size, paths in by_size.items() if size >= least and len(paths) > 1}
    done, total = 0, sum(size * len(paths) for size, paths in alike.items())
    by_content = defaultdict(list)
    for size, paths in alike.items():
        for path in paths:
            digest = hashlib.sha256()
            try:
                with open(path, "rb") as file:
                    while data := file.read(1 << 20):
                        digest.update(data)
                        done += len(data)
                        notify_progress(done, total, unit="bytes")
            except OSError as error:
                raise OperationFailed(f"{path} cannot be read: {error.strerror}", path=path) from error
            by_content[size, digest.digest()].append(path)
    found = {key: paths for key, paths in by_content.items() if len(paths) > 1}
    return Duplicates(list(found.values()), sum(size * (len(paths) - 1) for (size, _), paths in found.items()))
