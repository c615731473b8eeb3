"""Where the words act in a tile: the decoder's attention to each sentence, and the head's response to it."""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.errors import InputError
from monch_monai.networks import Monch
from monch_monai.networks.prompt_decoder import CrossAttention

Maps = NDArray[np.float32]
STAGE = "topo"
"""The decoder's stage whose query attends to the sentences, q_t of Table 5."""


@dataclass(frozen=True)
class WordMaps:
    """Maps of one tile, by T classes in the order of the class table, and S sentences of each.

    Args:
        captions: S a class: its sentences; its name, or the number of a direction, where the words are not sentences.
        logits: of each class `[T, H, W]`, those of the network.
        responses: the logit of each sentence alone `[T, S, H, W]`.
        attention: to each sentence `[T, S, h, w]`, which sums to 1 at each place; None where no stage attends to words.
    """

    captions: tuple[tuple[str, ...], ...]
    logits: Maps
    responses: Maps
    attention: Maps | None

    @property
    def class_attention(self) -> Maps | None:
        """Attention to each class `[T, h, w]`, summed over its sentences."""
        return None if self.attention is None else self.attention.sum(axis=1)


def word_maps(network: Monch, image: Tensor) -> WordMaps:
    """Attention to each sentence, and the head's response to it.

    Inference computes neither. Hooks keep what a pass gives to the stage of words and to the head, and both are
    computed from that afterwards. The network is put into evaluation.

    Args:
        network: with the words that its maps are to be of.
        image: `[1, 3, H, W]`, normalised.

    Returns:
        Maps without the border that the network adds; attention is of the fine map, the rest of the image's size.

    Raises:
        InputError: the network is folded.
    """
    head = network.head
    if head.folded is not None:
        raise InputError("the network is folded, which keeps no words: use the network that it was folded from")
    stage: Any = network.decoder.attend[STAGE] if network.decoder and STAGE in network.decoder.attend else None
    seen: dict[str, Any] = {}
    with ExitStack() as hooks, torch.inference_mode():
        hooks.enter_context(head.visual[-1].register_forward_hook(lambda *call: seen.update(visual=call[-1])))
        hooks.enter_context(network.features.register_forward_hook(lambda *call: seen.update(high=call[-1][0])))
        if stage is not None:
            hooks.enter_context(stage.register_forward_hook(lambda *call: seen.update(asked=call[1][:2])))
        logits = network.eval()(image)[0, : len(network.class_table)]
        text = network.sentences()
        size, padded = image.shape[-2:], network.pad(image).shape[-2:]
        made = [_response(network, seen["visual"], text[:, s], padded) for s in range(text.shape[1])]
        responses = torch.stack(made, dim=1)[..., : size[0], : size[1]]
        attention = None
        if stage is not None:
            weights = attention_weights(stage, *seen["asked"])[0]  # [N, T * S]
            grid = seen["high"].shape[-2:]  # of the decoder's query
            rows, columns = (math.ceil(c * s / p) for c, s, p in zip(grid, size, padded, strict=True))
            by_sentence = weights.mT.unflatten(1, grid).unflatten(0, text.shape[:2])
            attention = by_sentence[..., :rows, :columns].cpu().numpy()
    return WordMaps(captions(network), logits.cpu().numpy(), responses.cpu().numpy(), attention)


def attention_weights(stage: CrossAttention, query: Tensor, source: Tensor) -> Tensor:
    """Weights `[B, N, M]` by which each of N places attends to each of M sentences: Eq. (7), mean over heads.

    `softmax(g_q(F) g_k(F^T)^T / sqrt(d_k))`, where `F` is the query `[B, N, C]`, `F^T` the source `[B, M, D]`, both
    layer-normalised, and `d_k` the channels of a head. Sentences have no positions.
    """
    asked: tuple[Tensor, Tensor] = (stage.g_q(stage.norm_query(query)), stage.g_k(stage.norm_source(source)))
    q, k = (x.unflatten(-1, (stage.num_heads, -1)).transpose(1, 2) for x in asked)  # [B, heads, N or M, C / heads]
    weights: Tensor = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1).mean(dim=1)
    return weights


def captions(network: Monch) -> tuple[tuple[str, ...], ...]:
    """What to call each sentence that describes a class in evaluation, by class."""
    number, kind = network.sentences().shape[1], network.provenance.words.kind
    if kind == "random":
        return (tuple(f"direction {n}" for n in range(1, number + 1)),) * len(network.class_table)
    return tuple((c.name,) if kind == "names" else c.sentences[:number] for c in network.class_table.classes)


def _response(network: Monch, visual: Tensor, text: Tensor, size: torch.Size) -> Tensor:
    """Logits `[T, H, W]` of one sentence a class, `text [T, D]`, at the padded `size`: Eq. (8) with `F_T` of it alone.

    A kernel is linear in the text feature. So of random directions, where the class's feature is the mean of its
    sentences', the mean of their responses is the class's logit.
    """
    weights, bias = network.head.kernels(text)
    logits = F.conv2d(visual, weights, bias, padding=1)
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)[0]
