"""An evaluator's decollated items: their names, and records of them from all processes."""

from collections.abc import Mapping
from typing import Any, TypeVar

import ignite.distributed as idist

Record = TypeVar("Record")

UNKNOWN = "unknown"
"""Tissue and source of an image without them."""


def name_of(item: Mapping[str, Any]) -> str:
    """File or reference (`…/images.npy#12`) that the item's `image` was read from."""
    return str(item["image"].meta["filename_or_obj"])


def gather_by_image(records: Mapping[str, Record]) -> dict[str, Record]:
    """The records of all processes by image, in order of the images' names: the same however many processes there are.

    An image that several processes saw, since samplers fill up the last batch, has one record. To be called by all
    processes.
    """
    gathered = [records] if idist.get_world_size() == 1 else idist.all_gather(dict(records))
    merged = {name: record for part in gathered for name, record in part.items()}
    return dict(sorted(merged.items()))
