"""The processes that `torchrun` started, which train or evaluate together."""

import json
import logging
import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from monch_monai.errors import InputError
from monch_monai.handlers.checkpoints import STATE
from monch_monai.networks.provenance import provenance_of

RECORD = "run.json"
T = TypeVar("T")


def launch() -> str | None:
    """Name of the `torchrun` that started this process, the same after it restarts its processes; None without one.

    Every `torchrun` without a name of its own is called none, so that the id of its process distinguishes them.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"{name} {os.getppid()}" if name == "none" else name


class Processes:
    """Joins the processes of one `torchrun`, one a GPU, or any number on the CPU.

    The first, of rank 0, writes files and logs; the others log errors only.

    Args:
        device: of this process, `cuda:LOCAL_RANK` or `cpu`.

    Raises:
        InputError: `torchrun` did not start this process, `device` is no device, or no GPU is left for it alone.
    """

    def __init__(self, device: str) -> None:
        if "LOCAL_RANK" not in os.environ:
            command = "torchrun --standalone --nproc_per_node=2 -m monai.bundle run …"
            raise InputError(f"this config is for several processes that torchrun starts: run {command}")
        try:
            self.device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise InputError(f"device {device!r} is none of PyTorch's: leave --device out, or give cpu") from error
        if self.device.type == "cuda":
            if self.device.index != int(os.environ["LOCAL_RANK"]):
                raise InputError(f"device {device!r} would be shared by all processes: leave --device out, or give cpu")
            if self.device.index >= torch.cuda.device_count():
                raise InputError(f"there are {torch.cuda.device_count()} GPUs: give torchrun --nproc_per_node so many")
            torch.cuda.set_device(self.device)
        if not distributed.is_initialized():
            _join("nccl" if self.device.type == "cuda" else "gloo")
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        # Of several machines, only that whose process died counts the restart.
        self.restarted = max(self._of_all(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))) > 0
        if self.rank > 0:
            logging.getLogger().setLevel(logging.ERROR)

    def wrap(self, network: nn.Module) -> DistributedDataParallel:
        """`network`, on this process's device, with its gradients averaged over the processes.

        On GPUs batch normalisation is that of all processes together. PyTorch has none such for the CPU, where each
        process normalises by its own tiles.

        Raises:
            InputError: the processes did not find the same encoder weights, so that they would learn at other rates.
        """
        provenances = self._of_all(provenance_of(network))
        if any(found != provenances[0] for found in provenances):
            found = "; ".join(dict.fromkeys(map(str, provenances)))
            raise InputError(f"the processes found different weights ({found}): give --encoder_weights")
        if self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, device_ids=[self.device.index])
        return DistributedDataParallel(network)

    def goes_on(self, output_dir: str | Path) -> bool:
        """Whether `torchrun` restarted this training and its folder has a state to resume from, as rank 0 finds."""
        return self._of_all(self.restarted and _was_launched_by(launch(), Path(output_dir)))[0]

    def close(self) -> None:
        """Leaves the other processes."""
        distributed.destroy_process_group()

    def _of_all(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values


def _was_launched_by(name: str | None, folder: Path) -> bool:
    """Whether the state in `folder` is of the training that this `torchrun` began, not of an earlier one."""
    if not (folder / STATE).is_file():
        return False
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return name in [start.get("launch") for start in (record, *record.get("resumed", []))]


def _join(backend: str) -> None:
    store, rank, count = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # The store is torchrun's own and outlives its processes: after a restart, one process would look for another
        # at the address of the dead one. Several machines do not count restarts alike, so they share no such name.
        store = PrefixStore(f"restart_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
