"""Distillation: each formula against its slow loop, finite differences and the paper's limit."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.distillation import (
    cosine_distillation,
    sigmoid_distillation,
    softmax_distillation,
)

STUDENT = torch.tensor(
    [[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-3.0, 1.0, 0.5], [0.2, 0.1, 4.0]], dtype=torch.float64
)
TEACHER = torch.tensor(
    [[1.5, 0.5, -2.0], [4.0, -1.0, 0.0], [-3.0, 1.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64
)
ALL = (softmax_distillation, sigmoid_distillation, cosine_distillation)


def softmax(row, temperature):
    powers = [math.exp(z / temperature) for z in row]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.5, 20.0])
def test_softmax_distillation_equals_the_slow_loop(temperature):
    losses, weights = softmax_distillation(STUDENT, TEACHER, temperature=temperature)
    expected = []
    for mine, given in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        p, q = softmax(mine, temperature), softmax(given, temperature)
        expected.append(
            temperature**2 * sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        )
    assert losses.tolist() == pytest.approx(expected)
    assert weights.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_sigmoid_distillation_equals_the_slow_loop(temperature):
    losses, _ = sigmoid_distillation(STUDENT, TEACHER, temperature=temperature)
    expected = []
    for mine, given in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        terms = []
        for z, t in zip(mine, given, strict=True):
            p, q = softmax([z, 0.0], temperature), softmax([t, 0.0], temperature)
            terms.append(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
        expected.append(temperature**2 * sum(terms) / len(terms))
    assert losses.tolist() == pytest.approx(expected)


def test_cosine_distillation_equals_the_slow_loop():
    losses, _ = cosine_distillation(STUDENT, TEACHER)
    for mine, given, loss in zip(STUDENT, TEACHER, losses.tolist(), strict=True):
        lengths = math.hypot(*mine.tolist()) * math.hypot(*given.tolist())
        cosine = sum(a * b for a, b in zip(mine, given, strict=True)) / lengths if lengths else 0
        assert loss == pytest.approx(1 - float(cosine))
    torch.testing.assert_close(cosine_distillation(3 * STUDENT, TEACHER)[0], losses)


@pytest.mark.parametrize("objective", ALL)
def test_gradients_equal_finite_differences(objective):
    student = (STUDENT + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: objective(z, TEACHER)[0], student)


@pytest.mark.parametrize("objective", ALL)
def test_a_student_that_answers_as_the_teacher_has_nothing_to_learn(objective):
    student = TEACHER.clone().requires_grad_()
    losses, _ = objective(student, TEACHER)
    losses.sum().backward()
    torch.testing.assert_close(losses, torch.zeros_like(losses), atol=1e-12, rtol=0)
    torch.testing.assert_close(student.grad, torch.zeros_like(student), atol=1e-12, rtol=0)


def test_at_a_high_temperature_centred_logits_are_matched():
    # Hinton et al. 2015, equation 4: for T far above the logits the gradient is (z - v) / C
    student = STUDENT.clone().requires_grad_()
    softmax_distillation(student, TEACHER, temperature=1e4)[0].sum().backward()
    middle = [z - z.mean(1, keepdim=True) for z in (STUDENT, TEACHER)]
    expected = (middle[0] - middle[1]) / STUDENT.shape[1]
    torch.testing.assert_close(student.grad, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("objective", [softmax_distillation, sigmoid_distillation])
def test_certain_answers_stay_finite(objective):
    student = torch.tensor([[1e4, -1e4], [0.0, 5.0]], requires_grad=True)
    losses, _ = objective(student, torch.tensor([[-1e4, 1e4], [-1e4, 1e4]]), temperature=0.5)
    losses.sum().backward()
    assert losses.isfinite().all() and student.grad.isfinite().all()
