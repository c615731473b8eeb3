"""Low-rank adapters, off unless asked for."""

import pytest
import torch

from monch_monai.encoders import merge_adapters
from monch_monai.errors import InputError
from monch_monai.networks import initialise_weights, load_checkpoint
from tests.encoders.test_encoders import moved, small_network, step
from tests.fakes.network import noise


def adapted(family, rank=3):
    network = small_network(family, text_dim=1024)
    initialise_weights(network, "none", resume=True, lora_rank=rank)
    return network


@pytest.mark.parametrize("family", ["clip_vit", "uni", "sam", "sam2"])
def test_of_the_encoder_adapters_alone_are_trained_and_they_begin_as_nothing(family):
    pytest.importorskip("peft")
    network, image = adapted(family), noise(1, 3, 96, 64)
    plain = small_network(family, text_dim=1024)
    with torch.no_grad():
        assert torch.equal(network.eval()(image), plain.eval()(image))
    before = step(network)
    changed = {name for name in moved(network, before) if name.startswith("image_encoder.")}
    assert changed
    assert all(".attn.qkv.lora_" in name for name in changed)
    assert {value.shape[0] for name, value in before.items() if "lora_A" in name} == {3}


def test_a_checkpoint_with_adapters_loads_into_a_network_without_and_gives_the_same_logits(tmp_path):
    pytest.importorskip("peft")
    network, plain, image = adapted("sam"), small_network("sam", text_dim=1024), noise(1, 3, 96, 64)
    for _ in range(2):
        step(network)
    torch.save(network.state_dict(), tmp_path / "best.pt")
    load_checkpoint(plain, tmp_path / "best.pt")
    with torch.no_grad():
        assert (network.eval()(image) - plain.eval()(image)).abs().max() < 1e-4
    before = small_network("sam", text_dim=1024).state_dict()
    assert "image_encoder.trunk.blocks.0.attn.qkv.weight" in moved(plain, before)


def test_merging_leaves_a_state_without_adapters_as_it_is():
    state = small_network("uni").state_dict()
    merged = merge_adapters(dict(state))
    assert list(merged) == list(state)
    assert all(merged[name] is state[name] for name in state)


def test_an_encoder_without_attention_is_refused():
    with pytest.raises(InputError, match="clip_rn50 has no attention layers to adapt: leave lora_rank at 0"):
        adapted("clip_resnet")


def test_without_peft_the_way_to_install_it_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install peft"):
        adapted("uni")


@pytest.mark.parametrize("rank", [-1, 1.5, "two"])
def test_a_rank_that_is_no_whole_number_is_refused(rank):
    with pytest.raises(InputError, match=r"lora_rank is .*; give a whole number of at least 0"):
        adapted("uni", rank)
