"""Files and their records in a datastore's index, written both or neither, also when the server is killed between.

A file is first written whole under a name of its own, `.NUMBER.pending`, which its record in the index repeats. Then
the index is replaced, and last the file gets its name. Of a server that was killed, the index decides: a pending file
that it records gets its name when the next server starts, any other is removed.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monch_monai.data.images import stem

INDEX = "datastore_v2.json"
"""Name of MONAI Label's index of a studies folder."""
WRITE = "write"
"""What the info of a file has the number of its pending file under."""

logger = logging.getLogger(__name__)


def write_pending(folder: str | Path, write: Callable[[Path], object]) -> Path:
    """Writes a pending file in a folder, and to the disk; returns its path.

    Args:
        folder: where the file is to be.
        write: called with the path.
    """
    path = Path(folder) / f".{uuid.uuid4().hex}.pending"
    try:
        write(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def copy_pending(source: str | Path, folder: str | Path) -> Path:
    """A pending copy of a file."""
    return write_pending(folder, lambda path: shutil.copyfile(source, path))


def replace_index(path: str | Path, values: Any) -> None:
    """Replaces an index by other values, whole or not at all."""
    text = json.dumps(values, indent=2, default=str)
    write_pending(Path(path).parent, lambda part: part.write_text(text, encoding="utf-8")).replace(path)


def settle(studies: str | Path, labels: str = "labels") -> None:
    """Finishes or removes what a killed server left.

    Args:
        studies: the folder of images and the index.
        labels: its folder of labels, by tag.
    """
    folder = Path(studies)
    left = [*folder.glob(".*.pending"), *(folder / labels).glob("*/.*.pending")]
    if not left:
        return
    index = folder / INDEX
    objects = json.loads(index.read_text(encoding="utf-8"))["objects"] if index.is_file() else {}
    ids = {}
    for image_id, record in objects.items():
        for place in (record["image"], *record["labels"].values()):
            ids[place["info"].get(WRITE)] = (image_id, place["ext"])
    for path in left:
        if path.name not in ids:
            path.unlink()
            continue
        image_id, suffix = ids[path.name]
        logger.warning("%s%s was recorded by a server that was stopped: stored now", image_id, suffix)
        if path.parent != folder:
            remove_others(path.parent, image_id, suffix)
        path.replace(path.with_name(image_id + suffix))


def remove_others(folder: Path, image_id: str, suffix: str) -> None:
    """Removes an image's labels of other suffixes: they would come back when the one of `suffix` is removed."""
    for other in folder.iterdir():
        if stem(other) == image_id and other.name != image_id + suffix:
            other.unlink()
