import math

import pytest
import torch

from monch_monai.networks.features import Scales
from monch_monai.networks.prompt_decoder import QUERIES, CrossAttention, PromptDecoder
from tests.fakes.network import noise


def layer_norm(x, norm):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (x.var(dim=-1, keepdim=True, unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias


def attend_by_hand(stage, query, source, at=0.0, source_at=0.0):
    """Eq. (7): `softmax(q k^T / sqrt(d)) v`, head by head."""
    asked, told = layer_norm(query, stage.norm_query), layer_norm(source, stage.norm_source)
    q = (asked + at) @ stage.g_q.weight.T + stage.g_q.bias
    k = (told + source_at) @ stage.g_k.weight.T + stage.g_k.bias
    v = told @ stage.g_v.weight.T + stage.g_v.bias
    width = q.shape[-1] // stage.num_heads
    answers = []
    for h in range(stage.num_heads):
        part = slice(h * width, (h + 1) * width)
        scores = (q[..., part] @ k[..., part].transpose(-1, -2) / math.sqrt(width)).exp()
        answers.append(scores / scores.sum(dim=-1, keepdim=True) @ v[..., part])
    return query + torch.cat(answers, dim=-1) @ stage.out.weight.T + stage.out.bias


def stage(channels, source_dim, num_heads):
    torch.manual_seed(0)
    made = CrossAttention(channels, source_dim, num_heads)
    for norm in (made.norm_query, made.norm_source):
        torch.nn.init.normal_(norm.weight, mean=1)
        torch.nn.init.normal_(norm.bias)
    return made


def features(channels=16):
    return Scales(noise(2, channels, 8, 12), noise(2, channels, 4, 6, seed=1), noise(2, channels, 2, 3, seed=2))


def decoder(queries, channels=16, text_dim=10):
    torch.manual_seed(0)
    return PromptDecoder(channels, text_dim, 4, queries)


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def merge(made, q, blend):
    return made.merge(torch.cat([q.transpose(1, 2).reshape(blend.shape), blend], dim=1))


@pytest.mark.parametrize("num_heads", [1, 4])
def test_attention_is_the_softmax_of_equation_7(num_heads):
    made, query, source = stage(16, 10, num_heads), noise(2, 7, 16), noise(2, 5, 10, seed=1)
    assert (made(query, source) - attend_by_hand(made, query, source)).abs().max() < 1e-5


def test_positions_are_added_to_query_and_key_and_not_to_value():
    made, query, source = stage(16, 16, 2), noise(2, 7, 16), noise(2, 5, 16, seed=1)
    at, source_at = noise(7, 16, seed=2), noise(5, 16, seed=3)
    by_hand = attend_by_hand(made, query, source, at, source_at)
    assert (made(query, source, at, source_at) - by_hand).abs().max() < 1e-5
    assert (made(query, source, at, source_at) - made(query, source)).abs().max() > 1e-2


def test_order_of_a_source_without_positions_does_not_matter():
    made, query, source = stage(16, 10, 4), noise(2, 7, 16), noise(2, 5, 10, seed=1)
    assert (made(query, source) - made(query, source.flip(1))).abs().max() < 1e-5


def test_a_source_of_one_token_gives_every_query_its_value():
    made, query, source = stage(16, 10, 4), noise(1, 7, 16), noise(1, 1, 10, seed=1)
    value = made.out(made.g_v(layer_norm(source, made.norm_source)))
    assert (made(query, source) - query - value).abs().max() < 1e-5


def test_with_all_stages_off_the_high_frequency_feature_meets_the_blend_unchanged():
    made, maps, blend = decoder([]), features(), noise(2, 16, 8, 12, seed=4)
    assert torch.equal(made(maps, noise(18, 10), blend), merge(made, tokens(maps.fine), blend))


def test_the_text_stage_alone_gets_the_high_frequency_feature():
    made, maps, blend, text = decoder(["topo"]), features(), noise(2, 16, 8, 12, seed=4), noise(18, 10)
    q = attend_by_hand(made.attend["topo"], tokens(maps.fine), text.expand(2, -1, -1))
    assert (made(maps, text, blend) - merge(made, q, blend)).abs().max() < 1e-4


@pytest.mark.parametrize("dropped", QUERIES)
def test_a_stage_that_is_off_equals_one_that_answers_nothing(dropped):
    whole, maps, blend, text = decoder(QUERIES), features(), noise(2, 16, 8, 12, seed=4), noise(18, 10)
    silent = {k: v for k, v in whole.state_dict().items() if not k.startswith(f"attend.{dropped}.")}
    without = decoder([q for q in QUERIES if q != dropped])
    without.load_state_dict(silent)
    different = (whole(maps, text, blend) - without(maps, text, blend)).abs().max()
    torch.nn.init.zeros_(whole.attend[dropped].out.weight)
    torch.nn.init.zeros_(whole.attend[dropped].out.bias)
    assert different > 1e-3
    assert (whole(maps, text, blend) - without(maps, text, blend)).abs().max() < 1e-5


@pytest.mark.parametrize(("stage_name", "source"), [("high", "middle"), ("conv", "coarse")])
def test_each_stage_asks_the_next_coarser_map(stage_name, source):
    made, maps, blend, text = decoder([stage_name]), features(), noise(2, 16, 8, 12, seed=4), noise(18, 10)
    answer = made(maps, text, blend)
    for name in ("middle", "coarse"):
        moved = (made(maps._replace(**{name: getattr(maps, name) * -1}), text, blend) - answer).abs().max()
        assert (moved > 1e-3) == (name == source)


def test_positions_tell_the_cells_of_a_flat_map_apart():
    made, maps, blend = decoder(["high"]), features(), noise(2, 16, 8, 12, seed=4)
    met = []
    made.merge.register_forward_pre_hook(lambda _, inputs: met.append(inputs[0][:, :16]))
    made(maps._replace(fine=torch.ones(2, 16, 8, 12)), noise(18, 10), blend)
    assert met[0].flatten(2).std(dim=-1).max() > 1e-2


def position(y, x, channels=16):
    """Sine and cosine of the row, then of the column, at geometric frequencies from 1 to 1 / 10000."""
    angles = [10000 ** (-i / (channels // 4)) for i in range(channels // 4)]
    return [wave(at * angle) for at in (y, x) for wave in (math.sin, math.cos) for angle in angles]


@pytest.mark.parametrize(
    ("name", "rows", "columns", "stride"), [("high", 4, 6, 2), ("conv", 2, 3, 4), ("text", 8, 12, 1)]
)
def test_positions_are_counted_in_cells_of_the_finest_map(name, rows, columns, stride):
    made, maps, blend = decoder([name]), features(), noise(2, 16, 8, 12, seed=4)
    met = []
    made.attend[name].register_forward_pre_hook(lambda _, inputs: met.extend(inputs[2:]))
    made(maps, noise(18, 10), blend)
    queries = [position(y + 0.5, x + 0.5) for y in range(8) for x in range(12)]
    sources = [position((y + 0.5) * stride, (x + 0.5) * stride) for y in range(rows) for x in range(columns)]
    assert (met[0] - torch.tensor(queries)).abs().max() < 1e-5
    assert (met[1] - torch.tensor(sources)).abs().max() < 1e-5


def test_unknown_queries_are_refused():
    with pytest.raises(ValueError, match=r"queries must be of .*; got \['word'\]"):
        decoder(["word"])
