import json
import logging
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.encoders import ENCODERS, Origin
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import Monch, class_table, load_checkpoint, reference_density
from monch_monai.networks.checkpoint import save_safetensors
from monch_monai.networks.monch import PAPERS
from monch_monai.networks.provenance import KEY, Provenance, provenance_of
from tests.fakes.labels import some_classes
from tests.fakes.network import TEXT_DIM, noise, small_monch


def refusal(path, network=None):
    """The one line by which `path` is refused; the network is left as it was."""
    network = small_monch() if network is None else network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_checkpoint(network, path)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


def saved(path, content):
    torch.save(content, path)
    return path


def test_weights_keep_their_classes_and_refuse_those_of_other_names(tmp_path, caplog):
    own = some_classes(4)
    weights = saved(tmp_path / "best.pt", small_monch(class_table=own).state_dict())
    record = own.to_dict()
    record["classes"][1]["color"] = [1, 2, 3]
    chosen = tmp_path / "mine.yaml"
    chosen.write_text(yaml.safe_dump(record))
    with caplog.at_level(logging.WARNING):
        assert class_table(chosen, weights) == class_table(None, weights) == own
    assert caplog.text.count("keeps its own words and colours of the classes of") == 1
    for other in ("pannuke", saved_table(tmp_path / "swapped.yaml", [own.classes[i] for i in (0, 2, 1, 3)])):
        with pytest.raises(
            InputError, match=r"checkpoint .*best\.pt has background, class 1, class 2, class 3: leave --classes"
        ):
            class_table(other, weights, words=tmp_path / "none.yaml")
    assert class_table("consep", None, of_data=own).name == "consep"
    with pytest.raises(InputError, match=r"none\.yaml does not exist"):
        class_table(chosen, weights, words=tmp_path / "none.yaml")


def saved_table(path, classes):
    path.write_text(yaml.safe_dump(ClassTable("swapped", tuple(classes)).to_dict()))
    return path


class Trap:
    """Unpickled with code allowed, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_come_back(tmp_path, caplog):
    trained, fresh = small_monch(seed=1).eval(), small_monch(seed=2).eval()
    trained.provenance = replace(trained.provenance, image_weights=Origin("hub", "timm/somewhere", "0123"))
    path = saved(tmp_path / "best.pt", trained.state_dict())
    with caplog.at_level(logging.INFO):
        assert load_checkpoint(fresh, str(path)) == path
    assert f"weights of {path}: small (hub timm/somewhere, revision 0123), words random" in caplog.text
    with torch.no_grad():
        assert torch.equal(fresh(noise(1, 3, 64, 64)), trained(noise(1, 3, 64, 64)))


def test_weights_come_back_from_safetensors(tmp_path):
    trained, fresh = small_monch(seed=1).to(memory_format=torch.channels_last), small_monch(seed=2)
    save_safetensors(trained.state_dict(), tmp_path / "model.safetensors")
    load_checkpoint(fresh, tmp_path / "model.safetensors")
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in fresh.state_dict().items())


DENSITY = torch.tensor([0.25, 0.5, 0.125])


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_checkpoint_tells_the_density_of_the_tissue_it_was_trained_on(tmp_path, ending, caplog):
    trained, path = small_monch(), tmp_path / f"model.{ending}"
    trained.reference_density.copy_(DENSITY)
    save_safetensors(trained.state_dict(), path) if ending != "pt" else saved(path, trained.state_dict())
    with caplog.at_level(logging.INFO):
        assert reference_density(path) == DENSITY.tolist()
    assert f"darker than the tissue that {path} was trained on are lightened" in caplog.text
    assert reference_density(path, lighten="false") is None
    with pytest.raises(InputError, match="lighten is 'maybe'; give true or false"):
        reference_density(path, lighten="maybe")


def test_a_checkpoint_from_before_densities_were_noted_loads_and_tells_none(tmp_path, caplog):
    trained, fresh = small_monch(seed=1), small_monch(seed=2)
    fresh.reference_density.copy_(DENSITY)
    state = trained.state_dict()
    del state["reference_density"]
    path = saved(tmp_path / "early.pt", state)
    load_checkpoint(fresh, path)
    assert fresh.reference_density.tolist() == [0, 0, 0]
    with caplog.at_level(logging.INFO):
        assert reference_density(path) is None
    assert f"{path} does not state how dark its training tissue was" in caplog.text
    assert reference_density() is None
    assert reference_density(saved(tmp_path / "unsaid.pt", trained.state_dict())) is None


def test_a_pickle_named_safetensors_is_not_opened_as_one(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"x": Trap(tmp_path / "sprung")}, protocol=2))
    assert "cannot be read as a file of tensors" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent.pt")


def test_a_folder_is_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_a_text_file_is_refused(tmp_path):
    (tmp_path / "notes.pt").write_text("not weights\nat all\n")
    assert "cannot be read as a file of tensors" in refusal(tmp_path / "notes.pt")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.pt").touch()
    assert "cannot be read as a file of tensors" in refusal(tmp_path / "empty.pt")


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = saved(tmp_path / "best.pt", small_monch().state_dict())
    path.write_bytes(path.read_bytes()[:-2000])
    assert "cannot be read as a file of tensors" in refusal(path)


@pytest.mark.parametrize("bit", [0, 30])
def test_a_checkpoint_with_one_changed_bit_in_a_tensor_is_refused(tmp_path, bit):
    tensor = torch.full((64,), 0.123456)
    path = saved(tmp_path / "best.pt", {**small_monch().state_dict(), "marked": tensor})
    content = bytearray(path.read_bytes())
    content[content.index(tensor.numpy().tobytes()) + bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    assert "is damaged in its part data/" in refusal(path)


def test_a_checkpoint_written_without_checksums_loads(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "best.pt", small_monch().state_dict())
    finally:
        torch.serialization.set_crc32_options(True)
    load_checkpoint(small_monch(), path)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_that_are_not_finite_are_refused(tmp_path, value, ending):
    state, path = small_monch().state_dict(), tmp_path / f"best.{ending}"
    name = next(name for name in state if name.startswith("head.") and state[name].is_floating_point())
    state[name].view(-1)[-1] = value
    save_safetensors(state, path) if ending != "pt" else saved(path, state)
    assert f"holds 1 tensors with NaN or infinite values, first {name}" in refusal(path)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    path = saved(tmp_path / "trap.pt", {"x": Trap(tmp_path / "sprung")})
    assert "cannot be read as a file of tensors" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_code_in_a_plain_pickle_does_not_run(tmp_path):
    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps({"x": Trap(tmp_path / "sprung")}, protocol=2))
    assert "cannot be read as a file of tensors" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_a_whole_network_is_refused(tmp_path):
    assert "cannot be read as a file of tensors" in refusal(saved(tmp_path / "network.pt", small_monch()))


@pytest.mark.parametrize("content", [{"network": {"a": torch.zeros(1)}, "epoch": 3}, [torch.zeros(1)], torch.zeros(2)])
def test_anything_but_a_flat_state_dict_is_refused(tmp_path, content):
    assert "is not a flat state dict of tensors" in refusal(saved(tmp_path / "state.pt", content))


def test_weights_of_another_shape_are_refused(tmp_path):
    state = small_monch(head_channels=8).state_dict()
    state[KEY] = small_monch().state_dict()[KEY]
    message = refusal(saved(tmp_path / "best.pt", state))
    assert "of another shape, first head." in message
    assert "missing" not in message
    assert message.endswith("use the config it came from")


@pytest.mark.parametrize("ablation", [{"high_pass": False}, {"ppd": False}])
def test_weights_of_an_ablation_bring_it_unless_an_earlier_version_recorded_none(ablation, tmp_path):
    trained, network = small_monch(1, **ablation).eval(), small_monch().eval()
    load_checkpoint(network, saved(tmp_path / "best.pt", trained.state_dict()))
    with torch.no_grad():
        assert torch.equal(network(noise(1, 3, 96, 64)), trained(noise(1, 3, 96, 64)))
    state = trained.state_dict()
    record = json.loads(bytes(state[KEY].tolist()))
    del record["architecture"]
    state[KEY] = Provenance.from_dict(record).to_tensor()
    message = refusal(saved(tmp_path / "earlier.pt", state))
    first = "unexpected, first features.high.0" if "high_pass" in ablation else "missing, first decoder.attend.high"
    assert first in message


@pytest.mark.parametrize("number", [3, 7])
def test_weights_of_before_class_tables_are_refused_unless_they_have_pannukes_classes(tmp_path, number):
    state = small_monch().state_dict()
    state["head.prior"] = state["head.prior"][:number]
    found = refusal(saved(tmp_path / "earlier.pt", state))
    assert f"have {number} classes, of which no names are stored: only PanNuke's 6" in found


def test_an_empty_state_dict_is_refused(tmp_path):
    everything = len(small_monch().state_dict())
    assert f"{everything - 2} missing" in refusal(saved(tmp_path / "best.pt", OrderedDict()))


def test_a_checkpoint_with_another_encoder_is_refused_by_both_names(tmp_path):
    trained = small_monch()
    trained.provenance = replace(trained.provenance, encoder="sam_b")
    message = refusal(saved(tmp_path / "best.pt", trained.state_dict()))
    assert "has the encoder sam_b, the config's network small: use the overlay of that name" in message


def test_a_checkpoint_with_a_damaged_record_is_refused(tmp_path):
    state = small_monch().state_dict()
    state[KEY] = torch.tensor([123, 34], dtype=torch.uint8)
    assert "is damaged: its provenance cannot be read" in refusal(saved(tmp_path / "best.pt", state))


def test_another_network_has_its_class_and_its_checkpoint_as_provenance(tmp_path):
    network = nn.Linear(2, 2)
    assert provenance_of(network) == Provenance("Linear")
    path = load_checkpoint(network, saved(tmp_path / "best.pt", nn.Linear(2, 2).state_dict()))
    weights = Origin("checkpoint", "best.pt", sha256=sha256(path))
    assert provenance_of(network) == Provenance("Linear", weights)


def test_the_classes_of_a_run_are_those_of_its_weights(tmp_path):
    table, mine, words = some_classes(6), tmp_path / "mine.yaml", tmp_path / "words.yaml"
    mine.write_text(yaml.safe_dump(table.to_dict()))
    words.write_text(yaml.safe_dump({"classes": table.names[:3]}))
    path = saved(tmp_path / "best.pt", small_monch(class_table=table).state_dict())
    of_another = saved(tmp_path / "unet.pt", nn.Linear(1, 1).state_dict())
    assert class_table(checkpoint=path) == class_table(mine, path) == class_table(mine, of_another) == table
    assert class_table(checkpoint=of_another) == PANNUKE
    assert class_table(mine, path, words=words).names == table.names[:3]


@pytest.mark.parametrize("encoder", ["clip_rn50", "efficientnet_lite0"])
def test_the_papers_network_becomes_that_of_the_checkpoint(encoder, tmp_path):
    torch.manual_seed(0)
    trained = Monch(ENCODERS[encoder](), channels=32, head_channels=16, num_heads=4, text_dim=TEXT_DIM, distance=True,
                    blend_pool=2, queries=["high", "text"]).eval()  # fmt: skip
    network = Monch(ENCODERS["clip_rn50"]()).eval()
    load_checkpoint(network, saved(tmp_path / "best.pt", trained.state_dict()))
    image = noise(1, 3, 96, 64)
    with torch.no_grad():
        assert torch.equal(network(image), trained(image))
    assert network.provenance == trained.provenance
    assert (network.provenance.encoder, network.provenance.architecture["blend_pool"]) == (encoder, 2)


def test_programs_that_load_state_dicts_themselves_get_the_network_of_the_weights():
    torch.manual_seed(0)
    settings = {"channels": 32, "text_dim": TEXT_DIM, "distance": True}
    trained = Monch(ENCODERS["efficientnet_lite0"](), some_classes(4), **settings).eval()
    state = {f"model.{name}": value for name, value in trained.state_dict().items()}
    holder = nn.ModuleDict({"model": Monch(ENCODERS["clip_rn50"]()).eval()})
    holder.load_state_dict(state, strict=False)
    network, image = holder["model"], noise(1, 3, 96, 64)
    with torch.no_grad():
        assert torch.equal(network(image), trained(image))
    assert (network.mean, network.std) == (trained.image_encoder.mean, trained.image_encoder.std)
    assert network.class_table == trained.class_table


def test_a_network_with_a_setting_of_its_own_keeps_it_where_a_program_loads_a_state_dict():
    trained, network = small_monch(k=4), small_monch(seed=1, k=6)
    network.load_state_dict(trained.state_dict())
    assert network.architecture["k"] == 6
    assert torch.equal(network.head.enter.weight, trained.head.enter.weight)


def test_a_setting_that_is_neither_the_papers_nor_the_checkpoints_is_refused(tmp_path):
    message = refusal(saved(tmp_path / "best.pt", small_monch(k=4).state_dict()), small_monch(k=6))
    assert "has k 4, the config's network 6: leave network_def#k out" in message
    load_checkpoint(small_monch(k=4), tmp_path / "best.pt")


def test_each_encoder_of_the_catalogue_has_the_name_that_checkpoints_record():
    with torch.device("meta"):
        assert [make().name for make in ENCODERS.values()] == [*ENCODERS]


def test_a_checkpoint_records_every_setting_of_the_papers_network():
    assert small_monch().architecture.keys() == PAPERS.keys()
