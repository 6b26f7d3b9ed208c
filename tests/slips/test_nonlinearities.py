"""Slips in [C] (nonlinearities shape loss surfaces): its formulas as printed, and corrected.

Everything is built from the paper's own equations, not from `sweep.constructions`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sweep.seeds import stream

N, D = 12, 2


def fitted():
    """x (N, D), y (N,), the best affine fit W̃ (D+1,) of the squared loss, its F and V = ∂F/∂f."""
    rng = stream("controls", "slips", "C")
    x, y = rng.normal(size=(N, D)), np.where(rng.random(N) < 0.5, -1.0, 1.0)
    X = np.column_stack([x, np.ones(N)])
    W = np.linalg.lstsq(X, y, rcond=None)[0]
    residual = X @ W - y
    return x, y, W, float((residual**2).sum()), 2 * residual


def hard(z):
    """A piecewise-linear h whose kink t = −1 has h(t) = −1: hard tanh."""
    return np.clip(z, -1.0, 1.0)


def network(layers, h, x):
    """Ŷ of eq. 3 without a last activation, data points as rows."""
    found = x
    for W, b in layers[:-1]:
        found = h(found @ W.T + b)
    W, b = layers[-1]
    return (found @ W.T + b)[:, 0]


def lemma_4(W, x, widths, slope):
    """Ŵ′ and b̂′ as Lemma 4 prints them, d_Y = 1, with η from eq. 31."""
    eta = min(0.0, float((x @ W[:-1] + W[-1]).min())) - 1.0
    W1 = np.zeros((widths[0], D))
    W1[0] = W[:-1]
    b1 = np.full(widths[0], -eta)
    b1[0] += W[-1]
    layers = [(W1, b1)]
    for before, width in pairwise(widths):
        inner = np.zeros((width, before))
        inner[0, 0] = 1 / slope
        inner[1:, 1] = 1 / slope
        layers.append((inner, np.zeros(width)))
    last = np.zeros((1, widths[-1]))
    last[0, 0] = 1 / slope
    return [*layers, (last, np.array([eta]))]


def lemma_5(layers, x, t, height, alphas, sigma, corrected):
    """Ŵ″ and b̂″ of eqs. 46 to 48, with the last bias as printed or corrected."""
    (W1, b1), *inner, (W_last, b_last) = layers
    M = 1.5 * np.linalg.norm(x @ W1.T + b1) / sigma
    found, product = [(W1 / M, b1 / M + t)], 1.0
    for (W, b), alpha in zip(inner, alphas, strict=True):
        product *= alpha
        shift = -alpha * (W @ np.full(W.shape[1], height)) + t + product / M * b
        found.append((alpha * W, shift))
    scaled = M / product * W_last
    printed = b_last - M * height
    right = b_last - scaled @ np.full(scaled.shape[1], height)
    return [*found, (scaled, right if corrected else printed)]


@pytest.mark.parametrize("widths", [(2,), (3, 2), (2, 3, 2)], ids=str)
def test_equation_48_needs_the_scaled_weights_in_the_last_bias(widths):
    x, _, W, _, _ = fitted()
    fit = x @ W[:-1] + W[-1]
    alphas = np.linspace(0.4, 0.8, len(widths) - 1)
    four = lemma_4(W, x, widths, slope=1.0)

    def output(height, corrected):
        # The kink t = −1 of hard tanh, raised so that h(t) is what is asked.
        layers = lemma_5(four, x, -1.0, height, alphas, 2.0, corrected)
        return network(layers, lambda z: hard(z) + 1.0 + height, x)

    for height in (-1.0, 0.5, 3.0):
        assert output(height, corrected=True) == pytest.approx(fit, abs=1e-11)
    # As printed the factor on h(t) is M instead of M/Π α: it agrees at h(t) = 0 and, with s₊ = 1,
    # in one hidden layer.
    assert output(0.0, corrected=False) == pytest.approx(fit, abs=1e-11)
    wrong = np.abs(output(3.0, corrected=False) - fit).max()
    assert wrong > 1.0 if len(widths) > 1 else wrong < 1e-11


def test_equation_48_as_printed_forgets_the_slope():
    x, _, W, _, _ = fitted()
    fit, four = x @ W[:-1] + W[-1], lemma_4(W, x, (2,), slope=2.0)

    def h(z):
        return 2 * hard(z)

    right = network(lemma_5(four, x, -1.0, -2.0, [], 2.0, corrected=True), h, x)
    printed = network(lemma_5(four, x, -1.0, -2.0, [], 2.0, corrected=False), h, x)
    assert right == pytest.approx(fit, abs=1e-11)
    assert np.abs(printed - fit).max() > 1.0


def better_point(W, x, gamma, level, left, right):
    """Eqs. 20 to 23 with d_Y = 1, d_1 = 2, β = 0 and η₁ = level."""
    W1 = np.stack([W[:-1], -W[:-1]])
    b1 = np.array([W[-1] - level + gamma, -W[-1] + level + gamma])
    W2 = np.array([[1.0, -1.0]]) / (right + left)
    return [(W1, b1), (W2, np.array([level]))]


@pytest.mark.parametrize(("left", "right"), [(0.0, 1.0), (0.3, 1.0), (1.7, 1.0), (-0.2, 1.0)])
def test_the_sign_of_gamma_in_theorems_3_and_4_is_reversed(left, right):
    x, y, W, least, V = fitted()
    outputs = x @ W[:-1] + W[-1]
    order = np.argsort(outputs)
    kappa = (right - left) / (right + left)

    def h(z):
        return np.where(z > 0, right * z, left * z)

    for cut in range(1, N):
        below = order[:cut]  # the paper's I
        level = outputs[order[cut - 1 : cut + 1]].mean()
        room = np.diff(outputs[order[cut - 1 : cut + 1]])[0] / 2
        if abs(kappa * V[below].sum()) < 1e-3 or room < 1e-4:
            continue
        size = 1e-6
        printed = -np.sign(kappa * V[below].sum()) * size
        for gamma, lower in ((printed, False), (-printed, True)):
            f = network(better_point(W, x, gamma, level, left, right), h, x)
            change = float(((f - y) ** 2).sum()) - least
            assert (change < 0) == lower
            # Printed: +2κγ Σ_I V. It is −2κγ Σ_I V.
            assert change == pytest.approx(-2 * kappa * gamma * V[below].sum(), rel=1e-2)


def test_slopes_of_opposite_sign_cannot_carry_the_fit():
    x, _, W, _, _ = fitted()
    with np.errstate(divide="ignore"):
        assert not np.isfinite(better_point(W, x, 0.1, 0.0, -1.0, 1.0)[1][0]).any()
    # h(p+γ) − h(−p+γ) = 2γ·sgn p for h = |z| and |p| ≥ γ: nothing of p is left to be scaled.
    p, gamma = np.array([-3.0, -1.0, 0.5, 2.0]), 0.25
    assert np.allclose(np.abs(p + gamma) - np.abs(-p + gamma), 2 * gamma * np.sign(p))
