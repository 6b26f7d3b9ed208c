"""Slips in [B] (eliminating decreasing paths to infinity): as printed, and corrected."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sweep.seeds import stream

LN2 = math.log(2)


def logistic(z):
    return torch.nn.functional.softplus(z, threshold=40.0) / LN2


def simplex(n, radius):
    """The n vertices (n, n) of a regular simplex about 0 (they span n − 1 dimensions)."""
    centred = np.eye(n) - 1 / n
    return radius * centred / np.linalg.norm(centred[0])


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 32])
def test_points_of_norm_2_with_products_below_minus_1_exist_for_at_most_4(n):
    # 0 ≤ ‖Σx‖² < 4n − n(n−1): more than four such points there are not.
    gram = np.full((n, n), -1 - 1e-9)
    np.fill_diagonal(gram, 4.0)
    assert (np.linalg.eigvalsh(gram)[0] >= 0) == (n <= 4)
    # The regular simplex has the least largest product, −ϱ²/(n−1): its radius decides.
    x = simplex(n, 2.0)
    products = (x @ x.T)[~np.eye(n, dtype=bool)]
    assert np.allclose(products, -4 / (n - 1))
    assert (products.max() < -1 - 1e-12) == (n <= 4)
    wide = simplex(n, math.sqrt(n - 1) * 1.01)
    assert (wide @ wide.T)[~np.eye(n, dtype=bool)].max() < -1


def minimum_of(value, start):
    """A stationary point of a torch function of a vector, by scipy."""

    def both(theta):
        point = torch.tensor(theta, requires_grad=True)
        found = value(point)
        (gradient,) = torch.autograd.grad(found, point)
        return found.item(), gradient.numpy()

    found = minimize(both, start, jac=True, method="BFGS", options={"gtol": 1e-12})
    return found.x


def test_equation_18_drops_the_norm_of_z():
    x, lam = np.array([1.2, -0.5]), 0.3
    z = np.append(x, 1.0)
    length = float(np.linalg.norm(z))

    def true_loss(theta):
        a, u = theta[0], theta[1:]
        f = a * torch.relu(u @ torch.tensor(z)) ** 2
        return logistic(-f) + lam / 3 * (a.abs() ** 3 + 2 * u.norm() ** 3)

    def slope_at(a, r):
        theta = torch.tensor(np.append(a, r * z), requires_grad=True)
        return torch.autograd.grad(true_loss(theta), theta)[0].norm().item()

    def printed(theta):
        a, r = theta
        f = a * torch.relu(r) ** 2
        return logistic(-f) + lam / 3 * (a.abs() ** 3 + 2 * r.abs() ** 3)

    def corrected(theta):
        # u = rz: u·z = r‖z‖², ‖u‖ = r‖z‖.
        a, r = theta
        f = a * torch.relu(r * length**2) ** 2
        return logistic(-f) + lam / 3 * (a.abs() ** 3 + 2 * (r.abs() * length) ** 3)

    start = np.array([1.0, 1.0])
    assert slope_at(*minimum_of(printed, start)) > 0.1
    assert slope_at(*minimum_of(corrected, start)) < 1e-7


def test_proposition_2_needs_strengths_below_a_bound():
    """XOR is quadratically separable; large distinct λ make θ = 0 a strict minimum of error 1."""
    x = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    y = np.array([-1.0, 1, 1, -1])
    Z = np.column_stack([x, np.ones(4)])
    assert (y * (0.0 - x[:, 0] * x[:, 1]) > 0).all()
    m, q = 2 * 2 + 4, -y / (2 * LN2)  # q_i = −y_i ℓ′(0)
    bound = np.abs(np.linalg.eigvalsh(Z.T @ (q[:, None] * Z))).max()

    def objective(a, u, lam):
        f = ((Z @ u.T) ** 2) @ a
        size = np.abs(a) ** 3 + 2 * np.linalg.norm(u, axis=1) ** 3
        return float(logistic(torch.tensor(-y * f)).sum()) + float(lam @ size) / 3

    rng = stream("controls", "slips", "B")
    large = bound * (1.05 + np.arange(m) / m)
    small = bound * (0.4 + np.arange(m) / 20)
    rest = np.zeros(m), np.zeros((m, 3))
    here = objective(*rest, large)
    assert here == pytest.approx(4.0)  # f = 0 everywhere, and a zero output is an error: R = 1
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(200):
            a, u = rng.normal(size=m), rng.normal(size=(m, 3))
            length = size / math.sqrt(float(a @ a + (u**2).sum()))
            assert objective(length * a, length * u, large) > here
    # Below the bound F falls from 0 along the worst direction: λ₀ may not be left out.
    values, vectors = np.linalg.eigh(Z.T @ (q[:, None] * Z))
    k = int(np.abs(values).argmax())
    a, u = np.zeros(m), np.zeros((m, 3))
    a[0], u[0] = -np.sign(values[k]) * 0.05, 0.05 * vectors[:, k]
    assert objective(a, u, small) < here
    assert objective(a, u, large) > here


def test_the_factor_at_critical_points_of_equation_6_is_one_half_and_biases_count():
    """Proof of Thm 2: Σλ|a|³ = Σλ‖(w, b)‖³ as in eq. 9, and (λ_c/2)(‖v‖²−1)‖v‖² = Σλ‖(w, b)‖‖w‖².

    Printed are |a|^{3/2}, the factor λ_c, and ‖(w, b)‖³ for all three: scaling v scales what w
    meets, not b, so that the last equality needs b = 0.
    """
    rng = stream("controls", "slips", "convolution")
    x, y = torch.tensor(rng.normal(size=(3, 2))), torch.tensor([1.0, -1.0, 1.0])
    s, m, lam_c = 2, 3, 0.7
    lam = torch.tensor([0.02, 0.03, 0.05], dtype=torch.float64)
    first = torch.zeros(3, 2, dtype=torch.float64)

    def parts(theta):
        v, rest = theta[:s], theta[s:].reshape(m, -1)
        return v, rest[:, 0], rest[:, 1:]

    def value(theta):
        v, a, u = parts(theta)
        # (v∗x)_k = Σ_i v_i x_{k−i}: each layer is longer by s − 1.
        h = sum(v[i] * torch.cat([first[:, :i], x, first[:, : s - 1 - i]], 1) for i in range(s))
        z = torch.cat([torch.where(h > 0, h, 0.1 * h), torch.ones(3, 1)], 1)
        f = torch.relu(z @ u.T).square() @ a
        penalty = (lam * (a.abs() ** 3 + 2 * u.norm(dim=1) ** 3)).sum() / 3
        return logistic(-y * f).sum() + penalty + lam_c / 4 * (v.square().sum() - 1) ** 2

    theta = minimum_of(value, rng.normal(size=s + m * (1 + 2 + s - 1 + 1)))
    v, a, u = parts(torch.tensor(theta))
    cubes, length = (lam * a.abs() ** 3).sum().item(), u.norm(dim=1)
    size = v.square().sum().item()
    assert cubes > 0.1
    assert (lam * length**3).sum().item() == pytest.approx(cubes, rel=1e-5)
    seen = (lam * length * u[:, :-1].square().sum(1)).sum().item()
    assert lam_c / 2 * (size - 1) * size == pytest.approx(seen, rel=1e-5)
    assert seen < 0.9 * cubes
    assert lam_c * (size - 1) * size != pytest.approx(cubes, rel=0.05)
    assert (lam * a.abs() ** 1.5).sum().item() != pytest.approx(cubes, rel=0.1)
