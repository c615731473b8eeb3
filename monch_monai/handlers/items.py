"""An evaluator's decollated items: their names, and records of them from all processes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray

Record = TypeVar("Record")

UNKNOWN = "unknown"
"""Tissue and source of an image without them."""


def name_of(item: Mapping[str, Any]) -> str:
    """File or reference (`…/images.npy#12`) that the item's `image` was read from."""
    return str(item["image"].meta["filename_or_obj"])


def class_map_of(item: Mapping[str, Any], key: str) -> NDArray[np.uint8]:
    """Class map `[H, W]` of an item, from its tensor `[1, H, W]`."""
    class_map: NDArray[np.uint8] = torch.as_tensor(item[key])[0].cpu().numpy().astype(np.uint8)
    return class_map


def probs_and_distance(item: Mapping[str, Any]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Probabilities `[T - 1, H, W]` of an item and its distance map `[D, H, W]`, D 0 where the network has none."""
    probs = torch.as_tensor(item["probs"]).cpu().numpy()
    return probs, torch.as_tensor(item["distance"]).cpu().numpy() if "distance" in item else probs[:0]


def with_origins(engine: Engine) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each item of the engine's batch, empty where the batch is not decollated, with the item of its output."""
    output = engine.state.output
    given = engine.state.batch if isinstance(engine.state.batch, list) else [{}] * len(output)
    return list(zip(given, output, strict=True))


def gather_by_image(records: Mapping[str, Record]) -> dict[str, Record]:
    """The records of all processes by image, in order of the images' names: the same however many processes there are.

    An image that several processes saw, since samplers fill up the last batch, has one record. To be called by all
    processes.
    """
    gathered = [records] if idist.get_world_size() == 1 else idist.all_gather(dict(records))
    merged = {name: record for part in gathered for name, record in part.items()}
    return dict(sorted(merged.items()))


class ImageRecords(ABC, Generic[Record]):
    """A handler that keeps a record an image during an evaluation, and writes files of all records at its end.

    Each image counts once, whatever the number of processes. The first process writes.
    """

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator of decollated items."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Drops all records."""
        self.records = {}

    @abstractmethod
    def collect(self, engine: Engine) -> None:
        """Adds the records of a batch."""

    def finish(self, engine: Engine) -> None:
        """Gathers the records of all processes, and writes."""
        self.records = gather_by_image(self.records)
        if idist.get_rank() == 0:
            self.write(engine)

    @abstractmethod
    def write(self, engine: Engine) -> None:
        """Writes the files."""
