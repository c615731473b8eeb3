from dataclasses import replace

import pytest
import torch
from torch import nn

import monch_monai.baselines as baselines
from monch_monai.class_table import PANNUKE
from monch_monai.encoders import Origin
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import class_table, initialise_weights, load_checkpoint
from monch_monai.networks.provenance import KEY
from monch_monai.networks.recorded import RecordedNetwork
from monch_monai.report import EvaluatedRun
from monch_monai.report.evaluated_run import BASELINES, PUBLISHED
from tests.fakes.evaluations import write_evaluation
from tests.fakes.labels import some_classes
from tests.fakes.network import small_monch

HUB = Origin("hub", "none/such", revision="0123")


class Small(RecordedNetwork):
    def __init__(self, table=PANNUKE):
        super().__init__(table)
        self.layer = nn.Linear(2, len(table))


def saved(path, state):
    torch.save(state, path)
    return path


def test_a_checkpoint_states_the_start_the_classes_and_the_recipe_of_its_training(tmp_path):
    trained, table = Small(some_classes(3)), some_classes(3)
    trained.provenance = replace(trained.provenance, image_weights=HUB, recipe={"epochs": 2})
    file = saved(tmp_path / "best.pt", trained.state_dict())
    found = Small(table)
    load_checkpoint(found, file)
    assert found.provenance == trained.provenance
    assert class_table(checkpoint=file).names == table.names
    initialise_weights(further := Small(table), checkpoint=file)
    assert (further.provenance.parent.sha256, further.provenance.recipe) == (sha256(file), {})
    assert further.provenance.image_weights == HUB


def test_a_checkpoint_of_an_earlier_version_is_of_an_unknown_start(tmp_path):
    state = Small().state_dict()
    del state[KEY]
    network = Small()
    network.provenance = replace(network.provenance, image_weights=HUB)
    load_checkpoint(network, saved(tmp_path / "best.pt", state))
    assert network.provenance.image_weights.kind == "unknown"
    assert torch.equal(network.layer.weight, state["layer.weight"])


def test_a_checkpoint_of_another_network_is_refused_by_both_names(tmp_path):
    file, other = saved(tmp_path / "a.pt", Small().state_dict()), saved(tmp_path / "b.pt", small_monch().state_dict())
    for network, given, message in ((small_monch(), file, "Small.*small"), (Small(), other, "small.*Small")):
        with pytest.raises(InputError, match=f"is of {message}: use the overlay that it was trained with"):
            load_checkpoint(network, given)


def test_the_networks_with_published_weights_are_those_whose_rows_state_their_start():
    states = {
        name for name in set(BASELINES) & set(dir(baselines)) if hasattr(getattr(baselines, name), "published_start")
    }
    assert states == set(PUBLISHED)
    assert all(issubclass(getattr(baselines, name), RecordedNetwork) for name in set(BASELINES) - {"UNet"})


@pytest.mark.parametrize("name", ["HoVerNetMaps", "TsfdNet"])
@pytest.mark.parametrize(
    ("weights", "label"),
    [
        (HUB, ""),
        (Origin("file", "a.pth", sha256="f" * 64), ""),
        (Origin(), ", random weights"),
        (Origin("checkpoint", "best.pt", sha256="f" * 64), ", start not recorded"),
    ],
)
def test_a_row_states_whether_its_network_started_random(name, weights, label, tmp_path):
    record = replace(Small().provenance, encoder=name, image_weights=weights).to_dict()
    network = {"_target_": f"monch_monai.baselines.{name}"}
    run = EvaluatedRun.read(write_evaluation(tmp_path, network=network, provenance=record))
    assert run.system == BASELINES[name] + (label if name in PUBLISHED else "")
