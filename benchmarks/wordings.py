"""What the words of trained weights are worth: Dice by other words, on the held-out part of a dataset."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from monai.bundle import ConfigParser
from torch import Tensor

from benchmarks.measurement import print_head, print_row
from benchmarks.networks import CONFIGS
from monch_monai.class_table import ClassTable
from monch_monai.class_table.class_table import LEAST_SENTENCES
from monch_monai.encoders import RANDOM, load_text_encoder
from monch_monai.metrics import confusion_matrix, score_rows
from monch_monai.networks import Monch, reword
from monch_monai.networks.wordings import words_of
from monch_monai.predict import class_map

NONSENSE = (
    "The train to the coast leaves at noon on weekdays",
    "My neighbour's bicycle costs more than last year",
    "A violin in the window was painted yellow by children",
)


def print_wordings(
    dataset_dir: Path,
    checkpoint: Path,
    swapped: tuple[str, str] = ("neoplastic", "inflammatory"),
    part: str = "validation",
) -> None:
    """Prints each class's Dice by its own words and by others, and what each edit is said to cost.

    - held-out wordings: all of the class table, and its first and next three; no step of training drew them;
    - two classes' words swapped: each class's map is scored against the truth of the class that it has the words of;
    - nonsense: sentences that have nothing to do with tissue.

    Weights trained with random directions get other random directions in place of the wordings and of the nonsense.

    Args:
        dataset_dir: a prepared dataset.
        checkpoint: the weights, whose text encoder is trained or random directions.
        swapped: names of the two classes.
        part: of the dataset's split.
    """
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "evaluate.json"])
    parser.update({"dataset_dir": str(dataset_dir), "checkpoint": str(checkpoint), "evaluated_part": part})
    parser.update({"bundle_root": str(CONFIGS.parent), "without_tensorboard": True, "num_workers": 0})
    network = parser.get_parsed_content("rewording").network
    table: ClassTable = network.class_table
    order = [table.names.index(name) for name in swapped]
    exchanged = dict(zip(order, reversed(order), strict=True))
    if network.provenance.text_encoder is None:
        changes = _other_directions(network, exchanged)
    else:
        changes = _other_words(network, table, exchanged)
    items, inferer = list(parser.get_parsed_content("validate#dataset")), parser.get_parsed_content("validate#inferer")
    labels = parser.get_parsed_content("tile_labels").sets
    dice: dict[str, list[float]] = {}
    for name, changed in changes:
        maps = torch.arange(len(table))
        if name == "swapped":
            maps[order] = torch.tensor(order[::-1])
        with torch.inference_mode():
            counts = [
                confusion_matrix(maps[_classes(changed, inferer, item).long()], item["label"], labels) for item in items
            ]
        dice[name] = [row.dice for row in score_rows(torch.stack(counts).sum(0).numpy(), labels)]
        print(name, [f"{value:.4f}" for value in dice[name]], flush=True)
    print()
    print_head("class", *dice)
    for index, name in enumerate([*labels.names[: len(table)], "any nucleus"]):
        print_row(name, *(f"{values[index if index < len(table) else -1]:.3f}" for values in dice.values()))


def _classes(network: Monch, inferer: Callable[..., Tensor], item: dict[str, Any]) -> Tensor:
    logits = inferer(torch.as_tensor(item["image"])[None], network).float()
    return class_map(logits, len(network.class_table))[0]


def _other_words(network: Monch, table: ClassTable, exchanged: dict[int, int]) -> Iterator[tuple[str, Monch]]:
    """The network by its own words and by each kind of others, through the file that a user would write."""
    made, held_out = network.provenance, [list(c.held_out) for c in table.classes]
    own = words_of(table, made.words.kind)
    kinds = {
        "held out": held_out,
        "held out, 1 to 3": [words[:LEAST_SENTENCES] for words in held_out],
        "held out, 4 to 6": [words[LEAST_SENTENCES : 2 * LEAST_SENTENCES] for words in held_out],
        "swapped": [own[exchanged.get(index, index)] for index in range(len(table))],
        "nonsense": [[f"{sentence}, number {c.index}." for sentence in NONSENSE] for c in table.classes],
    }
    yield "own", network.eval()
    if made.words.kind == "names":  # a file of words renames such weights' classes
        encoder = load_text_encoder(network.image_encoder, str(made.text_encoder), made.text_weights or RANDOM)
        for name, words in kinds.items():
            changed = copy.deepcopy(network).eval()
            of_each = [encoder.encode(sentences).mean(dim=0) for sentences in words]
            changed.text_features[: len(table)] = F.normalize(torch.stack(of_each), dim=-1)
            yield name, changed
        return
    for name, words in kinds.items():
        classes = [
            {"name": c.name, "color": list(c.color), "sentences": sentences}
            for c, sentences in zip(table.classes, words, strict=True)
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"name": name, "classes": classes}, file)
            file.flush()
            print(f"{name}: what the edit is said to cost", flush=True)
            yield name, reword(copy.deepcopy(network), words=file.name).network.eval()


def _other_directions(network: Monch, exchanged: dict[int, int]) -> Iterator[tuple[str, Monch]]:
    """The network by its own random directions, by those of two classes swapped, and by others."""
    own, classes = network.text_features, len(network.class_table)
    rows = torch.arange(len(own))
    rows[: LEAST_SENTENCES * classes] = torch.cat(
        [torch.arange(LEAST_SENTENCES) + LEAST_SENTENCES * exchanged.get(index, index) for index in range(classes)]
    )
    others = F.normalize(torch.randn(own.shape, generator=torch.Generator().manual_seed(1)), dim=-1)
    for name, features in {"own": own, "swapped": own[rows], "others": others}.items():
        changed = copy.deepcopy(network).eval()
        changed.text_features = features
        yield name, changed
