"""MONAI Label's task of training on submitted labels."""

import csv
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from monch_monai.device import check_device
from monch_monai.errors import InputError
from monch_monai.handlers.checkpoints import HISTORY, LAST, STATE
from monch_monai.label.studies import Studies
from monch_monai.label.training_tiles import write_labelled
from monch_monai.label.working_copy import NEWEST, PACKAGE_FOLDER, version_choices, version_weights, versions
from monch_monai.settings import fraction, whole_number

DEFAULTS = {"max_epochs": 10, "batch_size": 4, "learning_rate": 5e-5, "val_split": 0.2}

logger = logging.getLogger(__name__)


class MonchTrain(TrainTask):
    """Trains the newest version, or another, on all final labels, by the bundle's `train.json`; a new version results.

    Args:
        root: the working copy's bundle.
    """

    def __init__(self, root: Path) -> None:
        super().__init__("Trains on the labels submitted, from a version on; the result is a new version")
        self.root = root

    def config(self) -> dict[str, Any]:
        """What a request can set, with the defaults."""
        return {**DEFAULTS, "version": version_choices(self.root), "device": device_list()}

    def stats(self) -> dict[str, Any]:
        """The newest version, and for each trained one its epochs and its best score on the images held out."""
        known = versions(self.root)
        trained = {str(number): _scores(path.parent) for number, path in known.items() if number}
        return {"newest": max(known, default=None), "versions": trained}

    def __call__(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any]:
        """Trains; returns the number of the new version.

        Raises:
            InputError: a training runs already, there is no label, or a setting cannot be used.
        """
        try:
            with filelock.FileLock(self.root / ".training.lock", blocking=False):
                return self._train(request, datastore)
        except filelock.Timeout as error:
            raise InputError("a training is running already: wait for it, or stop it (DELETE /train/)") from error

    def _train(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any]:
        settings, device = _settings(request), name_to_device(request.get("device"))
        check_device(device)
        base, weights = version_weights(self.root, request.get("version") or NEWEST)
        used = [int(folder.name) for folder in (self.root / "versions").glob("*") if folder.name.isdigit()]
        number = max(used, default=0) + 1
        draft = self.root / "training"
        shutil.rmtree(draft, ignore_errors=True)  # of a training that was stopped
        draft.mkdir()
        labelled = [datastore.labelled(image) for image in datastore.get_labeled_images()]
        logger.info("version %d: from version %d, on the labels of %d images", number, base, len(labelled))
        write_labelled(draft / "tiles", labelled, settings["val_split"])
        places = {"bundle_root": self.root, "dataset_dir": draft / "tiles", "output_dir": draft, "checkpoint": weights}
        sizes = {name: settings[name] for name in ("batch_size", "learning_rate")}
        config = self.root / "configs" / "train.json"
        self._run(config_file=config, **places, device=device, epochs=settings["max_epochs"], **sizes)
        for needless in (LAST, STATE):  # larger than the weights, and a version is not resumed
            (draft / needless).unlink()
        (self.root / "versions").mkdir(exist_ok=True)
        version = draft.rename(self.root / "versions" / str(number))
        logger.info("version %d is ready: %s", number, _scores(version))
        return {"version": number}

    def _run(self, **settings: Any) -> None:
        flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "monai.bundle", "run", "training", *flags]
        path = os.pathsep.join(p for p in (str(PACKAGE_FOLDER), os.environ.get("PYTHONPATH", "")) if p)
        last = ""
        environment = {**os.environ, "PYTHONPATH": path}
        output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, env=environment, cwd=self.root, **output) as process:
            assert process.stdout is not None  # noqa: S101
            for line in process.stdout:
                if line.strip():
                    last = line.strip()
                    logger.info("%s", last)
        if process.returncode:
            raise InputError(f"training failed: {last.removeprefix('ERROR: ')}")


def _settings(request: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a request, or their defaults. Text must not pass: MONAI evaluates overrides that begin with `$`."""
    settings = {name: request.get(name, value) for name, value in DEFAULTS.items()}
    for name in ("max_epochs", "batch_size"):
        whole_number(name, settings[name], least=1)
    for name in ("learning_rate", "val_split"):
        fraction(name, settings[name])
    return settings


def _scores(version: Path) -> dict[str, float]:
    try:
        with (version / HISTORY).open(encoding="utf-8", newline="") as file:
            dice = [float(row["mean_dice"]) for row in csv.DictReader(file) if row["mean_dice"]]
    except OSError:
        return {}
    return {"epochs": len(dice), "best_mean_dice": round(max(dice), 4)} if dice else {"epochs": 0}
