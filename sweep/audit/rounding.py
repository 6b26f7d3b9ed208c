"""How far two float64 evaluations of the same formula can be apart.

A running error bound (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3): a sum of n
products errs by at most (n+2)·u·Σ|products| besides what its terms bring along, σ stretches an
error by sup|σ′| and adds a few u of its own. Both routes may err by that much, so stored and
recomputed numbers may differ by twice the bound (`ROUTES`).

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
u       unit roundoff, 2⁻⁵³
N, K    data points, units of a layer
e       error bounds of f, f̃ − f                               (N,)
e_z     error bounds of preactivations                         (N, K)
======  =====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.elementwise import Activation
from sweep.audit.formulas import DataFormula, MlpFormula

U = 2.0**-53
ROUTES = 2.0
# exp, tanh and the like err by less than 4 units in the last place in every libm in use.
FUNCTION = 8 * U
# Nothing is known of a module's inside; its layers' products are taken to lose no more than seven
# of the sixteen digits.
UNKNOWN = 1e-9


@dataclass(frozen=True)
class Traced:
    """One member evaluated with error bounds; `z` lists the preactivations of every layer.

    The added ordinary neurons' are the last entry of `z` and `z_errors`.
    """

    base: torch.Tensor
    added: torch.Tensor
    base_error: torch.Tensor
    added_error: torch.Tensor
    z: list[torch.Tensor]
    z_errors: list[torch.Tensor]

    @property
    def full(self) -> torch.Tensor:
        """f̃, (N,)."""
        return self.base + self.added

    @property
    def error(self) -> torch.Tensor:
        """Bound of the error of f̃, (N,)."""
        return self.base_error + self.added_error + U * self.full.abs()


def trace(formula: DataFormula, theta: torch.Tensor) -> Traced:
    """Outputs of one member (P,) with bounds of their rounding errors."""
    z: list[torch.Tensor] = []
    z_errors: list[torch.Tensor] = []
    if isinstance(formula, MlpFormula):
        base, base_error = _trace_layers(formula, theta, z, z_errors)
    elif isinstance(formula, CoerciveFormula | ConvolutionFormula):
        base, base_error = formula.base(theta), formula.base_error(theta)
    else:
        base = formula.base(theta)
        base_error = UNKNOWN * (1 + base.abs().amax()) * torch.ones_like(base)
    added = formula.added(theta)
    added_error = torch.zeros_like(added)
    if formula.layered:
        assert isinstance(formula, MlpFormula), "neurons inside need known layers"
        inside = _trace_inside(formula, theta)[0] + base_error + U * base.abs()
        added_error = torch.nan_to_num(inside, nan=torch.inf, posinf=torch.inf)
    for a, w, b in formula.neurons(theta):
        t = formula.x @ w + b
        t_error = sum_error(formula.x, w.unsqueeze(0), b.unsqueeze(0), None)[:, 0]
        if formula.exponential:
            size = a.abs() * torch.exp(t)
            added_error = added_error + size * (torch.expm1(t_error) + 2 * FUNCTION)
        elif formula.degree:
            p, reach = formula.degree, t.abs() + t_error
            moved = p * t_error * reach ** (p - 1) + (FUNCTION + p * U) * reach**p
            added_error = added_error + a.abs() * moved
        else:
            assert isinstance(formula, MlpFormula), "an extra neuron needs a known activation"
            size = (a * formula.ordinary(t)).abs()
            moved = formula.activation.moved(t, t_error)
            added_error = added_error + a.abs() * moved + size * 2 * FUNCTION
            added_error = added_error + a.abs() * roughness(formula, t)
            z.append(t.unsqueeze(1))
            z_errors.append(t_error.unsqueeze(1))
    return Traced(base, added, base_error, added_error + 4 * U * added.abs(), z, z_errors)


def _trace_inside(
    formula: MlpFormula, theta: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """With exponential neurons inside the layers: error of f̃ (N,), their w·h + …, its errors."""
    h, error, exponents, errors = formula.x, torch.zeros_like(formula.x), [], []
    *hidden, (weight, bias) = formula.layers(theta)
    e, e_error, into = formula.y * 0.0, formula.y * 0.0, theta[:0]
    neurons = formula.inside.neurons(theta)
    for (inner, shift), (w, b, leaving) in zip(hidden, neurons, strict=True):
        rows, shifts = torch.cat([inner, w.unsqueeze(0)]), torch.cat([shift, b.reshape(1)])
        z, z_error = h @ rows.T + shifts, sum_error(h, rows, shifts, error)
        if len(into):
            sent = e[:, None] * into
            z = z + sent
            z_error = z_error + _sent(e_error[:, None], into) + 2 * U * (sent.abs() + z.abs())
        h = formula.activation.value(z[:, :-1])
        error = formula.activation.moved(z[:, :-1], z_error[:, :-1]) + FUNCTION * h.abs()
        e = torch.exp(z[:, -1])
        doubt = e * (torch.expm1(z_error[:, -1]) + FUNCTION)
        # An exponent that is not known at all says nothing of the exponential.
        e_error = torch.where(z_error[:, -1] < 1, doubt, torch.inf)
        into = leaving
        exponents.append(z[:, -1])
        errors.append(z_error[:, -1])
    total = sum_error(h, weight, bias, error)[:, 0] + _sent(e_error, into)
    return total + 4 * U * (e * into).abs(), exponents, errors


def _sent(error: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The error behind a weight: none behind one of exactly zero, however large it was."""
    return torch.where(weight == 0, torch.zeros_like(error), error * weight.abs())


def _trace_layers(
    formula: MlpFormula,
    theta: torch.Tensor,
    z: list[torch.Tensor],
    z_errors: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    h, error = formula.x, None
    *hidden, (weight, bias) = formula.layers(theta)
    for inner, shift in hidden:
        z.append(h @ inner.T + shift)
        z_errors.append(sum_error(h, inner, shift, error))
        h = formula.activation.value(z[-1])
        error = formula.activation.moved(z[-1], z_errors[-1]) + FUNCTION * h.abs()
        error = error + roughness(formula, z[-1])
    return (h @ weight.T + bias)[:, 0], sum_error(h, weight, bias, error)[:, 0]


def roughness(formula: MlpFormula, z: torch.Tensor) -> torch.Tensor | float:
    """What σ(z) loses besides its last digits: a sum of pieces may cancel."""
    share, offset = formula.activation.rough
    return FUNCTION * (share * z.abs() + offset) if share or offset else 0.0


def near_a_kink(activation: Activation, z: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Where a preactivation that errs by `error` may lie on either side of a kink."""
    found = torch.zeros_like(z, dtype=torch.bool)
    for t in activation.kinks:
        found = found | ((z - t).abs() <= ROUTES * error)
    return found


def sum_error(
    h: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, error: torch.Tensor | None
) -> torch.Tensor:
    """A bound of the error of h @ weight.T + bias, (N, K), when h itself errs by `error`."""
    size = h.abs() @ weight.abs().T + bias.abs()
    found = (h.shape[1] + 2) * U * size
    return found if error is None else found + error @ weight.abs().T


def loss_error(formula: DataFormula, output: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Bound of the error of Σ ℓ, a scalar: ℓ is convex, so its ends are its extremes."""
    z = -formula.y * output
    value = formula.loss.value(z)
    ends = [(formula.loss.value(z + sign * error) - value).abs() for sign in (-1.0, 1.0)]
    rounded = (formula.y.shape[0] * U + 2 * FUNCTION) * value
    # An output beyond float64 still has its sign, and its loss is that of the end it lies at.
    moved = torch.where(torch.isinf(z), torch.zeros_like(value), torch.maximum(*ends))
    return (moved + rounded).sum()


def gradient_error(
    formula: DataFormula, theta: torch.Tensor, lam: torch.Tensor, traced: Traced
) -> torch.Tensor:
    """Bound of the error of ‖∇F‖₂, a scalar.

    Point i contributes qᵢ·∂f̃ᵢ/∂θ. The error of qᵢ = ℓ′ is its change over the outputs' error
    (ℓ′ grows, so the ends decide); ∂f̃ᵢ/∂θ is a sum of products bounded by the derivative Gᵢ of the
    network of absolute values, and errs relatively by the rounding of its factors, by σ″ times the
    preactivations' errors, or by all of Gᵢ where a preactivation may lie on either side of a kink.
    """
    z = -formula.y * traced.full
    slope = formula.loss.slope(z)
    ends = [(formula.loss.slope(z + s * traced.error) - slope).abs() for s in (-1.0, 1.0)]
    relative = torch.full_like(z, (formula.x.shape[1] + len(z) + 64) * U)
    if isinstance(formula, MlpFormula):
        for units, errors in zip(traced.z, traced.z_errors, strict=True):
            if formula.activation.square:
                relative = relative + UNKNOWN  # rounding is relative to the sizes themselves
            relative = relative + formula.activation.curvature * errors.amax(1)
            relative = relative + near_a_kink(formula.activation, units, errors).any(1).to(z.dtype)
    else:
        relative = relative + UNKNOWN
    if isinstance(formula, ConvolutionFormula):
        relative = relative + 2 * formula.seen(theta)[2].to(z.dtype) / formula.slope
    if formula.exponential:
        ((_, w, b),) = formula.neurons(theta)
        relative = relative + 2 * sum_error(formula.x, w.unsqueeze(0), b.unsqueeze(0), None)[:, 0]
    relative = relative + formula.degree * (formula.x.shape[1] + 4) * U
    if formula.layered:
        assert isinstance(formula, MlpFormula), "neurons inside need known layers"
        for errors in _trace_inside(formula, theta)[2]:
            relative = relative + 2 * (1 + formula.activation.curvature) * errors
    weights = (torch.maximum(*ends) + slope.abs() * relative).detach()
    if not isinstance(formula, MlpFormula):
        derivatives = torch.func.jacrev(lambda point: formula.base(point) + formula.added(point))
        lengths = derivatives(theta).square().sum(1).sqrt()
        total: torch.Tensor = (weights * lengths).sum()
        if isinstance(formula, ConvolutionFormula):
            total = total + formula.penalty_slope_error(theta)
        return total
    if formula.layered:
        exponents = _trace_inside(formula, theta)[1]
    else:
        exponents = [formula.x @ w + b for _, w, b in formula.neurons(theta)]

    def bounded(size: torch.Tensor) -> torch.Tensor:
        output = _absolute_output(formula, size, exponents)
        return (weights * output).sum() + FUNCTION * formula.penalty(size, lam)

    gradient: torch.Tensor = torch.func.grad(bounded)(theta.detach().abs())
    return gradient.square().sum().sqrt()


def _absolute_output(
    formula: MlpFormula, size: torch.Tensor, exponents: list[torch.Tensor]
) -> torch.Tensor:
    """A function of the sizes |θ| (P,) → (N,) whose derivatives bound those of f̃ at θ.

    `exponents` are the added neurons' w·x + b at θ itself.
    """
    x = formula.x.abs()
    *hidden, (weight, bias) = formula.layers(size)
    activation = formula.activation
    h = x
    inside = formula.inside.neurons(size) if formula.layered else []
    sent: torch.Tensor | None = None
    for k, (inner, shift) in enumerate(hidden):
        z = h @ inner.T + shift
        if inside:
            w, b, leaving = inside[k]
            t = h @ w + b
            if sent is not None:
                z, t = z + sent[:, :-1], t + sent[:, -1]
            # Value and derivative of the exponential at the point itself.
            sent = (torch.exp(exponents[k]) * (1 + t - t.detach()))[:, None] * leaving
        h = activation.sized(z)
    total = (h @ weight.T + bias)[:, 0]
    if sent is not None:
        return total + sent[:, 0]
    for (a, w, b), t in zip(formula.neurons(size), exponents, strict=True):
        z = x @ w + b
        if formula.exponential:
            # Value exp(t) and derivative exp(t)·|x| at the point itself.
            total = total + a * torch.exp(t) * (1 + z - z.detach())
        elif formula.degree:
            total = total + a * z**formula.degree
        else:
            total = total + a * activation.sized(z)
    return total
