import copy
import json
import pickle
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.networks.utils import copy_model_state
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.encoders import RANDOM, Origin
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import initialise_weights, load_checkpoint
from monch_monai.networks.checkpoint import save_safetensors
from monch_monai.networks.provenance import (
    KEY,
    ROOM,
    Provenance,
    convert_earlier,
    provenance_of,
    read_provenance,
)
from monch_monai.networks.recipe import recipe
from tests.encoders.test_encoders import small_network
from tests.fakes.labels import some_classes
from tests.fakes.network import SmallText, small_monch


def text_encoder(name="small_text", origin=Origin("file", "clip.pt", sha256="ab" * 32)):  # noqa: B008
    return SimpleNamespace(name=name, origin=origin)


FULL = replace(
    Provenance("small", Origin("hub", "timm/µ", "0123"), recipe={"learning_rate": 0.5, "loss": {"_target_": "Loss"}}),
    architecture=small_monch().provenance.architecture,
).with_words(PANNUKE, [c.sentences for c in PANNUKE.classes], "attributes", text_encoder())
EARLIER = {
    "small: random": ("attributes", RANDOM, ("small", RANDOM)),
    "small: hub timm/x.openai, revision 0123456789ab": (
        "attributes", Origin("hub", "timm/x.openai", "0123456789ab"),
        ("small", Origin("hub", "timm/x.openai", "0123456789ab")),
    ),
    "small: prompts names: words of clip_rn50 (file c (2).pt, SHA-256 0123): hub a/b, revision 4567": (
        "names", Origin("hub", "a/b", "4567"), ("clip_rn50", Origin("file", "c (2).pt", sha256="0123")),
    ),
    "small: prompts random: words of clip_rn50 (random): file f.pt, SHA-256 89": (
        "random", Origin("file", "f.pt", sha256="89"), (None, None),
    ),
    "small: openai RN50: from somewhere": (
        "attributes", Origin("unknown", "openai RN50: from somewhere"),
        ("small", Origin("unknown", "openai RN50: from somewhere")),
    ),
}  # fmt: skip


def earlier_state(network, text, **without):
    """The state dict that an earlier version wrote."""
    state = dict(network.state_dict())
    del state[KEY]
    state["origin_bytes"] = torch.tensor(list(text.encode().ljust(256, b"\0")), dtype=torch.uint8)
    return {name: value for name, value in state.items() if name.rpartition(".")[2] not in without}


def test_a_record_comes_back_from_its_tensor_and_from_json():
    stored = FULL.to_tensor()
    assert stored.dtype == torch.uint8
    assert stored.shape == (ROOM,)
    assert Provenance.from_tensor(stored) == FULL
    assert Provenance.from_dict(json.loads(json.dumps(asdict(FULL)))) == FULL


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"3", b'{"encoder": "small"}', b'{"encoder', b"\xff"])
def test_what_is_no_record_is_refused_in_one_line(text):
    with pytest.raises(InputError, match="its provenance cannot be read") as caught:
        Provenance.from_tensor(torch.tensor(list(text), dtype=torch.uint8))
    assert "\n" not in str(caught.value)


def test_a_network_starts_from_random_weights_and_random_words():
    record = small_monch().provenance
    assert (record.encoder, record.image_weights, record.words.kind, record.text_weights) == (
        "small",
        RANDOM,
        "random",
        None,
    )
    assert record.class_table == PANNUKE
    assert small_monch(class_table=some_classes(2)).provenance.class_table == some_classes(2)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_records_of_any_length_load_with_the_weights(ending, tmp_path):
    trained, fresh, path = small_monch(), small_monch(seed=1), tmp_path / f"model.{ending}"
    trained.provenance = replace(FULL, recipe={"long": "x" * 2 * ROOM})
    assert trained.state_dict()[KEY].shape != fresh.state_dict()[KEY].shape
    save_safetensors(trained.state_dict(), path) if ending != "pt" else torch.save(trained.state_dict(), path)
    fresh.load_state_dict(trained.state_dict())
    assert fresh.provenance == trained.provenance
    again = small_monch(seed=2)
    load_checkpoint(again, path)
    assert again.provenance == trained.provenance


def test_copies_averages_and_other_processes_keep_the_record():
    network = small_monch()
    network.provenance = FULL
    trainer = Engine(lambda engine, batch: None)
    average = EMAHandler(network, momentum=0.5, handle_buffers="update")
    average.attach(trainer, event=Events.ITERATION_COMPLETED)
    trainer.run([0, 1])
    copies = [copy.deepcopy(network), network.folded(), average.ema_model, pickle.loads(pickle.dumps(network))]
    assert [made.provenance for made in copies] == [FULL] * 4


def test_monais_own_loading_brings_the_record_along():
    trained, fresh = small_monch(), small_monch(seed=1)
    trained.provenance = FULL
    copy_model_state(fresh, trained.state_dict())
    assert fresh.provenance == FULL


@pytest.mark.parametrize("text", EARLIER)
def test_what_earlier_versions_stored_becomes_a_record(text, tmp_path):
    words, image, texts = EARLIER[text]
    state, fresh, resumed = earlier_state(small_monch(), text), small_monch(seed=1), small_monch(seed=1)
    torch.save(state, tmp_path / "best.pt")
    load_checkpoint(fresh, tmp_path / "best.pt")
    resumed.load_state_dict(state)
    assert "origin_bytes" in state
    for record in (fresh.provenance, resumed.provenance, read_provenance(state)):
        assert (record.encoder, record.words.kind, record.image_weights) == ("small", words, image)
        assert ((record.text_encoder, record.text_weights), record.version) == (texts, None)
    assert fresh.provenance == resumed.provenance


@pytest.mark.parametrize(
    "without", [[], ["reference_density"], ["instance_norm"], ["reference_density", "instance_norm"]]
)
def test_earlier_checkpoints_load_with_and_without_later_buffers(without, tmp_path):
    network, fresh = small_network("clip_resnet"), small_network("clip_resnet")
    state = earlier_state(network, "clip_rn50: random", **dict.fromkeys(without))
    torch.save(state, tmp_path / "best.pt")
    load_checkpoint(fresh, tmp_path / "best.pt")
    assert fresh.provenance.normalisation == read_provenance(state).normalisation == "batch"


def test_the_normalisation_recorded_is_that_of_the_encoder(tmp_path):
    network, plain = small_network("clip_resnet", text_dim=1024), small_network("clip_resnet", text_dim=1024)
    initialise_weights(network, "none", normalisation="instance")
    assert (network.provenance.normalisation, plain.provenance.normalisation) == ("instance", "batch")
    torch.save(network.state_dict(), tmp_path / "best.pt")
    load_checkpoint(plain, tmp_path / "best.pt")
    assert plain.provenance.normalisation == "instance"
    assert read_provenance(earlier_state(network, "clip_rn50: random")).normalisation == "instance"
    assert small_network("clip_vit").provenance.normalisation is None


def test_a_state_under_a_prefix_is_converted_there():
    state = {f"module.{n}": v for n, v in earlier_state(small_monch(), "small: random").items()}
    convert_earlier(state, "module.")
    assert "module.origin_bytes" not in state
    assert Provenance.from_tensor(state[f"module.{KEY}"]).encoder == "small"


def test_a_training_that_goes_on_names_its_parent_by_file_and_method(tmp_path):
    trained, fresh = small_monch(), small_monch(seed=1)
    trained.provenance = FULL
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    origin = initialise_weights(fresh, checkpoint=tmp_path / "best.pt")
    digest = sha256(tmp_path / "best.pt")
    assert origin == Origin("checkpoint", "best.pt", sha256=digest)
    assert fresh.provenance.parent.sha256 == digest
    assert (fresh.provenance.image_weights, fresh.provenance.recipe) == (FULL.image_weights, {})
    other = replace(FULL, recipe={"learning_rate": 0.25})
    methods = [record.child(file).method() for record, file in ((FULL, "a"), (FULL, "b"), (other, "a"))]
    assert methods[0] == methods[1] != methods[2]
    assert FULL.child("a").child("c").method() != other.child("a").child("c").method()


def test_other_words_and_other_word_orders_have_other_hashes():
    words = [list(c.sentences) for c in PANNUKE.classes]
    other, turned = [*words[:-1], [*words[-1][:2], "One more."]], [words[0], *reversed(words[1:])]
    found = {FULL.with_words(PANNUKE, w, "attributes", text_encoder()).words.sha256 for w in (words, other, turned)}
    assert len(found) == 3


def test_prompts_that_are_set_are_recorded():
    network = small_monch()
    network.describe(PANNUKE, SmallText())
    words = [c.sentences for c in PANNUKE.classes]
    made = network.provenance.with_words(PANNUKE, words, "attributes", text_encoder(origin=RANDOM))
    assert network.provenance == replace(made, words=replace(made.words, axes=16))
    assert made.words.counts == tuple(len(c.sentences) for c in PANNUKE.classes)


def test_the_provenance_of_a_wrapped_network_is_its_own():
    assert provenance_of(nn.Linear(1, 1)) == Provenance("Linear")
    assert provenance_of(small_monch()) == small_monch().provenance


def test_a_recipe_leaves_out_what_differs_between_runs_of_one_method():
    settings = {"epochs": 3, "split": 2, "device": "cpu", "prompts": "names", "density_range": (1.0, 2.0)}
    config = {"loss": {"_target_": "Loss", "_desc_": "why"}, "seed": 3, "train": {"preprocessing": [{"_desc_a": 1}]}}
    assert recipe(settings, None) == {"epochs": 3, "density_range": [1.0, 2.0]}
    assert recipe(settings, config) == {
        "epochs": 3, "density_range": [1.0, 2.0], "loss": {"_target_": "Loss"}, "train#preprocessing": [{}],
    }  # fmt: skip
