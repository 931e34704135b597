import pytest
import torch

from models.training.classifier.averaging import average


def averages(decay: float, values: list[float]) -> float:
    averaged = [torch.tensor(values[0])]
    for done, value in enumerate(values[1:], start=1):
        average(averaged, [torch.tensor(value)], done, decay=decay)
    return float(averaged[0])


def test_the_first_steps_are_forgotten_long_before_the_decay_alone_would():
    jump = [0.0] * 50 + [1.0] * 450
    assert averages(0.998, jump) > 0.99
    assert 1 - 0.998**450 < 0.6


def test_late_in_a_run_the_decay_is_the_recipes():
    averaged = [torch.tensor(1.0)]
    average(averaged, [torch.tensor(0.0)], 10**6, decay=0.998)
    assert float(averaged[0]) == pytest.approx(0.998)


def test_what_does_not_change_stays():
    assert averages(0.9, [3.0] * 20) == pytest.approx(3.0)


def test_whole_numbers_are_copied_not_averaged():
    batches_tracked = [torch.tensor(3)]
    average(batches_tracked, [torch.tensor(9)], 10**6, decay=0.998)
    assert int(batches_tracked[0]) == 9
