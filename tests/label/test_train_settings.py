import pytest

from monch_monai.errors import InputError

pytestmark = pytest.mark.label


@pytest.mark.parametrize("name", ["max_epochs", "batch_size", "learning_rate", "val_split", "device"])
def test_a_training_takes_no_text_that_a_config_would_evaluate(name, tmp_path):
    from monch_monai.label.train import MonchTrain

    trap = tmp_path / "evaluated"
    with pytest.raises(InputError, match=name):
        MonchTrain(tmp_path)({name: f"$open({str(trap)!r}, 'w')"}, None)
    assert not trap.exists()
