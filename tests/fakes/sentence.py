"""A small sentence encoder, in the files that the published one has."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

SIZES = {"vocab_size": 32, "positions": 512, "width": 24, "heads": 2, "layers": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklm", *(f"##{letter}" for letter in "abcdefghijklm"), ".", ","]


def bert_state(seed: int = 0) -> dict[str, Tensor]:
    """Tensors under transformers' names, of the sizes `SIZES`."""
    width, generator = SIZES["width"], torch.Generator().manual_seed(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (SIZES["vocab_size"], width),
        "embeddings.position_embeddings.weight": (SIZES["positions"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    linear = {"attention.self.query": (width, width), "attention.self.key": (width, width),
              "attention.self.value": (width, width), "attention.output.dense": (width, width),
              "intermediate.dense": (4 * width, width), "output.dense": (width, 4 * width)}  # fmt: skip
    for layer in (f"encoder.layer.{number}" for number in range(SIZES["layers"])):
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{layer}.{name}.weight": (width,), f"{layer}.{name}.bias": (width,)}
    shapes |= {"pooler.dense.weight": (width, width), "pooler.dense.bias": (width,)}
    state = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return state | {"embeddings.position_ids": torch.arange(SIZES["positions"])[None]}


def write_sentence_encoder(folder: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Writes config, tensors and tokenizer; the tokenizer cuts off and fills up at 128 tokens, as the published one."""
    folder.mkdir(exist_ok=True)
    config = {
        "model_type": "bert", "vocab_size": SIZES["vocab_size"], "max_position_embeddings": SIZES["positions"],
        "hidden_size": SIZES["width"], "num_attention_heads": SIZES["heads"], "num_hidden_layers": SIZES["layers"],
        "intermediate_size": 4 * SIZES["width"], "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file(bert_state() if state is None else state, folder / "model.safetensors", {"format": "pt"})
    ids = {word: number for number, word in enumerate(WORDS)}
    made = Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    made.enable_truncation(128)
    made.enable_padding(length=128)
    made.save(str(folder / "tokenizer.json"))
    return folder
