"""CLIP's text encoder, frozen."""

from collections.abc import Sequence

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor

CONTEXT_LENGTH = 77


class ClipText:
    """Sentences to text features, by the text tower of a CLIP model.

    Args:
        clip: the model; it is used as it is and never trained.
    """

    def __init__(self, clip: CLIP) -> None:
        self.clip = clip.eval()

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Features `[N, D]` of `N` sentences: CLIP's end-of-text embedding (D = 1024 for RN50), of length 1.

        Raises:
            ValueError: a sentence has more than 77 tokens with its start and end, which CLIP would cut off silently.
        """
        tokenize = open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)
        for sentence in sentences:
            tokens = len(tokenize.encode(sentence)) + 2
            if tokens > CONTEXT_LENGTH:
                raise ValueError(
                    f"a prompt has {tokens} tokens; CLIP reads {CONTEXT_LENGTH}: shorten {sentence[:40]!r} …"
                )
        return F.normalize(self.clip.encode_text(tokenize(list(sentences))).float(), dim=-1)
