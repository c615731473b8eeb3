import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError
from monch_monai.predict import ClassMapd, NaNError, class_map
from tests.fakes.network import noise


def pixel(*logits):
    """Class of one pixel with these logits."""
    return class_map(torch.tensor(logits).reshape(-1, 1, 1)).item()


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ((3.0, -1, -2, -3, -4, -5), 0),
        ((-3.0, -1, 2, 0, 1, -5), 2),
        ((-0.1, -9, -9, -9, -9, -8), 5),  # no class is likely, but background is not either
        ((0.1, 5, 0, 0, 0, 0), 0),  # background is likely, though a class is likelier
        ((-0.2, -0.5, -0.5, -0.4, -9, -9), 3),  # background has the largest logit and yet less than one half
    ],
)
def test_a_pixel_is_first_nucleus_or_not_and_then_of_the_most_probable_class(logits, expected):
    assert pixel(*logits) == expected


@pytest.mark.parametrize("number", [2, 3, 25])
def test_classes_may_be_of_any_number(number):
    logits = torch.full((number, 1, 2), -2.0)
    logits[number - 1, 0, 1] = 1
    assert class_map(logits).flatten().tolist() == [1, number - 1]
    changed = ClassMapd("pred", probs_key="probs")({"pred": logits})
    assert changed["probs"].shape == (number - 1, 1, 2)


def test_ties_go_to_the_background_and_then_to_the_lower_class():
    assert pixel(0.0, 5, 5, 5, 5, 5) == 0
    assert pixel(-1.0, 0, 2, 2, 2, 1) == 2


def test_agrees_with_a_loop():
    logits = noise(2, 6, 7, 5)
    classes = class_map(logits)
    for b in range(2):
        for y in range(7):
            for x in range(5):
                here = logits[b, :, y, x].tolist()
                expected = 0 if here[0] >= 0 else 1 + max(range(5), key=lambda c: here[c + 1])
                assert classes[b, 0, y, x] == expected


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_shape_and_type(leading):
    classes = class_map(noise(*leading, 6, 7, 5))
    assert (classes.shape, classes.dtype) == ((*leading, 1, 7, 5), torch.uint8)


def test_the_transform_replaces_logits_by_classes_and_leaves_the_rest():
    data = {"pred": noise(6, 4, 5), "other": noise(6, 4, 5), "label": 7}
    changed = ClassMapd(keys=["pred"])(data)
    assert torch.equal(changed["pred"], class_map(data["pred"]))
    assert changed["other"] is data["other"]
    assert data["pred"].shape == (6, 4, 5)


def test_the_transform_refuses_a_missing_key():
    with pytest.raises(KeyError, match="pred"):
        ClassMapd(keys="pred")({"label": 7})


def test_a_meta_tensor_gives_the_same_classes():
    logits = noise(6, 4, 5)
    assert torch.equal(torch.as_tensor(class_map(MetaTensor(logits))), class_map(logits))


def test_the_transform_keeps_probabilities_of_the_nucleus_classes_when_told_where():
    data = {"pred": noise(6, 4, 5)}
    changed = ClassMapd("pred", probs_key="probs")(data)
    assert torch.allclose(changed["probs"].float(), data["pred"][1:].sigmoid(), atol=5e-4)
    assert changed["probs"].dtype == torch.float16
    assert "probs" not in ClassMapd("pred")(data)


def test_logits_that_are_no_numbers_are_refused_by_the_name_of_their_tile():
    logits = noise(6, 4, 5)
    logits[2, 1, 1:3] = float("nan")
    image = MetaTensor(torch.zeros(3, 4, 5), meta={"filename_or_obj": "fold/images.npy#12"})
    with pytest.raises(InputError, match=r"^fold/images.npy#12: 2 of 120 logits are NaN; use another checkpoint"):
        ClassMapd("pred")({"pred": logits, "image": image})


def test_infinite_logits_have_classes():
    logits = torch.full((6, 1, 1), -torch.inf)
    logits[3] = torch.inf
    assert ClassMapd("pred")({"pred": logits})["pred"].item() == 3


def test_the_distance_map_is_no_class():
    logits, classes = noise(7, 4, 5), PANNUKE
    logits[6] += 9  # would win, were it a class
    changed = ClassMapd("pred", "probs", classes)({"pred": logits})
    plain = ClassMapd("pred", "probs")({"pred": logits[:6]})
    assert torch.equal(changed["pred"], plain["pred"])
    assert torch.equal(changed["probs"], plain["probs"])
    assert torch.allclose(changed["distance"].float(), logits[6:].sigmoid(), atol=5e-4)
    assert (changed["distance"].shape, plain["distance"].shape) == ((1, 4, 5), (0, 4, 5))


def test_maps_of_a_softmax_compete_and_their_probabilities_sum_to_one_with_the_background():
    logits = noise(6, 7, 5)
    made = ClassMapd("pred", probs_key="probs", softmax=True)({"pred": logits})
    plain = np.exp(logits.numpy().astype(float))
    plain /= plain.sum(axis=0)
    assert np.array_equal(made["pred"][0].numpy(), plain.argmax(axis=0))
    assert np.allclose(made["probs"].numpy(), plain[1:], atol=1e-3)
    assert made["distance"].shape == (0, 7, 5)
    logits[2, 3, 3] = torch.nan
    with pytest.raises(NaNError, match="1 of 210 logits are NaN"):
        ClassMapd("pred", softmax=True)({"pred": logits})
