import math

import pytest
import torch

from models.training.classifier.loss import ClassLoss
from models.training.classifier.recipe import Loss

COUNTS = [100, 10, 0] + [0] * 12
SHARES = torch.tensor([0.9, 0.1] + [0.0] * 13, dtype=torch.float64)
LOGITS = torch.tensor([[1.0, 2.0, 50.0] + [9.0] * 12])


def loss(label: int, **how: object) -> float:
    made = ClassLoss(Loss(**{"label_smoothing": 0.0, **how}), counts=COUNTS, shares=SHARES)
    return float(made(LOGITS, torch.tensor([label])))


def test_classes_without_cells_take_no_part():
    assert loss(0) == pytest.approx(math.log(1 + math.e), rel=1e-6)


def test_smoothing_spreads_over_supported_classes_alone():
    plain, other = math.log(1 + math.e), math.log(1 + 1 / math.e)
    assert loss(0, label_smoothing=0.2) == pytest.approx(0.8 * plain + 0.2 * (plain + other) / 2)


def test_the_logit_adjustment_adds_the_log_of_a_classs_share():
    adjusted = math.log(1 + math.exp(2.0 + math.log(0.1) - 1.0 - math.log(0.9)))
    assert loss(0, kind="logit_adjusted") == pytest.approx(adjusted, rel=1e-6)
    assert loss(0, kind="logit_adjusted", tau=0.0) == pytest.approx(loss(0))


def test_class_balanced_weights_follow_the_effective_number_and_average_to_one():
    beta = 0.99
    inverse = [(1 - beta) / (1 - beta**n) for n in (100, 10)]
    mean = sum(inverse) / 2
    for label in (0, 1):
        weighted = loss(label, kind="class_balanced", beta=beta)
        assert weighted == pytest.approx(loss(label) * inverse[label] / mean, rel=1e-5)


def test_no_gradient_reaches_the_logit_of_an_unsupported_class():
    logits = LOGITS.clone().requires_grad_()
    made = ClassLoss(Loss(), counts=COUNTS, shares=SHARES)
    made(logits, torch.tensor([1])).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, 2:] == 0).all() and (logits.grad[0, :2] != 0).all()


def test_beliefs_take_their_share_of_the_target():
    beliefs = torch.tensor([[0.25, 0.75] + [0.0] * 13])
    made = ClassLoss(Loss(label_smoothing=0.0), counts=COUNTS, shares=SHARES, believing=0.4)
    mixed = float(made(LOGITS, torch.tensor([0]), beliefs))
    assert mixed == pytest.approx(0.6 * loss(0) + 0.4 * (0.25 * loss(0) + 0.75 * loss(1)))
