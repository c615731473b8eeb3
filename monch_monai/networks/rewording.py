"""Other words for a trained network's classes, and what they cost."""

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from monch_monai.class_table import ClassTable
from monch_monai.class_table.words_file import Wording, read_wording
from monch_monai.encoders import ImageEncoder, TextEncoder, load_text_encoder
from monch_monai.errors import InputError
from monch_monai.networks.monch import Monch
from monch_monai.networks.onnx import refuse_words_of_export
from monch_monai.networks.provenance import Provenance
from monch_monai.networks.wordings import by_class, words_of

logger = logging.getLogger(__name__)

ALIKE = 0.99
"""Least cosine of a sentence's features by the same text encoder on two machines."""
UNREADABLE = 0.5
"""Share of the least cosine of trained wordings below which words say nothing to the network."""
ROUNDING = 1e-3
"""Difference of cosines that means nothing."""


class WordCost(NamedTuple):
    """How far the words of a class are from those trained on.

    Attributes:
        name: of the class.
        cosine: mean over the class's sentences of that to the nearest wording that training drew.
        nearest: the wording nearest to one of the sentences.
        of: the class of that wording.
    """

    name: str
    cosine: float
    nearest: str
    of: str


class MergedClasses(nn.Module):
    """A network some of whose maps are one class: a merged class has the largest logit of its maps.

    Args:
        network: logits `[B, M, H, W]`.
        class_table: T classes.
        groups: indices of the maps of each class.
    """

    def __init__(self, network: Monch, class_table: ClassTable, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network, self.groups = network, [list(group) for group in groups]
        self._class_table = class_table

    @property
    def class_table(self) -> ClassTable:
        """The classes, in the order of the logits."""
        return self._class_table

    @property
    def provenance(self) -> Provenance:
        """The network's, with the merged classes."""
        return replace(self.network.provenance, class_table=self._class_table)

    @property
    def image_encoder(self) -> ImageEncoder:
        """The network's."""
        return self.network.image_encoder

    @property
    def mean(self) -> Sequence[float]:
        """The network's."""
        return self.network.mean

    @property
    def std(self) -> Sequence[float]:
        """The network's."""
        return self.network.std

    @property
    def reference_density(self) -> Tensor:
        """The network's."""
        return self.network.reference_density

    @property
    def distance_maps(self) -> int:
        """The network's."""
        return self.network.distance_maps

    def folded(self) -> "MergedClasses":
        """A copy for inference alone, see `Monch.folded`."""
        return MergedClasses(self.network.folded(), self._class_table, self.groups)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[B, T, H, W]` for normalised images `[B, 3, H, W]`, and the network's distance map."""
        logits = self.network(image)
        merged = torch.stack([logits[:, group].amax(dim=1) for group in self.groups], dim=1)
        return torch.cat([merged, logits[:, len(self.network.class_table) :]], dim=1)


class Rewording(NamedTuple):
    """A network with other words.

    Attributes:
        network: to be run.
        own: the same with the words that it was trained with; None where it has these.
        wording: the other words; None where it has its own.
        costs: of each class of nuclei.
    """

    network: nn.Module
    own: Monch | None = None
    wording: Wording | None = None
    costs: Sequence[WordCost] = ()

    @property
    def class_table(self) -> ClassTable:
        """The classes of the network's logits."""
        table: ClassTable = self.network.class_table  # type: ignore[assignment] # Monch's and MergedClasses's
        return table

    @property
    def suffix(self) -> str:
        """Ending of the name of a file that depends on the words; empty where the network has its own."""
        if self.wording is None:
            return ""
        tables = json.dumps([self.wording.table.to_dict(), self.wording.described.to_dict()])
        return f".{hashlib.sha256(tables.encode()).hexdigest()[:12]}"


def reword(
    network: nn.Module,
    checkpoint: str | Path | None = None,
    words: str | Path | None = None,
    text_weights: str = "published",
    onnx: str | Path | None = None,
) -> Rewording:
    """Gives a trained network other words, by the text encoder that it was trained with, and logs what they cost.

    A class whose words are unlike those trained on draws a warning; where they have nothing in common with any, the
    class finds nothing.

    Args:
        network: with its weights loaded; changed in place.
        checkpoint: file of the weights; only so that a config loads them first.
        words: file, see `read_wording`; None leaves the network as it is.
        text_weights: where the text encoder's weights are, see `initialise_weights`.
        onnx: an export that is to be run in place of the network, whose words cannot be changed.

    Raises:
        InputError: the words cannot be used or are for an export, the network has no words of a trained text encoder,
            or its text encoder cannot be found or is another.
    """
    if words is None:
        return Rewording(network)
    refuse_words_of_export(words, onnx)
    if not isinstance(network, Monch):
        raise InputError(f"words is a setting of MONCH, which {type(network).__name__} does not have: leave it out")
    wording, made = read_wording(words, network.class_table), network.provenance
    if made.text_encoder is None or made.text_weights is None:
        raise InputError(f"words {words} cannot be used: these weights were trained with random directions, not words")
    encoder = load_text_encoder(network.image_encoder, made.text_encoder, made.text_weights, text_weights)
    own = copy.deepcopy(network).eval().requires_grad_(False)
    of_classes = zip(words_of(own.class_table, made.words.kind), made.words.counts, strict=True)
    # Before 0.3.0 three features of a class were all of its name.
    trained = [of_class if len(of_class) == count else of_class * count for of_class, count in of_classes]
    _refuse_another(encoder, own, [of_class[0] for of_class in trained])
    features = own.text_features[: sum(made.words.counts)]
    try:
        kind = "names" if made.words.kind == "names" else "attributes"
        network.describe(wording.described, encoder, kind, trained=True)
    except ValueError as error:
        raise InputError(f"words {words} cannot be used: {error}") from error
    costs = [
        _cost(c.name, of_class, features, trained, own.class_table)
        for c, of_class in zip(
            wording.described.classes, by_class(network.text_features, network.provenance.words.counts), strict=True
        )
    ]
    low, high = _range(features, [len(of_class) for of_class in trained])
    least = UNREADABLE * low if made.words.axes else -1.0
    _report(costs, low, high, least)
    network.forget([index for index, cost in enumerate(costs) if cost.cosine < least])
    groups = wording.groups()
    is_plain = wording.described == wording.table
    whole = network if is_plain else MergedClasses(network, wording.table, groups)
    return Rewording(whole, own, wording, costs[1:])


def _refuse_another(encoder: TextEncoder, own: Monch, firsts: list[str]) -> None:
    """Refuses a text encoder that encodes the first words of each class otherwise than the one trained with did."""
    known, found = (
        torch.stack([of_class[0] for of_class in by_class(own.text_features, own.provenance.words.counts)]).cpu(),
        encoder.encode(firsts),
    )
    if known.shape != found.shape or (known * found).sum(dim=1).min() < ALIKE:
        made = own.provenance
        raise InputError(
            f"the words of these weights were encoded by {made.text_encoder} ({made.text_weights}), and text_weights "
            f"({encoder.origin}) encode them otherwise: give --text_weights the file that they were trained with"
        )


def _cost(name: str, sentences: Tensor, features: Tensor, trained: list[list[str]], table: ClassTable) -> WordCost:
    """Cost of the sentences `[S, D]` of a class, where `features [N, D]` are of the words trained with."""
    cosines = sentences @ features.T  # of unit vectors
    nearest = int(cosines.amax(dim=0).argmax())
    words = [(word, c.name) for c, of_class in zip(table.classes, trained, strict=True) for word in of_class]
    return WordCost(name, float(cosines.amax(dim=1).mean()), *words[nearest])


def _range(features: Tensor, counts: Sequence[int]) -> tuple[float, float]:
    """Least and largest cosine of a trained wording to the nearest other one of its class."""
    nearest: list[float] = []
    for of_class in features.split(list(counts)):
        cosines = (of_class @ of_class.T).fill_diagonal_(-1)
        nearest += cosines.amax(dim=1).tolist() if len(of_class) > 1 else [1.0]
    return min(nearest), max(nearest)


def _report(costs: Sequence[WordCost], low: float, high: float, least: float) -> None:
    of_trained = f"1 is the same; of each of these to the next it is {low:.2f} to {high:.2f}"
    logger.info("words: cosine of each class to the nearest wordings trained on (%s)", of_trained)
    for cost in costs[1:]:
        logger.info("  %-24s %.2f  nearest %r of %s", cost.name, cost.cosine, cost.nearest[:80], cost.of)
    for cost in costs:
        if cost.cosine < low - ROUNDING:
            logger.warning(
                "no wording like those of %s was trained (cosine %.2f, of trained ones at least %.2f): %s",
                cost.name, cost.cosine, low, "it finds nothing" if cost.cosine < least else "expect guesses",
            )  # fmt: skip
