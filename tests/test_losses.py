import itertools
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monch_monai.class_table import PANNUKE, LabelSets
from monch_monai.errors import InputError
from monch_monai.losses import BCEAndDice, PerClassBCE, WithDistance, any_of
from tests.fakes.network import noise


def class_map(*shape, classes=6, seed=0):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def by_hand(logits, target):
    """Eq. (9) in numpy: the mean over classes, and over the pixels that count."""
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    total, counted = 0.0, 0
    for b, y, x in np.ndindex(target[:, 0].shape):
        if target[b, 0, y, x] == 255:
            continue
        counted += 1
        for c in range(p.shape[1]):
            total -= math.log(p[b, c, y, x] if target[b, 0, y, x] == c else 1 - p[b, c, y, x]) / p.shape[1]
    return total / counted


def test_zero_logits_cost_the_logarithm_of_two():
    loss = PerClassBCE()(torch.zeros(2, 6, 5, 7), class_map(2, 1, 5, 7))
    assert float(loss) == pytest.approx(math.log(2), abs=1e-6)


def test_one_pixel_by_hand():
    logits = torch.tensor([2.0, -1.0, 0.5]).reshape(1, 3, 1, 1)
    expected = (math.log1p(math.exp(2)) + math.log1p(math.exp(1)) + math.log1p(math.exp(0.5))) / 3
    assert float(PerClassBCE()(logits, torch.ones(1, 1, 1, 1, dtype=torch.uint8))) == pytest.approx(expected, abs=1e-6)


def test_agrees_with_the_formula():
    logits, target = 3 * noise(2, 6, 5, 7), class_map(2, 1, 5, 7)
    target[0, 0, :2] = 255
    assert float(PerClassBCE()(logits, target)) == pytest.approx(by_hand(logits, target), abs=1e-5)


def test_the_backgrounds_map_can_weigh_more_than_the_others():
    logits, target = noise(2, 6, 5, 7), class_map(2, 1, 5, 7)
    plain, without, weighed = (float(PerClassBCE(background_weight=w)(logits, target)) for w in (1, 0, 3))
    background = 6 * plain - 5 * without
    assert weighed == pytest.approx((3 * background + 5 * without) / 8, abs=1e-6)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "a", [5, 1]])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(InputError, match=r"background_weight is .* give a number of at least 0"):
        BCEAndDice(background_weight=weight)
    with pytest.raises(InputError, match=r"dice_weight is .* give a number of at least 0"):
        BCEAndDice(dice_weight=weight)


def test_a_sure_and_right_prediction_costs_nothing_and_a_wrong_one_its_logit():
    target = class_map(1, 1, 4, 4)
    right = torch.where(torch.arange(6).reshape(1, 6, 1, 1) == target, 50.0, -50.0)
    assert float(PerClassBCE()(right, target)) < 1e-6
    assert float(PerClassBCE()(-right, target)) == pytest.approx(50, abs=1e-4)


def test_ignored_pixels_change_neither_value_nor_gradient():
    target = class_map(2, 1, 6, 6)
    target[:, :, 2:4] = 255
    logits = noise(2, 6, 6, 6).requires_grad_()
    elsewhere = logits.detach().clone()
    elsewhere[:, :, 2:4] = 30
    loss = PerClassBCE()(logits, target)
    loss.backward()
    assert loss.item() == PerClassBCE()(elsewhere, target).item()
    assert logits.grad[:, :, 2:4].abs().max() == 0
    assert logits.grad[:, :, [0, 1, 4, 5]].abs().min() > 0


def test_ignored_rows_might_as_well_be_cut_off():
    target, logits = class_map(2, 1, 6, 6), noise(2, 6, 6, 6)
    target[:, :, 4:] = 255
    cut = PerClassBCE()(logits[:, :, :4], target[:, :, :4])
    assert float(PerClassBCE()(logits, target)) == pytest.approx(float(cut), abs=1e-6)


def test_a_batch_of_ignored_pixels_alone_costs_nothing_and_teaches_nothing():
    logits = noise(2, 6, 3, 3).requires_grad_()
    loss = PerClassBCE()(logits, torch.full((2, 1, 3, 3), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_integer_type_of_the_target_does_not_matter(dtype):
    logits, target = noise(1, 6, 4, 4), class_map(1, 1, 4, 4)
    target[0, 0, 0] = 255
    assert float(PerClassBCE()(logits, target.to(dtype))) == float(PerClassBCE()(logits, target))


def test_a_meta_tensor_as_target_gives_a_plain_loss():
    logits, target = noise(1, 6, 4, 4), class_map(1, 1, 4, 4)
    loss = PerClassBCE()(logits, MetaTensor(target))
    assert type(loss) is torch.Tensor
    assert float(loss) == float(PerClassBCE()(logits, target))


def test_gradient_is_that_of_finite_differences():
    logits, target = noise(1, 3, 2, 3, dtype=torch.float64).requires_grad_(), class_map(1, 1, 2, 3, classes=3)
    target[0, 0, 0, 0] = 255
    assert torch.autograd.gradcheck(lambda x: PerClassBCE()(x, target), (logits,))


@pytest.mark.parametrize(("bad", "dtype"), [(6, torch.uint8), (254, torch.uint8), (-1, torch.int64)])
def test_a_value_that_is_no_class_is_refused_by_name(bad, dtype):
    target = class_map(1, 1, 4, 4).to(dtype)
    target[0, 0, 2, 1] = bad
    with pytest.raises(ValueError, match=f"target holds {bad}; labels are 0 to 5"):
        PerClassBCE()(torch.zeros(1, 6, 4, 4), target)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 1, 4, 4), (1, 1, 4, 5), (1, 6, 4, 4)])
def test_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"logits are \[1, 6, 4, 4\], their target .*: sizes must agree"):
        PerClassBCE()(torch.zeros(1, 6, 4, 4), torch.zeros(shape, dtype=torch.uint8))


def dice_by_hand(logits, target):
    """Soft Dice loss in numpy, class by class."""
    p, counts = 1 / (1 + np.exp(-logits.double().numpy())), target[:, 0].numpy() != 255
    losses = []
    for c in range(p.shape[1]):
        truth = target[:, 0].numpy() == c
        if truth.any():
            here = p[:, c][counts]
            losses.append(1 - (2 * p[:, c][truth].sum() + 1) / (here.sum() + truth.sum() + 1))
    return sum(losses) / len(losses)


def test_bce_and_dice_is_the_sum_of_both_formulas():
    logits, target = 3 * noise(2, 6, 5, 7), class_map(2, 1, 5, 7, classes=5)  # class 5 is not there
    target[0, 0, :2] = 255
    expected = by_hand(logits, target) + 0.25 * dice_by_hand(logits, target)
    assert float(BCEAndDice(0.25)(logits, target)) == pytest.approx(expected, abs=1e-5)


def test_without_weight_dice_leaves_the_cross_entropy_alone():
    logits, target = noise(2, 6, 5, 7), class_map(2, 1, 5, 7)
    assert float(BCEAndDice(0)(logits, target)) == float(PerClassBCE()(logits, target))


def test_dice_of_a_right_prediction_is_nothing_and_of_nothing_to_count_is_zero():
    target = class_map(1, 1, 4, 4)
    right = torch.where(torch.arange(6).reshape(1, 6, 1, 1) == target, 50.0, -50.0)
    assert float(BCEAndDice(1)(right, target)) < 1e-6
    ignored = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    logits = noise(1, 6, 4, 4).requires_grad_()
    loss = BCEAndDice(1)(logits, ignored)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_dice_refuses_what_is_no_class():
    with pytest.raises(ValueError, match="target holds 6"):
        BCEAndDice()(torch.zeros(1, 6, 2, 2), torch.full((1, 1, 2, 2), 6, dtype=torch.uint8))


SETS = LabelSets(PANNUKE, ((1, 5), (1, 2, 3, 4, 5)))


def of_sets_by_brute_force(logits, target, weights):
    """The likelihood of each pixel's set by adding up all assignments of independent maps that it allows."""
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    total, counted = 0.0, 0
    for b, y, x in np.ndindex(target[:, 0].shape):
        if target[b, 0, y, x] == 255:
            continue
        counted += 1
        members = SETS.sets[target[b, 0, y, x]]
        ways = 0.0
        for chosen in itertools.product((0, 1), repeat=len(members)):
            if any(chosen):
                ways += math.prod(
                    p[b, c, y, x] if on else 1 - p[b, c, y, x] for c, on in zip(members, chosen, strict=True)
                )
        total -= np.mean([weights[c] for c in members]) * math.log(ways)
        total -= sum(weights[c] * math.log(1 - p[b, c, y, x]) for c in range(6) if c not in members)
    return total / sum(weights) / counted


@pytest.mark.parametrize("weight", [1, 5, 0])
def test_a_set_of_classes_costs_what_all_its_ways_together_do(weight):
    logits, target = (4 * noise(2, 6, 3, 4)).requires_grad_(), class_map(2, 1, 3, 4, classes=8)
    target[0, 0, 0] = 255
    assert (target == 6).any()
    assert (target == 7).any()
    loss = PerClassBCE(SETS, weight)(logits, target)
    expected = of_sets_by_brute_force(logits.detach(), target, [weight, 1, 1, 1, 1, 1])
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.autograd.gradcheck(lambda x: PerClassBCE(SETS, weight)(x, target), logits.detach().double().requires_grad_())


def test_a_set_of_one_is_the_class_to_the_bit():
    logits, target = noise(2, 6, 5, 7), class_map(2, 1, 5, 7)
    for loss in (PerClassBCE, BCEAndDice):
        assert loss(labels=SETS)(logits, target) == loss()(logits, target)
    assert (any_of(logits[:, :1]) - logits[:, 0]).abs().max() < 1e-5


@pytest.mark.parametrize("logit", [-300.0, -90.0, -20.0, -12.0, 0.0, 14.0, 90.0, 300.0])
def test_a_set_costs_a_finite_amount_and_has_a_gradient_however_sure_the_maps_are(logit):
    logits = torch.full((1, 6, 2, 2), logit, requires_grad=True)
    loss = PerClassBCE(SETS)(logits, torch.full((1, 1, 2, 2), 7))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    joint = any_of(logits.detach().double()[:, 1:])
    assert (
        joint[0, 0, 0].item() == pytest.approx(logit + math.log(5) if logit < -10 else max(logit, 3), abs=0.5)
        or logit >= 0
    )
    if logit < 0:
        assert (logits.grad[:, 1:] < 0).all()


def test_a_set_is_satisfied_by_any_of_its_classes_and_by_no_other():
    def cost(*sure):
        logits = torch.full((1, 6, 1, 1), -9.0)
        logits[:, list(sure)] = 9.0
        return float(PerClassBCE(SETS)(logits, torch.full((1, 1, 1, 1), 6)))

    assert max(cost(1), cost(5), cost(1, 5)) < 1e-3
    assert min(cost(), cost(2), cost(0), cost(1, 2), cost(0, 1)) > 1


@pytest.mark.parametrize(("shares", "expected"), [([9, 3, 1, 1, 1, 1], [0.75, 0.25]), ([1, 0, 1, 1, 1, 0], [0.5, 0.5])])
def test_the_classes_of_a_set_share_its_gradient_as_asked_at_the_same_loss(shares, expected):
    logits = (4 * noise(1, 6, 3, 4)).requires_grad_()
    target = torch.full((1, 1, 3, 4), 6)  # the set of classes 1 and 5
    plain = PerClassBCE(SETS)(logits, target)
    shared = PerClassBCE(SETS, class_shares=shares)(logits, target)
    assert shared.item() == pytest.approx(plain.item(), rel=1e-6)
    gradient, likelihood = (torch.autograd.grad(loss, logits)[0] for loss in (shared, plain))
    joint = -torch.sigmoid(-any_of(logits.detach()[:, [1, 5]])) / (6 * 12)  # maps, pixels
    for member, share in zip((1, 5), expected, strict=True):
        torch.testing.assert_close(gradient[:, member], joint * share, rtol=1e-4, atol=1e-7)
    others = [0, 2, 3, 4]
    torch.testing.assert_close(gradient[:, others], likelihood[:, others])
    assert not torch.allclose(gradient, likelihood)


def test_shares_for_another_number_of_classes_are_refused():
    for loss in (PerClassBCE, BCEAndDice):
        with pytest.raises(InputError, match="class_shares has 2 numbers; give one for each of 6"):
            loss(labels=SETS, class_shares=[1, 2])


def test_dice_leaves_out_pixels_of_several_classes_for_those_classes_alone():
    logits, target = noise(1, 6, 4, 4), class_map(1, 1, 4, 4)
    several = target.clone()
    several[0, 0, 0] = 6
    dice = BCEAndDice(1.0, SETS)(logits, several) - PerClassBCE(SETS)(logits, several)
    probs, kept = logits.sigmoid(), several != 6
    parts = []
    for c in range(6):
        p = probs[:, c : c + 1] * (kept if c in (1, 5) else 1)
        y = several == c
        if y.any():
            parts.append(1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))
    assert float(dice) == pytest.approx(float(sum(parts) / len(parts)), abs=1e-6)


def test_the_distance_costs_its_cross_entropy_beside_the_classes_loss():
    logits, target = noise(2, 7, 5, 4), class_map(2, 1, 5, 4)
    target[0, 0, :2] = 255
    distance = torch.rand(2, 1, 5, 4, generator=torch.Generator().manual_seed(3))
    p, counts = logits[:, 6:].double().sigmoid(), target != 255
    by_hand = -(distance * p.log() + (1 - distance) * (1 - p).log())[counts].mean()
    found = WithDistance(BCEAndDice(), 0.5)(logits, torch.cat([target.float(), distance], dim=1))
    assert float(found) == pytest.approx(float(BCEAndDice()(logits[:, :6], target)) + 0.5 * float(by_hand), abs=1e-5)


def test_the_distance_is_learned_as_it_is_and_not_where_pixels_are_ignored():
    distance = torch.tensor([0.0, 0.3, 1.0, 0.8]).reshape(1, 1, 1, 4)
    target = torch.cat([torch.tensor([0.0, 1, 1, 255]).reshape(1, 1, 1, 4), distance], dim=1)
    best = torch.cat([torch.zeros(1, 6, 1, 4), torch.logit(distance, eps=1e-6)], dim=1).requires_grad_()
    WithDistance(PerClassBCE())(best, target).backward()
    assert best.grad[:, 6].abs().max() < 1e-5
    moved = best.detach() + torch.eye(7)[6].reshape(1, 7, 1, 1)
    moved.requires_grad_()
    WithDistance(PerClassBCE())(moved, target).backward()
    assert (moved.grad[0, 6, 0, 1:3].abs() > 1e-7).all()
    assert moved.grad[0, 6, 0, 3] == 0
