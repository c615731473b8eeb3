"""The network."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.classes import CLASSES, PIXEL_SHARES
from monch_monai.encoders import ImageEncoder, TextEncoder
from monch_monai.encoders.instance_norm import normalisation
from monch_monai.errors import InputError
from monch_monai.networks.blocks import conv_norm_act
from monch_monai.networks.features import Fusion, MultiGrainedFeatures, Rescale
from monch_monai.networks.head import TextHead
from monch_monai.networks.prompt_decoder import QUERIES, PromptDecoder
from monch_monai.networks.provenance import CLASS_TABLE, Provenance, convert_earlier
from monch_monai.ops.choice import is_traced
from monch_monai.settings import flag


class Monch(nn.Module):
    """MONCH: multi-organ, multi-class nucleus segmentation from an image and words, with a single branch.

    `set_prompts` computes the text features once, and the state dict stores them: a checkpoint needs no text tower.
    Until then they are fixed random directions, one a sentence. The state dict also stores the provenance, and as
    `reference_density` the optical density `[3]` by channel of the tissue trained on, which darker images are lightened
    to; zeros where it was not measured.

    Args:
        image_encoder: its maps are the middle map and, where it has them, finer ones.
        num_classes: T, background included.
        channels: C, of all maps between encoder and head.
        head_channels: of the visual map that the text-made kernels meet.
        num_heads: attention heads of the decoder.
        k: neighbours of a node in the topological module.
        dilation: of its neighbourhood.
        cutoff: of the high-pass filter, a share of the spectrum.
        text_dim: D of the text features.
        num_sentences: sentences a class.
        class_priors: share of pixels of each class, where the logits start.
        mgfe: False uses the three scales unchanged in place of their features (Table 3).
        ppd: False fuses the three features by the fusion block instead of decoding (Table 3).
        high_pass: False puts a convolution in place of the high-frequency module (Table 4).
        topology: False puts a convolution in place of the topological module (Table 4).
        queries: the decoder's stages that are on (Table 5).
        middle_stride: of the middle map, one of the encoder's strides. Where it is finer than the coarsest, which is
            the default, the middle map is made of all maps from there on.

    Raises:
        InputError: a switch is neither true nor false, `channels` is not a multiple of 4 and of `num_heads`, a query is
            unknown, or the encoder has no map of `middle_stride`.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        num_classes: int = len(CLASSES),
        channels: int = 128,
        head_channels: int = 64,
        num_heads: int = 8,
        k: int = 9,
        dilation: int = 2,
        cutoff: float = 0.25,
        text_dim: int = 1024,
        num_sentences: int = 3,
        class_priors: Sequence[float] = PIXEL_SHARES,
        mgfe: bool = True,
        ppd: bool = True,
        high_pass: bool = True,
        topology: bool = True,
        queries: Sequence[str] = QUERIES,
        middle_stride: int | None = None,
    ) -> None:
        super().__init__()
        mgfe, ppd = flag("mgfe", mgfe), flag("ppd", ppd)  # a command line gives "false" as text
        high_pass, topology = flag("high_pass", high_pass), flag("topology", topology)
        if channels % 4 or channels % num_heads:
            raise InputError(f"channels must be a multiple of 4 and of num_heads = {num_heads}; got {channels}")
        strides = list(image_encoder.strides)
        middle_stride = strides[-1] if middle_stride is None else middle_stride
        if middle_stride not in strides:
            raise InputError(f"middle_stride must be one of the encoder's {strides}; got {middle_stride}")
        self.skips = strides.index(middle_stride)  # number of maps finer than the middle one
        self.num_classes = num_classes
        self.image_encoder = image_encoder
        self.project = conv_norm_act(sum(image_encoder.channels[self.skips :]), channels, kernel_size=1)
        self.rescale = Rescale(channels)
        self.features = (
            MultiGrainedFeatures(channels, high_pass, topology, cutoff, k, dilation) if mgfe else nn.Identity()
        )
        self.fusion = Fusion(channels)
        self.decoder = PromptDecoder(channels, text_dim, num_heads, queries) if ppd else None
        self.head = TextHead(channels, image_encoder.channels[: self.skips], text_dim, head_channels, class_priors)
        # The coarse map halves the middle one, and must hold a node for each of the k * dilation nearest.
        self.stride = math.lcm(2 * middle_stride, strides[-1], image_encoder.multiple)
        self.min_size = self.stride * math.ceil(math.sqrt(k * dilation))
        self.register_buffer("text_features", _directions(num_classes * num_sentences, text_dim))
        self.text_features: Tensor
        self._provenance = Provenance(image_encoder.name, classes=CLASS_TABLE if num_classes == len(CLASSES) else ())
        self.register_load_state_dict_pre_hook(_convert_earlier)  # type: ignore[no-untyped-call]
        self.register_buffer("reference_density", torch.zeros(3))
        self.reference_density: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Logits of each class at each pixel.

        Args:
            image: `[B, 3, H, W]`, normalised by the image encoder's mean and std; any H and W.

        Returns:
            `[B, T, H, W]` float32; `monch_monai.predict.class_map` turns them into classes.
        """
        padded = self.pad(image)
        maps = self.image_encoder(padded)
        skips, middle = maps[: self.skips], self.project(_joined(maps[self.skips :]))
        scales = self.rescale(middle)  # fine, middle, coarse
        features = self.features(scales)  # high, conv, topo
        if self.decoder is None:
            merged = self.fusion(features)
        else:
            merged = self.decoder(features, self.text_features, self.fusion(scales))
        logits = self.head(merged, skips, self.class_features())  # at the stride of its finest map
        logits = F.interpolate(logits.float(), size=padded.shape[-2:], mode="bilinear", align_corners=False)
        height, width = image.shape[-2:]
        if is_traced():
            return _resized(logits, height, width)
        return logits[..., :height, :width]

    def pad(self, image: Tensor) -> Tensor:
        """Image `[B, 3, H, W]` with its last row and column repeated up to whole strides and enough graph nodes."""
        height, width = image.shape[-2:]
        padded_height, padded_width = self._padded(height), self._padded(width)
        if is_traced():
            return _resized(image, padded_height, padded_width)
        return F.pad(image, (0, padded_width - width, 0, padded_height - height), mode="replicate")

    def _padded(self, size: Any) -> Any:
        """Whole strides that hold `size`: an int, or its symbol while a graph is made."""
        # The form is a multiple of the stride: an exporter without sizes can derive that each scale halves the last.
        strides, least = (size + self.stride - 1) // self.stride, self.min_size // self.stride
        return self.stride * (
            strides.clamp(min=least) if isinstance(strides, Tensor) else torch.sym_max(strides, least)
        )

    def class_features(self) -> Tensor:
        """Mean sentence feature of each class, `[T, D]`."""
        sentences: Tensor = self.text_features.unflatten(0, (self.num_classes, -1))
        return sentences.mean(dim=1)

    def use_text_dim(self, text_dim: int) -> None:
        """Takes text features of `text_dim` dimensions: where it is another, makes them and their layers anew, random.

        Their parameters are new objects, so this comes before an optimiser is made of them.
        """
        if text_dim != self.text_features.shape[1]:
            device = self.text_features.device
            if self.decoder is not None:
                self.decoder.use_text_dim(text_dim)
            self.head.use_text_dim(text_dim)
            self.text_features = _directions(len(self.text_features), text_dim)
            self.to(device)

    def set_prompts(self, prompts: Mapping[str, Sequence[str]], text_encoder: TextEncoder) -> None:
        """Replaces the text features by those of other sentences.

        Args:
            prompts: class name to its sentences, as many classes as the network has and in their order, each with as
                many sentences as the network was made for.
            text_encoder: turns sentences into features.

        Raises:
            ValueError: the number of classes, of sentences or of feature dimensions is not the network's, or the
                network is folded.
        """
        if self.head.folded is not None:
            raise ValueError("this network is folded to the prompts it has; give prompts to the one it was folded from")
        expected = self.text_features.shape[0] // self.num_classes
        counts = {name: len(sentences) for name, sentences in prompts.items()}
        if len(counts) != self.num_classes or set(counts.values()) != {expected}:
            raise ValueError(f"prompts need {self.num_classes} classes of {expected} sentences each; got {counts}")
        features = text_encoder.encode([sentence for sentences in prompts.values() for sentence in sentences])
        if features.shape != self.text_features.shape:
            taken = list(self.text_features.shape)
            raise ValueError(f"text features are {list(features.shape)}; the network takes {taken}")
        self.text_features.copy_(features)
        self.provenance = self.provenance.with_words(prompts, text_encoder.name, text_encoder.origin)

    def folded(self) -> "Monch":
        """A copy for inference alone, whose head is a plain convolution and whose prompts are fixed.

        Its logits are this network's in eval mode. Do not save it as a checkpoint: its state dict has other names.
        """
        copied = copy.deepcopy(self).eval().requires_grad_(False)
        copied.head.fold(copied.class_features())
        return copied

    @property
    def provenance(self) -> Provenance:
        """What the network was made of and how it was trained; the state dict stores it as a tensor of JSON."""
        return replace(self._provenance, normalisation=normalisation(self.image_encoder))

    @provenance.setter
    def provenance(self, record: Provenance) -> None:
        self._provenance = record

    def get_extra_state(self) -> Tensor:
        """The provenance as `torch.nn.Module.state_dict` stores it, uint8."""
        return self.provenance.to_tensor()

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the provenance from a state dict.

        Raises:
            InputError: `state` holds no provenance.
        """
        self._provenance = Provenance.from_tensor(state)


def _convert_earlier(network: Monch, state: dict[str, Any], prefix: str, *_: Any) -> None:
    convert_earlier(state, prefix)


def _directions(count: int, dim: int) -> Tensor:
    """`count` random unit vectors `[count, dim]`, always the same."""
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)), dim=-1)


def _joined(maps: Sequence[Tensor]) -> Tensor:
    """Maps `[B, c, H, W]`, concatenated along channels; all are resized to the first, which is the finest."""
    first, *coarser = maps
    size = first.shape[-2:]
    up = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in coarser]
    return torch.cat([first, *up], dim=1) if up else first


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    """`[..., H, W]` cropped to `[..., height, width]`, or its last row and column repeated up to there.

    By index, so that a graph made for all sizes need not distinguish the two cases.
    """
    for dim, size in ((-2, height), (-1, width)):
        x = x.index_select(dim, torch.arange(size, device=x.device).clamp(max=x.shape[dim] - 1))
    return x
