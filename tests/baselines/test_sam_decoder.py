from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from monch_monai.baselines import MaSam, MedSa
from monch_monai.baselines.sam_decoder import NoPrompt
from monch_monai.encoders import RANDOM, Origin, Sam
from monch_monai.encoders.weights import wanted_by
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import initialise_weights
from tests.fakes.encoders import published_shapes
from tests.fakes.labels import some_classes
from tests.fakes.network import noise
from tests.fakes.sam import SIZES, published, write_published

SYSTEMS = [MedSa, MaSam]


def small(system: type, image_size: int = 64, **settings: object):
    torch.manual_seed(0)
    return system(image_size=image_size, **(SIZES | settings))


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """transformers' SAM, small and random."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "output_channels": 32}
    config = transformers.SamConfig(
        vision_config=transformers.SamVisionConfig(
            **tower, image_size=64, global_attn_indexes=[1], num_pos_feats=16, mlp_dim=128
        ),
        prompt_encoder_config=transformers.SamPromptEncoderConfig(hidden_size=32, image_size=64),
        mask_decoder_config=transformers.SamMaskDecoderConfig(
            hidden_size=32, iou_head_hidden_dim=32, layer_norm_eps=1e-5
        ),
    )
    model = transformers.SamModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(noise(*parameter.shape, seed=parameter.numel()) / 5)
    return model


@torch.no_grad()
def test_masks_and_their_iou_are_those_of_transformers_sam_without_a_prompt(theirs: nn.Module, tmp_path: Path) -> None:
    state = {name: value.contiguous().clone() for name, value in theirs.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    network = small(MedSa, class_table=some_classes(5)).eval()
    initialise_weights(network, str(tmp_path))
    decoder = network.decoder
    decoder.load_state_dict(decoder.state_dict() | _of_masks(state))
    embedding = theirs.get_image_embeddings(noise(2, 3, 64, 64))
    masks, expected_iou = decoder(embedding)
    one, three = (theirs(image_embeddings=embedding, multimask_output=several) for several in (False, True))
    assert torch.allclose(masks, torch.cat([one.pred_masks, three.pred_masks], dim=2)[:, 0], rtol=1e-4, atol=1e-5)
    assert torch.allclose(expected_iou, torch.cat([one.iou_scores, three.iou_scores], dim=2)[:, 0], atol=1e-5)
    assert float(masks.std()) > 1e-3
    positions = decoder.prompt.positions(4, 4)
    assert torch.allclose(positions, theirs.get_image_wide_positional_embeddings()[0], atol=1e-5)
    _use_no_adapters(network)
    assert torch.allclose(network.encoder(noise(2, 3, 64, 64))[0], embedding, rtol=1e-3, atol=1e-4)


def _of_masks(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What depends on the number of masks, which no system takes from the file, by our names."""
    own = {"mask_tokens.weight": state["mask_decoder.mask_tokens.weight"]}
    heads = {f"hypernetworks.{n}": f"output_hypernetworks_mlps.{n}" for n in range(4)}
    for ours, name in {**heads, "iou_head": "iou_prediction_head"}.items():
        for number, layer in ((0, "proj_in"), (2, "layers.0"), (4, "proj_out")):
            for kind in ("weight", "bias"):
                own[f"{ours}.{number}.{kind}"] = state[f"mask_decoder.{name}.{layer}.{kind}"]
    return own


def _use_no_adapters(network: nn.Module) -> None:
    """Sets the last layer of each adapter to zero."""
    for block in network.adapters:
        for adapter in (block.attention, block.mlp):
            last = adapter.up if isinstance(network, MaSam) else adapter[-1]
            for parameter in last.parameters():
                nn.init.zeros_(parameter)


@pytest.mark.parametrize("system", SYSTEMS)
@torch.no_grad()
def test_with_the_last_layer_of_adapters_zero_the_encoder_is_timms_to_the_bit(system: type, tmp_path: Path) -> None:
    network, plain = small(system), Sam("b", **SIZES)
    initialise_weights(network, str(write_published(tmp_path / "sam.safetensors", network)))
    plain.load_state_dict(network.encoder.state_dict())
    for image in (noise(2, 3, 64, 64), noise(1, 3, 256, 320)):  # a block's windows have 14 by 14 patches
        assert not torch.allclose(network.encoder(image)[0], plain(image)[0], atol=1e-3)
    _use_no_adapters(network)
    for image in (noise(2, 3, 64, 64), noise(1, 3, 256, 320)):
        assert torch.equal(network.encoder(image)[0], plain(image)[0])


def test_positions_are_sines_and_cosines_at_the_centres_of_cells() -> None:
    prompt = NoPrompt(4)
    prompt.frequencies.copy_(torch.tensor([[0.25, 0.0], [0.0, 0.5]]))
    found = prompt.positions(2, 1)  # x is 0, y is -1/2 and 1/2
    expected = torch.tensor([[0.0, 0.0], [-1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert torch.allclose(found[:, :, 0], expected, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prompt.positions(2, 1), found)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("file", ["sam_b", "sam_l", "sam_h", "sam_b_transformers", "sam_h_transformers"])
def test_published_files_have_all_that_the_full_size_networks_start_from(system: type, file: str) -> None:
    with torch.device("meta"):
        network = system(size=file[4])
    start = network.published_start()
    shapes = {name: torch.empty(shape, device="meta") for name, shape in published_shapes(file).items()}
    wanted = wanted_by(start.towers)
    assert set(start.publication.convert(shapes, wanted)) == set(wanted)
    kept = {f"image.{n}" for n in network.encoder.state_dict()} | {f"decoder.{n}" for n in network.decoder.state_dict()}
    alone = {name.split(".")[1] for name in kept - set(wanted)}
    assert alone == {"mask_tokens", "hypernetworks", "iou_head"} | ({"upscale"} if system is MaSam else set())


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("number", [0, 1])
def test_a_published_file_is_where_a_network_starts_and_its_record_states_so(
    system: type, number: int, tmp_path: Path
) -> None:
    network = small(system)
    tokens = network.decoder.mask_tokens.weight.clone()
    path = write_published(tmp_path / "model.safetensors", network, number)
    kind = network.published_start().publication.formats[number]
    assert initialise_weights(network, str(path)) == Origin("file", path.name, sha256=sha256(path))
    file = safetensors.torch.load_file(path)
    for name, value in wanted_by(network.published_start().towers).items():
        assert torch.equal(value, file[kind.sources(name)[0]])
    assert torch.equal(network.decoder.mask_tokens.weight, tokens)
    assert initialise_weights(small(system), "none") == RANDOM


@pytest.mark.parametrize("system", SYSTEMS)
def test_other_files_are_refused_in_a_line_and_change_nothing(system: type, tmp_path: Path) -> None:
    network = small(system)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    file = published(network)
    name = "mask_decoder.transformer.norm_final_attn.bias"
    without = {n: v for n, v in file.items() if n != name}
    wider = file | {"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 64)}
    of_timm = {n.removeprefix("image_encoder."): v for n, v in file.items() if n.startswith("image_encoder.")}
    for content, found in (
        (without, rf"sam\.safetensors does not fit: as Meta's SAM 1 missing: {name}$"),
        (wider, r"1 of another shape: prompt_encoder\.no_mask_embed\.weight \[1, 64\] instead of \[1, 32\]$"),
        (of_timm, r"as Meta's SAM \d+ missing: image_encoder\.pos_embed, .*; \d+ unexpected: "),
    ):
        safetensors.torch.save_file(content, tmp_path / "sam.safetensors")
        with pytest.raises(InputError, match=found) as caught:
            initialise_weights(network, str(tmp_path / "sam.safetensors"))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"holds no model\.safetensors and no pytorch_model\.bin, as facebook/sam-vit"):
        initialise_weights(network, str(tmp_path))
    with pytest.raises(InputError, match=r"as Meta's SAM \d+ unexpected: .*; \d+ of another shape"):
        initialise_weights(
            network, str(write_published(tmp_path / "h.safetensors", small(system, embed_dim=64, depth=3)))
        )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_weights_of_the_hub_are_asked_for_by_name_and_refused_in_a_line(
    system: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(InputError, match=r"facebook/sam-vit-base is not cached and HF_HUB_OFFLINE is set") as caught:
        initialise_weights(small(system), "published")
    assert "hf download facebook/sam-vit-base model.safetensors --local-dir FOLDER" in str(caught.value)


@pytest.mark.parametrize("system", SYSTEMS)
def test_another_size_of_sam_or_of_its_images_is_refused(system: type) -> None:
    with pytest.raises(InputError, match="size is 'g'; give b, l or h"):
        system(size="g")
    for wrong, found in ((100, "image_size is 100; give a multiple of 16"), (0, "image_size is 0; give a whole")):
        with pytest.raises(InputError, match=found):
            small(system, image_size=wrong)


@pytest.mark.parametrize("system", SYSTEMS)
@torch.no_grad()
def test_images_are_resized_to_the_size_that_the_encoder_sees_and_maps_back(system: type) -> None:
    network, seen = small(system, image_size=96).eval(), []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    for shape in ((2, 3, 64, 64), (1, 3, 48, 96), (1, 3, 7, 100)):
        assert network(noise(*shape)).shape == (shape[0], 6, *shape[2:])
    assert seen == [(2, 3, 96, 96), (1, 3, 48, 96), (1, 3, 16, 96)]
    image = noise(1, 3, 96, 96)
    direct = network.decoder(network.encoder(image)[0])[0]
    enlarged = nn.functional.interpolate(direct, size=(96, 96), mode="bilinear") if system is MedSa else direct
    assert torch.equal(network.masks(image), enlarged)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_encoder_stays_and_all_else_has_a_gradient(system: type) -> None:
    network = small(system).train()
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    prompt = {"decoder.prompt.no_mask.weight"} if system is MedSa else set()
    assert frozen == {f"encoder.{name}" for name, _ in network.encoder.named_parameters()} | prompt
    network(noise(2, 3, 64, 64)).square().mean().backward()
    assert all((parameter.grad is None) == (name in frozen) for name, parameter in network.named_parameters())
    assert all(module.training for module in network.modules())
