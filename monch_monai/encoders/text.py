"""Text encoders, frozen: sentences in, features out."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU, TextTransformer
from tokenizers import Tokenizer
from torch import Tensor, nn

from monch_monai.encoders.origin import RANDOM, Origin
from monch_monai.errors import InputError, one_line


class TextEncoder:
    """A text tower with its tokeniser; never trained.

    Attributes:
        name: of the model it belongs to.
        dim: D of its features.
        context_length: most tokens it reads, start and end included.
        tower: turns tokens `[N, context_length]`, filled up with 0, into features `[N, D]`.
        origin: where the tower's weights came from.
    """

    name: str
    dim: int
    context_length: int
    tower: nn.Module
    origin: Origin = RANDOM

    def tokens(self, sentence: str) -> list[int]:
        """Tokens of a sentence, start and end included."""
        raise NotImplementedError

    def use_files(self, folder: Path) -> None:
        """Finds other files that were published with the weights, in the `folder` that holds these."""

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Features `[N, D]` of `N` sentences, each of Euclidean length 1.

        Raises:
            InputError: a sentence has more tokens than the tower reads; they would be cut off silently.
        """
        rows = torch.zeros(len(sentences), self.context_length, dtype=torch.long)
        for row, sentence in zip(rows, sentences, strict=True):
            tokens = self.tokens(sentence)
            if len(tokens) > self.context_length:
                reads = f"{self.name} reads {self.context_length}"
                raise InputError(f"a prompt has {len(tokens)} tokens; {reads}: shorten {sentence[:40]!r} …")
            row[: len(tokens)] = torch.tensor(tokens)
        return F.normalize(self.tower.eval()(rows).float(), dim=-1)


_clip_tokenizer = cache(open_clip.SimpleTokenizer)
"""The vocabulary of all CLIP models, read once."""


class ClipText(TextEncoder):
    """The text tower of a CLIP model, whose feature is that of the end-of-text token (built by open_clip).

    Args:
        model: open_clip's name of the model.
        sizes: of its text tower, where they are not the model's.
    """

    def __init__(self, model: str = "RN50", **sizes: Any) -> None:
        config = open_clip.get_model_config(f"{model}-quickgelu")  # all that OpenAI published has this activation
        text = config["text_cfg"] | sizes
        self.name = f"clip_{model.lower().replace('-', '_')}"
        self.dim, self.context_length = config["embed_dim"], text["context_length"]
        self.tower = TextTransformer(**text, output_dim=self.dim, act_layer=QuickGELU)

    def tokens(self, sentence: str) -> list[int]:
        """CLIP's byte-pair tokens."""
        tokenizer = _clip_tokenizer()
        return [tokenizer.sot_token_id, *tokenizer.encode(sentence), tokenizer.eot_token_id]


class VocabularyText(TextEncoder):
    """A text tower whose vocabulary is a file beside its weights, in the format of the package tokenizers.

    Attributes:
        vocabulary: name of the file.
        source: where to copy it from.
    """

    vocabulary: str
    source: str
    _tokenizer: Tokenizer | None = None

    def use_files(self, folder: Path) -> None:
        """Reads the vocabulary beside the weights.

        Raises:
            InputError: `folder` does not hold the vocabulary, or it cannot be read.
        """
        path = folder / self.vocabulary
        if not path.is_file():
            remedy = f"copy {self.vocabulary} of {self.source} to {folder}"
            raise InputError(f"the vocabulary of {self.name} is not beside its weights: {remedy}")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises no narrower class
            raise InputError(
                f"the vocabulary {path} cannot be read ({one_line(error)}): copy it again from {self.source}"
            ) from error
        self._tokenizer.no_truncation()  # `encode` refuses what is too long
        self._tokenizer.no_padding()

    def tokens(self, sentence: str) -> list[int]:
        """Tokens by the vocabulary; without one, as for random weights, the sentence's bytes."""
        if self._tokenizer is None:
            return [*sentence.encode()][: self.context_length]
        return list(self._tokenizer.encode(sentence).ids)


class ConchText(VocabularyText):
    """CONCH's text tower, whose feature is that of a class token after the sentence (built by open_clip).

    Its vocabulary is a file of CONCH's source repository, which must be in the folder of the weights.

    Args:
        sizes: of the tower, where they are not CONCH's.
    """

    vocabulary = "conch_byte_level_bpe_uncased.json"
    source = "conch/open_clip_custom/tokenizers of https://github.com/mahmoodlab/CONCH"

    def __init__(self, **sizes: Any) -> None:
        self.name, self.dim, self.context_length = "conch", 512, 127  # the class token is the 128th
        published = {"context_length": 127, "vocab_size": 32007, "width": 768, "heads": 12, "layers": 12}
        self.tower = TextTransformer(**{**published, **sizes}, output_dim=self.dim, embed_cls=True)
