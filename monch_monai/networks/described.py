"""What a network records of its classes: their table, the text features of their words, and its provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from monch_monai.class_table import ClassTable
from monch_monai.encoders import ImageEncoder, TextEncoder
from monch_monai.encoders.normalisation import normalisation
from monch_monai.networks.head import TextHead
from monch_monai.networks.prompt_decoder import PromptDecoder
from monch_monai.networks.provenance import Provenance, Recorded, Words, convert_earlier, read_provenance
from monch_monai.networks.wordings import (
    MOST_AXES,
    along,
    by_class,
    carried_over,
    filled_up,
    principal_axes,
    random_directions,
    some_of_each,
    stored_logits,
    words_of,
)

NEVER = 50.0
"""A starting logit that no pixel overcomes."""


class DescribedNetwork(Recorded):
    """A network whose classes are words.

    `describe` computes the text features of a class table once, and the state dict stores them: a checkpoint needs no
    text tower. Until then they are fixed random directions, three a class. The network becomes that of any state dict
    that it loads, and takes its classes and features; the state dict stores them with the provenance.

    Deviation: features are taken less their mean and along the principal axes of the words trained on, `text_axes`, so
    that other words for a class are near its own. The kernel of a class is made of a mean: in training of the three
    sentences drawn, else of all that it has.

    Args:
        encoder: name of the image encoder.
        class_table: T classes, background included.
        text_dim: D of the text features.
    """

    image_encoder: ImageEncoder
    architecture: Mapping[str, Any]
    decoder: PromptDecoder | None
    head: TextHead

    def __init__(self, encoder: str, class_table: ClassTable, text_dim: int) -> None:
        super().__init__()
        words = Words("random", (3,) * len(class_table))
        self.register_buffer("text_features", filled_up(random_directions(sum(words.counts), text_dim)))
        self.text_features: Tensor
        self.register_buffer("text_axes", torch.zeros(1 + MOST_AXES, text_dim))
        self.text_axes: Tensor
        self._provenance = Provenance(encoder, words=words, class_table=class_table)
        self.register_load_state_dict_pre_hook(_fit_state)  # type: ignore[no-untyped-call]

    def sentences(self) -> Tensor:
        """Features `[T, S, D]` of the sentences that describe each class: in training drawn anew, else the first."""
        words = self._provenance.words
        drawn = some_of_each(self.text_features, words.counts, draw=self.training and words.kind != "random")
        return along(self.text_axes, drawn) if words.axes else drawn

    def class_features(self, sentences: Tensor) -> Tensor:
        """Feature `[T, D]` that makes each class's kernel, where `sentences [T, S, D]` were drawn."""
        words = self._provenance.words
        if not words.axes:
            return sentences.mean(dim=1)
        if self.training:
            return F.normalize(sentences.mean(dim=1), dim=-1)
        of_each = by_class(self.text_features, words.counts)
        return along(self.text_axes, torch.stack([of_class.mean(dim=0) for of_class in of_each]))

    @property
    def class_table(self) -> ClassTable:
        """The classes, in the order of the maps."""
        return self._provenance.class_table

    def become_that_of(self, stored: Provenance, insist: bool = True) -> bool:
        """Changes this network, in place, to the one of a record; returns whether it was changed."""
        raise NotImplementedError

    def use_text_dim(self, text_dim: int) -> None:
        """Takes text features of `text_dim` dimensions: where it is another, makes them and their layers anew, random.

        Their parameters are new objects, so this comes before an optimiser is made of them.
        """
        if text_dim != self.text_features.shape[1]:
            device = self.text_features.device
            if self.decoder is not None:
                self.decoder.use_text_dim(text_dim)
            self.head.use_text_dim(text_dim)
            self.text_features = filled_up(random_directions(sum(self._provenance.words.counts), text_dim))
            self.text_axes = torch.zeros(1 + MOST_AXES, text_dim)
            self.to(device)

    def describe(
        self, class_table: ClassTable, text_encoder: TextEncoder, words: str = "attributes", trained: bool = False
    ) -> None:
        """Takes the classes of a table, and the text features of its words.

        A class keeps the starting logit of the one of its name, else of the class of PanNuke that it is a kind of.

        Args:
            class_table: classes, of any number.
            text_encoder: turns sentences into features.
            words: `attributes`, all sentences of each class; `fixed`, the first three; or `names` alone.
            trained: whether the network keeps the principal axes of the words that it was trained on.

        Raises:
            ValueError: the encoder's features have another dimension than the network's, a sentence has more tokens
                than it reads, or the network is folded.
        """
        if self.head.folded is not None:
            raise ValueError("this network is folded to the words it has; describe the one it was folded from")
        of_class = words_of(class_table, words)
        features = text_encoder.encode([sentence for sentences in of_class for sentence in sentences])
        if features.shape[1] != self.text_features.shape[1]:
            taken = self.text_features.shape[1]
            raise ValueError(f"text features have {features.shape[1]} numbers; the network takes {taken}")
        self.head.prior.copy_(carried_over(self.head.prior, self.class_table, class_table))
        self.text_features = filled_up(features).to(self.text_features)
        axes = self.provenance.words.axes
        if not trained:
            found = principal_axes(features, len(class_table))
            axes = len(found) - 1
            self.text_axes = F.pad(found, (0, 0, 0, MOST_AXES - axes)).to(self.text_axes)
        made = self.provenance.with_words(class_table, of_class, words, text_encoder)
        self.provenance = replace(made, words=replace(made.words, axes=axes))

    def forget(self, classes: Sequence[int]) -> None:
        """Takes the words of some classes away: they find nothing, and nothing is found without the background's.

        Their features become the mean of all words trained on, of which `along` leaves nothing.
        """
        of_each = by_class(self.text_features, self._provenance.words.counts)
        for index in classes:
            of_each[index].copy_(self.text_axes[0])
            self.head.prior[index] = -NEVER
        if 0 in classes or len(set(classes)) >= len(of_each) - 1:
            self.head.prior[0] = NEVER

    @property
    def provenance(self) -> Provenance:
        """What the network was made of and how it was trained; the state dict stores it as a tensor of JSON."""
        normalised = {"normalisation": normalisation(self.image_encoder)}
        return replace(self._provenance, architecture={**self.architecture, **normalised})

    @provenance.setter
    def provenance(self, record: Provenance) -> None:
        self._provenance = record


def _fit_state(network: DescribedNetwork, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Brings a state dict of an earlier version into this one's form, and the network into that of the state dict."""
    convert_earlier(state, prefix)
    if (stored := read_provenance(state, prefix)) is not None:
        network.become_that_of(stored, insist=False)
    features, prior = f"{prefix}text_features", f"{prefix}head.prior"
    if prior in state:
        state[prior] = stored_logits(state[prior])
    if features in state:
        state[features] = filled_up(state[features])
        if state[features].ndim == 2:
            network.use_text_dim(state[features].shape[1])
            network.text_features = network.text_features.new_zeros(state[features].shape)
            state.setdefault(f"{prefix}text_axes", torch.zeros_like(network.text_axes))
