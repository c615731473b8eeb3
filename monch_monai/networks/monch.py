"""The network."""

import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.encoders import DEFAULT_ENCODER, ENCODERS, ImageEncoder
from monch_monai.errors import InputError
from monch_monai.networks.blocks import conv_norm_act, joined, resized
from monch_monai.networks.described import DescribedNetwork
from monch_monai.networks.features import Fusion, MultiGrainedFeatures, Rescale
from monch_monai.networks.head import TextHead
from monch_monai.networks.prompt_decoder import QUERIES, PromptDecoder
from monch_monai.networks.provenance import Provenance
from monch_monai.networks.wordings import starting_logits
from monch_monai.ops.choice import is_traced
from monch_monai.settings import flag


class Monch(DescribedNetwork):
    """MONCH: multi-organ, multi-class nucleus segmentation from an image and words, with a single branch.

    No parameter depends on the classes, which `DescribedNetwork` keeps. A network with the paper's encoder and settings
    becomes, by `load_state_dict`, that of the state dict (`become_that_of`). The state dict also stores as
    `reference_density` the optical density `[3]` by channel of the tissue trained on, which darker images are lightened
    to; zeros where it was not measured.

    Args:
        image_encoder: its maps are the middle map and, where it has them, finer ones.
        class_table: T classes, background included.
        channels: C, of all maps between encoder and head.
        head_channels: of the visual map that the text-made kernels meet.
        num_heads: attention heads of the decoder.
        k: neighbours of a node in the topological module.
        dilation: of its neighbourhood.
        cutoff: of the high-pass filter, a share of the spectrum.
        text_dim: D of the text features.
        class_shares: share of pixels of each class; the logits start at that of the background and at equal shares of
            the rest, so that the first steps are not spent on learning that most of tissue is background. None is a
            fifth for nuclei.
        mgfe: False uses the three scales unchanged in place of their features (Table 3).
        ppd: False fuses the three features by the fusion block instead of decoding (Table 3).
        high_pass: False puts a convolution in place of the high-frequency module (Table 4).
        topology: False puts a convolution in place of the topological module (Table 4).
        queries: the decoder's stages that are on (Table 5).
        middle_stride: of the middle map, one of the encoder's strides. Where it is finer than the coarsest, which is
            the default, the middle map is made of all maps from there on.
        distance: whether a map of the normalised distance to the nucleus's edge follows those of the classes, by which
            nuclei that touch are separated.
        blend_pool: 2 lets the decoder's last stage attend to means of 2x2 cells of the blend, in a quarter of the time.

    Raises:
        InputError: a switch is neither true nor false, `channels` is not a multiple of 4 and of `num_heads`, a query is
            unknown, or the encoder has no map of `middle_stride`.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        class_table: ClassTable = PANNUKE,
        channels: int = 128,
        head_channels: int = 64,
        num_heads: int = 8,
        k: int = 9,
        dilation: int = 2,
        cutoff: float = 0.25,
        text_dim: int = 1024,
        class_shares: Sequence[float] | None = None,
        mgfe: bool = True,
        ppd: bool = True,
        high_pass: bool = True,
        topology: bool = True,
        queries: Sequence[str] = QUERIES,
        middle_stride: int | None = None,
        distance: bool = False,
        blend_pool: int = 1,
    ) -> None:
        mgfe, ppd = flag("mgfe", mgfe), flag("ppd", ppd)  # a command line gives "false" as text
        high_pass, topology = flag("high_pass", high_pass), flag("topology", topology)
        distance = flag("distance", distance)
        super().__init__(image_encoder.name, class_table, text_dim)
        self.architecture = {
            "channels": channels, "head_channels": head_channels, "num_heads": num_heads, "k": k, "dilation": dilation,
            "cutoff": cutoff, "mgfe": mgfe, "ppd": ppd, "high_pass": high_pass, "topology": topology,
            "queries": list(queries), "middle_stride": middle_stride, "distance": distance, "blend_pool": blend_pool,
        }  # fmt: skip
        if channels % 4 or channels % num_heads:
            raise InputError(f"channels must be a multiple of 4 and of num_heads = {num_heads}; got {channels}")
        strides = list(image_encoder.strides)
        middle_stride = strides[-1] if middle_stride is None else middle_stride
        if middle_stride not in strides:
            raise InputError(f"middle_stride must be one of the encoder's {strides}; got {middle_stride}")
        self.skips = strides.index(middle_stride)  # number of maps finer than the middle one
        self.image_encoder = image_encoder
        self.project = conv_norm_act(sum(image_encoder.channels[self.skips :]), channels, kernel_size=1)
        self.rescale = Rescale(channels)
        self.features = (
            MultiGrainedFeatures(channels, high_pass, topology, cutoff, k, dilation) if mgfe else nn.Identity()
        )
        self.fusion = Fusion(channels)
        self.decoder = PromptDecoder(channels, text_dim, num_heads, queries, blend_pool) if ppd else None
        self.head = TextHead(channels, image_encoder.channels[: self.skips], text_dim, head_channels, distance)
        self.head.prior.copy_(starting_logits(class_shares, len(class_table)))
        # The coarse map halves the middle one, and must hold a node for each of the k * dilation nearest.
        self.stride = math.lcm(2 * middle_stride, strides[-1], image_encoder.multiple)
        self.min_size = self.stride * math.ceil(math.sqrt(k * dilation))
        self.register_buffer("reference_density", torch.zeros(3))
        self.reference_density: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Logits of each class at each pixel.

        Args:
            image: `[B, 3, H, W]`, normalised by the image encoder's mean and std; any H and W.

        Returns:
            `[B, T, H, W]` float32, or `[B, T + 1, H, W]` with the distance map; `monch_monai.predict.classify` turns
            them into classes.
        """
        padded = self.pad(image)
        maps = self.image_encoder(padded)
        skips, middle = maps[: self.skips], self.project(joined(maps[self.skips :]))
        scales = self.rescale(middle)  # fine, middle, coarse
        features = self.features(scales)  # high, conv, topo
        text = self.sentences()
        if self.decoder is None:
            merged = self.fusion(features)
        else:
            merged = self.decoder(features, text.flatten(0, 1), self.fusion(scales))
        logits = self.head(merged, skips, self.class_features(text))  # at the stride of its finest map
        logits = F.interpolate(logits.float(), size=padded.shape[-2:], mode="bilinear", align_corners=False)
        height, width = image.shape[-2:]
        if is_traced():
            return resized(logits, height, width)
        return logits[..., :height, :width]

    @property
    def distance_maps(self) -> int:
        """1 where a distance map follows those of the classes, else 0."""
        return int(self.architecture["distance"])

    @property
    def mean(self) -> Sequence[float]:
        """Of images, by channel, of values in [0, 1]: what the image encoder was trained on."""
        return self.image_encoder.mean

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of the same."""
        return self.image_encoder.std

    def become_that_of(self, stored: Provenance, insist: bool = True) -> bool:
        """Changes this network, in place, to the one of a record, where its own settings are the paper's.

        Its parameters are new objects then, with random weights, so this comes before an optimiser is made of them.

        Args:
            stored: the record of a checkpoint.
            insist: refuses a network with settings of its own that are not the record's; else leaves it as it is.

        Returns:
            Whether the network was changed.

        Raises:
            InputError: `insist`, and a setting is neither the paper's nor the record's.
        """
        own, encoder = self.architecture, self.provenance.encoder
        theirs = {name: stored.architecture.get(name, value) for name, value in own.items()}  # earlier: none recorded
        own_alone = [name for name, value in own.items() if value not in (PAPERS[name], theirs[name])]
        if own_alone and insist:
            name = own_alone[0]
            found = f"has {name} {theirs[name]}, the config's network {own[name]}"
            raise InputError(f"{found}: leave network_def#{name} out, for a checkpoint brings its own")
        other = encoder == DEFAULT_ENCODER and stored.encoder != encoder and stored.encoder in ENCODERS
        if own_alone or not (other or theirs != own):
            return False
        image_encoder = ENCODERS[stored.encoder]() if other else self.image_encoder
        table, dim = self.class_table, self.text_features.shape[1]
        training, device = self.training, self.text_features.device
        Monch.__init__(self, image_encoder, table, text_dim=dim, **theirs)
        self.train(training).to(device)
        return True

    def pad(self, image: Tensor) -> Tensor:
        """Image `[B, 3, H, W]` with its last row and column repeated up to whole strides and enough graph nodes."""
        height, width = image.shape[-2:]
        padded_height, padded_width = self._padded(height), self._padded(width)
        if is_traced():
            return resized(image, padded_height, padded_width)
        return F.pad(image, (0, padded_width - width, 0, padded_height - height), mode="replicate")

    def _padded(self, size: Any) -> Any:
        """Whole strides that hold `size`: an int, or its symbol while a graph is made."""
        # The form is a multiple of the stride: an exporter without sizes can derive that each scale halves the last.
        strides, least = (size + self.stride - 1) // self.stride, self.min_size // self.stride
        return self.stride * (
            strides.clamp(min=least) if isinstance(strides, Tensor) else torch.sym_max(strides, least)
        )

    def folded(self) -> "Monch":
        """A copy for inference alone, whose head is a plain convolution and whose words are fixed.

        Its logits are this network's in eval mode. Do not save it as a checkpoint: its state dict has other names.
        """
        copied = copy.deepcopy(self).eval().requires_grad_(False)
        copied.head.fold(copied.class_features(copied.sentences()))
        return copied


BESIDE = ("self", "image_encoder", "class_table", "text_dim", "class_shares")
PAPERS: Mapping[str, Any] = {
    name: list(p.default) if isinstance(p.default, tuple) else p.default
    for name, p in inspect.signature(Monch.__init__).parameters.items()
    if name not in BESIDE
}
"""The paper's architecture, as `Monch.architecture` has it; its encoder is CLIP RN50."""
