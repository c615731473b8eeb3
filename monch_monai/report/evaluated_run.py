"""One evaluation, read from its folder: its scores, its record, and what made its network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monch_monai.class_table import ClassTable
from monch_monai.encoders import DEFAULT_ENCODER
from monch_monai.errors import InputError
from monch_monai.networks.pretrained import PROMPTS
from monch_monai.networks.prompt_decoder import QUERIES
from monch_monai.networks.provenance import Provenance
from monch_monai.networks.recipe import OF_ONE_RUN, recipe, without_descriptions

ABLATIONS = {"mgfe": "without MGFE", "ppd": "without PPD", "high_pass": "without HF", "topology": "without Topo"}
"""Switch of `Monch` to its row in Tables 3 and 4."""
STAGES = dict(zip(QUERIES, ("q_h", "q_v", "q_t", "q_T"), strict=True))
BACKBONES = {"clip": "CLIP", "plip": "PLIP", "conch": "CONCH", "sam2": "SAM2", "sam": "SAM", "uni": "UNI"}
"""How names of encoders begin to their rows in Tables 6 and 7."""
BASELINES = {
    "UNet": "U-Net", "HoVerNetMaps": "HoVer-Net", "TsfdNet": "TSFD-Net", "CppNet": "CPP-Net", "MedSa": "Med-SA",
    "MaSam": "MA-SAM",
}  # fmt: skip
"""Names of other networks by their class, as Table 1 has them."""
PUBLISHED = ("HoVerNetMaps", "CppNet", "MedSa", "MaSam")
"""Those of them that have published weights to start from."""
STARTS = {"random": "random weights", "unknown": "start not recorded", "checkpoint": "start not recorded"}
"""Kinds of starts that are not from published weights; an evaluation of an earlier version has the checkpoint alone."""
WHOLE = "MONCH"
TRAINING_SETTINGS = (
    *("epochs", "batch_size", "accumulation_steps", "learning_rate", "learning_rate_drop", "layer_decay", "freeze"),
    *("lora_rank", "prompts", "normalisation", "flips", "augmentation", "stain_jitter", "density_range"),
    "sampling_strength",
    "dataset_weights",
)
"""Settings of the config by which trainings differ, for networks whose checkpoint stores no recipe."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluation.

    Args:
        folder: of its files.
        scores: content of `scores.json`.
        time: content of `inference_time.json`; None where the time was not measured.
        record: content of `run.json`.
        provenance: of the network that was evaluated.
    """

    folder: Path
    scores: dict[str, Any]
    time: dict[str, Any] | None
    record: dict[str, Any]
    provenance: Provenance

    @classmethod
    def read(cls, folder: str | Path) -> "EvaluatedRun":
        """The evaluation in `folder`, or in its subfolder `evaluation`.

        Raises:
            InputError: neither folder has a `scores.json`, or a file of the evaluation is damaged.
        """
        given = Path(folder)
        place = next((p for p in (given, given / "evaluation") if (p / "scores.json").is_file()), None)
        if place is None:
            wanted = "give the folder of an evaluation (evaluate.json makes one)"
            raise InputError(f"{given} holds no scores.json: {wanted}")
        try:
            scores, timed = read_json(place / "scores.json"), read_json(place / "inference_time.json")
            own = place / "run_evaluation.json"  # where the folder is that of a training, whose record is run.json
            record = json.loads((own if own.is_file() else place / "run.json").read_text(encoding="utf-8"))
            if timed is not None:
                timed["median_ms"], conditions(timed)
            scores["classes"], scores["organs"], scores["over_organs"]
            run = cls(place, scores, timed, record, _provenance(record))
            run.row, run.method, run.class_table  # noqa: B018 (whatever the record lacks is found here)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{place} is not a whole evaluation ({error!r}): evaluate again") from error
        return run

    @property
    def class_table(self) -> ClassTable:
        """The classes of the predictions; those of the network where an earlier version wrote the scores."""
        stored = self.scores.get("class_table")
        return self.provenance.class_table if stored is None else ClassTable.from_dict(stored)

    @property
    def network_def(self) -> dict[str, Any]:
        """The network's part of the config, without descriptions, and what the checkpoint records of the network.

        Empty where the run recorded no config.
        """
        found: dict[str, Any] = without_descriptions((self.record["config"] or {}).get("network_def", {}))
        return {**found, **{n: v for n, v in self.provenance.architecture.items() if n != "normalisation"}}

    @property
    def row(self) -> str:
        """Name of the network's row in Tables 3 to 5; a network with two parts off has none of the paper's."""
        switches = self.network_def
        network = _class_name(switches)
        if network in BASELINES:
            return BASELINES[network]
        off = [name for key, name in ABLATIONS.items() if str(switches.get(key, True)).lower() == "false"]
        off += [f"without {STAGES[q]}" for q in QUERIES if q not in switches.get("queries", QUERIES)]
        if switches.get("middle_stride"):
            off.append(f"middle map of stride {switches['middle_stride']}")
        if self.provenance.words.kind in PROMPTS[1:]:
            off.append(f"prompts {self.provenance.words.kind}")
        return " ".join(off) or WHOLE

    @property
    def backbone(self) -> str:
        """The encoder's row in Tables 6 and 7; the encoder's own name where the paper has none."""
        name = self.provenance.encoder
        return next((printed for start, printed in BACKBONES.items() if name.startswith(start)), name)

    @property
    def encoder(self) -> str:
        """The backbone, with the encoder's name where there are several of it and this is not the paper's.

        An encoder that did not start from published weights is named so.
        """
        name = self.provenance.encoder
        alone = name == DEFAULT_ENCODER or name.lower() == self.backbone.lower()
        label = self.backbone if alone else f"{self.backbone}, {name}"
        return label if self.provenance.image_weights.pretrained else f"{label}, random weights"

    @property
    def start(self) -> str:
        """How the row of another network states what its training started from; empty where that is as published."""
        if _class_name(self.network_def) not in PUBLISHED:
            return ""
        return STARTS.get(self.provenance.image_weights.kind, "")

    @property
    def system(self) -> str:
        """The network's row, with MONCH's encoder where that is not CLIP as published, and with another's start."""
        if self.row in BASELINES.values():
            return f"{self.row}, {self.start}" if self.start else self.row
        return self.row if self.encoder == "CLIP" else f"{self.row}, {self.encoder}"

    @cached_property
    def method(self) -> dict[str, Any]:
        """What runs of one row of a table have in common, as plain JSON.

        That is the network's provenance and config, and how it was evaluated. Left out is what differs between splits
        and seeds: the seed, the split and its folds, devices, paths, hashes of checkpoints, times, the data.
        """
        made = self.provenance.method()
        config = self.record["config"] or {}
        if not made["recipe"]:
            made["recipe"] = recipe({n: config[n] for n in TRAINING_SETTINGS if n in config}, config)
        settings = self.record["settings"]
        evaluation = {n: v for n, v in settings.items() if n not in OF_ONE_RUN}
        if "reference_density" in settings:  # measured on the tissue of a split's training
            evaluation["reference_density"] = settings["reference_density"] is not None
        return {**made.pop("recipe"), **made, "network_def": self.network_def, "evaluation": evaluation}


def read_json(path: Path) -> Any:
    """Content of a JSON file; None where the file does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def conditions(time: Mapping[str, Any]) -> str:
    """Conditions of a measured inference time, in a phrase."""
    return f"{time['device_name']}, {time['precision']}, batch {time['batch_size']}, {time['tile_size']} px"


def _provenance(record: Mapping[str, Any]) -> Provenance:
    """Provenance that a record stores, of this or of an earlier version."""
    if "provenance" in record:
        return Provenance.from_dict(record["provenance"])
    earlier = record["encoder_weights"]
    if earlier is not None:
        return Provenance.from_earlier(earlier)
    return Provenance(_class_name((record["config"] or {}).get("network_def", {})), version=None)


def _class_name(network_def: Mapping[str, Any]) -> str:
    return str(network_def.get("_target_", "")).rpartition(".")[2]
