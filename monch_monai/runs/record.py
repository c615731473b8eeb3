"""`run.json`: versions, settings, data and hardware of a run."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn

import monch_monai
from monch_monai.errors import InputError
from monch_monai.files import sha256, write_text_atomically
from monch_monai.networks.provenance import provenance_of
from monch_monai.networks.recipe import recipe
from monch_monai.predict import cpu_capabilities
from monch_monai.runs.processes import RECORD, launch
from monch_monai.runs.run import Run

PACKAGES = ("torch", "monai", "pytorch-ignite", "open_clip_torch", "numpy", "scikit-image", "pillow", "nibabel")


def write_record(
    run: Run, network: nn.Module, data: str, settings: dict[str, Any], checkpoint: str | Path | None = None
) -> Path:
    """Opens the run's folder and writes `run.json` there; returns its path. Of several processes the first does so.

    A resumed training keeps the record it began with and adds that of its new start. Where the folder has the record
    of a run of another kind, this one is `run_KIND.json`.

    Args:
        run: the run.
        network: its provenance is recorded. A training that is not resumed first adds its recipe to that, so that
            checkpoints store the recipe too.
        data: fingerprint of the data.
        settings: values by name that the record has beside, or in place of, the run's settings.
        checkpoint: file that the weights came from.

    Raises:
        InputError: the run has not been started, its folder cannot be written, or it resumes a training that began with
            other data or another split.
    """
    settings = {**run.settings, **settings}
    config = None if run.command_line is None else run.command_line.config()
    provenance = provenance_of(network)
    if run.kind == "training" and not run.resume:
        provenance = replace(provenance, recipe=recipe(settings, config))
        network.provenance = provenance  # type: ignore[assignment]
    started: dict[str, Any] = {"settings": settings, "config": config}
    given = None if checkpoint is None else {"file": str(checkpoint), "sha256": sha256(Path(checkpoint))}
    made_of = {"provenance": provenance.to_dict(), "checkpoint": given, "data_fingerprint": data}
    path: Path = _write(run, made_of, started)
    return path


@idist.one_rank_only()
def _write(run: Run, made_of: dict[str, Any], started: dict[str, Any]) -> Path:
    path = Path(run.output_dir) / RECORD
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if run.resume and earlier is not None:
        _refuse_other_data(path, earlier, made_of["data_fingerprint"], started["settings"])
    folder = run.open()
    start = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [sys.executable, *sys.argv],
        "working_dir": str(Path.cwd()),
        **started,
        "versions": {
            "monch": monch_monai.__version__,
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        "commit": _commit(),
        "hardware": _hardware(),
        "processes": idist.get_world_size(),
        "launch": launch(),
    }
    if run.resume and earlier is not None:
        # Rate and schedule come with the training's state, whatever the settings say now.
        start["settings"] = {n: value for n, value in started["settings"].items() if "learning_rate" not in n}
        record = {**earlier, "resumed": [*earlier.get("resumed", []), start]}
    else:
        record = {"kind": run.kind, "seed": run.seed, **made_of, **start}
        if earlier is not None and earlier.get("kind") != run.kind:
            path = folder / f"run_{run.kind}.json"
    write_text_atomically(path, json.dumps(record, indent=2, default=str) + "\n")
    return path


def _refuse_other_data(path: Path, earlier: dict[str, Any], data: str, settings: dict[str, Any]) -> None:
    began = {"data": earlier.get("data_fingerprint"), "split": (earlier.get("settings") or {}).get("split")}
    for name, now in (("data", data), ("split", settings.get("split"))):
        if began[name] is not None and now is not None and str(began[name]) != str(now):
            shown = "" if name == "data" else f" ({began[name]} and {now})"
            raise InputError(
                f"the training in {path.parent} began with another {name}{shown}: resume it with the {name} that it "
                "began with, or leave --resume out to start anew"
            )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a build under another name
        return None


def _commit() -> str | None:
    """Commit of the checkout that the package runs from, with `-dirty` if it was changed since; None without one."""
    package = Path(monch_monai.__file__).parent
    # Only a checkout of this project counts, not one that an installed package happens to lie in.
    command = ["git", "-C", str(package), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(package), "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=False
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if tracked.returncode == 0 and done.returncode == 0 else None


def _hardware() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpu": cpu_capabilities().get("cpu_name", platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
    }
