"""PPD: the progressive prompt decoder."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.errors import InputError
from monch_monai.networks.blocks import conv_norm_act
from monch_monai.networks.features import Scales

QUERIES = ("high", "conv", "topo", "text")
"""The stages by the level of their query: q_h, q_v, q_t, q_T of Table 5."""


class PromptDecoder(nn.Module):
    """Progressive prompt decoder: four times a query attends to the next feature, then merges with the blend (Fig. 2).

    `q = attend(F^h, F^v)`, `attend(q, F^t)`, `attend(q, F^T)`, `attend(q, blend)`; `merged = merge(q, blend)`.

    Args:
        channels: C.
        text_dim: D of the sentence features.
        num_heads: attention heads, a divisor of C.
        queries: the stages that are on, of `QUERIES`. One that is off leaves the query unchanged (Table 5).
        blend_pool: side of the squares of the blend whose means the last stage attends to. Deviation: where above 1.

    Raises:
        InputError: a name in `queries` is not in `QUERIES`.
    """

    def __init__(
        self, channels: int, text_dim: int, num_heads: int, queries: Sequence[str], blend_pool: int = 1
    ) -> None:
        super().__init__()
        unknown = sorted(set(queries) - set(QUERIES))
        if unknown:
            raise InputError(f"queries must be of {list(QUERIES)}; got {unknown}")
        source_dims = dict(zip(QUERIES, (channels, channels, text_dim, channels), strict=True))
        self.attend = nn.ModuleDict(
            {name: CrossAttention(channels, dim, num_heads) for name, dim in source_dims.items() if name in queries}
        )
        self.merge = conv_norm_act(2 * channels, channels)
        self.channels, self.num_heads, self.blend_pool = channels, num_heads, blend_pool

    def use_text_dim(self, text_dim: int) -> None:
        """Makes the stage that attends to text anew, for sentence features of `text_dim` dimensions."""
        if "topo" in self.attend:
            self.attend["topo"] = CrossAttention(self.channels, text_dim, self.num_heads)

    def forward(self, features: Scales, text: Tensor, blend: Tensor) -> Tensor:
        """Merged feature `[B, C, 2H, 2W]`.

        Features are `F^h [B, C, 2H, 2W]`, `F^v [B, C, H, W]`, `F^t [B, C, H/2, W/2]`; `text` are the sentences'
        `F^T [N, D]`, and the blend is `[B, C, 2H, 2W]`.
        """
        high, conv, topo = features
        grid = high.shape[-2:]
        q, at = _tokens(high), _positions(high, stride=1)  # [B, N, C], [N, C]
        if "high" in self.attend:
            q = self.attend["high"](q, _tokens(conv), at, _positions(conv, stride=2))
        if "conv" in self.attend:
            q = self.attend["conv"](q, _tokens(topo), at, _positions(topo, stride=4))
        if "topo" in self.attend:
            q = self.attend["topo"](q, text.expand(q.shape[0], -1, -1))
        if "text" in self.attend:
            pooled = F.avg_pool2d(blend, self.blend_pool) if self.blend_pool > 1 else blend
            q = self.attend["text"](q, _tokens(pooled), at, _positions(pooled, stride=self.blend_pool))
        merged: Tensor = self.merge(torch.cat([q.mT.unflatten(2, grid), blend], dim=1))
        return merged


class CrossAttention(nn.Module):
    """One stage: multi-head attention of a query to a source, Eq. (7), added to the query.

    Both sides are layer-normalised first. Positions of maps are added to query and key, as in CRIS (Wang et al.,
    2022), since attention alone ignores where a token is; sentences have no positions.
    """

    def __init__(self, channels: int, source_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(channels)
        self.norm_source = nn.LayerNorm(source_dim)
        self.num_heads = num_heads
        self.g_q = nn.Linear(channels, channels)
        self.g_k = nn.Linear(source_dim, channels)
        self.g_v = nn.Linear(source_dim, channels)
        self.out = nn.Linear(channels, channels)

    def extra_repr(self) -> str:
        """Settings that shapes of parameters do not show."""
        return f"num_heads={self.num_heads}"

    def forward(
        self, query: Tensor, source: Tensor, at: Tensor | None = None, source_at: Tensor | None = None
    ) -> Tensor:
        """`query [B, N, C]`, `source [B, M, D]` and their positions `[N, C]`, `[M, D]` to `[B, N, C]`."""
        q, k = self.norm_query(query), self.norm_source(source)
        v = k
        if at is not None and source_at is not None:
            q, k = q + at, k + source_at
        q, k, v = self._heads(self.g_q(q)), self._heads(self.g_k(k)), self._heads(self.g_v(v))  # [B, heads, N, C/heads]
        found = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # [B, N, C]
        out: Tensor = query + self.out(found)
        return out

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return heads


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).mT


def _positions(x: Tensor, stride: int) -> Tensor:
    """Sine-cosine positions `[H * W, C]` of a map's cells, in cells of the finest map, so that scales agree."""
    channels, (height, width) = x.shape[1], x.shape[-2:]
    quarter = channels // 4
    frequency = torch.exp(torch.arange(quarter, device=x.device) * (-math.log(10000.0) / quarter))  # [C/4]
    y = (torch.arange(height, device=x.device) + 0.5)[:, None] * stride * frequency  # [H, C/4]
    x_ = (torch.arange(width, device=x.device) + 0.5)[:, None] * stride * frequency  # [W, C/4]
    y = torch.cat([y.sin(), y.cos()], dim=-1)[:, None].expand(-1, width, -1)
    x_ = torch.cat([x_.sin(), x_.cos()], dim=-1)[None].expand(height, -1, -1)
    return torch.cat([y, x_], dim=-1).flatten(0, 1).to(x.dtype)
