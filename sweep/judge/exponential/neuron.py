"""The added neuron of the limit problem, compiled, in charts that reach where it goes.

With the regularizer gone (b → ∞ makes λa²/2 vanish and keeps α = a·eᵇ) the neuron is α·e^{w·x},
and its minima often lie at infinity. Each chart makes one of those ends an ordinary point:

======  ==============================  =====================================================
chart   neuron at centred x             its end at infinity
======  ==============================  =====================================================
EXP     σ·e^{ω·x̃}, ω = (w, β)           none: α = σ·e^β is finite and w is
FLAT    (e^{ε v·x} − 1)/ε               ε → 0, σε > 0: α = 1/ε → ∞, w = εv → 0, a linear skip
QUAD    σ·(u·x)²/2                      ε → 0, v → ∞, √|ε|v → u: a unit takes the linear part
GONE    0                               w → ∞: points of label σ are fitted, the others see none
MONO    σ·(ω·x̃)^p                       none; the monomial neuron of degree p, kept in place of ε
======  ==============================  =====================================================

σ = sign α never changes. In FLAT the constant −1/ε is the output bias's. MONO is a chart of the
arm `monomial` and leads to no other: a → 0 while (w, b) grows makes λa²/2 vanish and keeps
ω = |a|^{1/p}(w, b). Symbols:

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, D    data points, input dimension
n       D + 1
x̃       centred data with a last column of ones                    (N, n)
ω       the chart's parameters: (w, β), (v, idle), (u, idle)       (n,)
r       what the data see: ω·x̃ (EXP, MONO), v·x (FLAT), u·x       (N,)
ε       FLAT's 1/α, MONO's degree, else idle                       scalar
======  =========================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np

from sweep.kernels.compiled import compiled

EXP, FLAT, QUAD, GONE, MONO = 0, 1, 2, 3, 4
# e^600 = 1e260: far beyond any fit, and its square is the largest number that is formed from it.
MAX_EXPONENT = 300.0
# Below this |t| the series of `flat_terms` are cut at t¹⁶: 0.3¹⁶/17! is 1e-23.
SERIES = 0.3


@compiled
def power(z: float) -> float:
    """e^z, held below overflow."""
    return math.exp(min(z, MAX_EXPONENT))


@compiled
def raised(r: float, degree: float) -> float:
    """R to a whole power; 0 to a negative one, which only comes with a factor 0."""
    found = 1.0 if degree >= 0.0 else 0.0
    for _ in range(int(degree)):
        found *= r
    return found


@compiled
def flat_terms(t: float) -> tuple[float, float, float]:
    """φ = (e^t−1)/t and its successors ψ = φ′, χ = φ″, exact to rounding through t = 0.

    With n = r·φ(εr): ∂n/∂ε = r²ψ(εr) and ∂²n/∂ε² = r³χ(εr).
    """
    if abs(t) < SERIES:
        phi, psi, chi, term = 0.0, 0.0, 0.0, 1.0
        for k in range(16):
            term = term / (k + 1) if k == 0 else term * t / (k + 1)
            phi += term
            psi += term * (k + 1) / (k + 2)
            chi += term * (k + 1) / (k + 3)
        return phi, psi, chi
    e, m = power(t), math.expm1(min(t, MAX_EXPONENT))
    return m / t, (t * e - m) / t**2, (t * t * e - 2.0 * t * e + 2.0 * m) / t**3


@compiled
def flat_pair(t: float) -> tuple[float, float]:
    """(φ, ψ) alone, to the last bit those of `flat_terms`: searches along lines need no more."""
    if abs(t) < SERIES:
        phi, psi, term = 0.0, 0.0, 1.0
        for k in range(16):
            term = term / (k + 1) if k == 0 else term * t / (k + 1)
            phi += term
            psi += term * (k + 1) / (k + 2)
        return phi, psi
    e, m = power(t), math.expm1(min(t, MAX_EXPONENT))
    return m / t, (t * e - m) / t**2


@compiled
def seen_by(chart: int, omega: np.ndarray, X: np.ndarray) -> np.ndarray:
    """What the data see, r (N,), of parameters or of a direction ω (n,)."""
    r = np.zeros(X.shape[0])
    used = omega.size if chart in (EXP, MONO) else omega.size - 1
    if chart != GONE:
        for i in range(r.size):
            for k in range(used):
                r[i] += omega[k] * X[i, k]
    return r


@compiled
def neuron(chart: int, sigma: float, r: float, eps: float) -> float:
    """The neuron's output at one point."""
    if chart == EXP:
        return sigma * power(r)
    if chart == FLAT:
        return r * flat_terms(eps * r)[0]
    if chart == QUAD:
        return 0.5 * sigma * r * r
    if chart == MONO:
        return sigma * raised(r, eps)
    return 0.0


@compiled
def neuron_slope(chart: int, sigma: float, r: float, dr: float, eps: float, deps: float) -> float:
    """The neuron's derivative along (dr, dε) at one point."""
    if chart == EXP:
        return sigma * power(r) * dr
    if chart == FLAT:
        return power(eps * r) * dr + r * r * flat_terms(eps * r)[1] * deps
    if chart == QUAD:
        return sigma * r * dr
    if chart == MONO:
        return sigma * eps * raised(r, eps - 1.0) * dr
    return 0.0


@compiled
def neurons(chart: int, sigma: float, r: np.ndarray, eps: float) -> np.ndarray:
    """The neuron's outputs at many points, (N,)."""
    found = np.empty(r.size)
    for i in range(r.size):
        found[i] = neuron(chart, sigma, r[i], eps)
    return found


@compiled
def neuron_along(
    chart: int, sigma: float, r: float, dr: float, eps: float, deps: float
) -> tuple[float, float]:
    """(`neuron`, `neuron_slope`) at one point, for little more than the price of one of them."""
    if chart == EXP:
        value = sigma * power(r)
        return value, value * dr
    if chart == FLAT:
        phi, psi = flat_pair(eps * r)
        return r * phi, power(eps * r) * dr + r * r * psi * deps
    if chart == QUAD:
        return 0.5 * sigma * r * r, sigma * r * dr
    if chart == MONO:
        below = sigma * raised(r, eps - 1.0)
        return below * r, eps * below * dr
    return 0.0, 0.0


@compiled
def neuron_row(
    chart: int, sigma: float, r: float, eps: float, x: np.ndarray, row: np.ndarray
) -> None:
    """Fill the neuron's gradient in (ω) or (v, ε), (n,)."""
    last = x.size - 1
    slope = neuron_slope(chart, sigma, r, 1.0, eps, 0.0)
    for k in range(last):
        row[k] = slope * x[k]
    row[last] = 0.0
    if chart in (EXP, MONO):
        row[last] = slope * x[last]
    elif chart == FLAT:
        row[last] = neuron_slope(chart, sigma, r, 0.0, eps, 1.0)


@compiled
def add_bend(
    chart: int, sigma: float, r: float, eps: float, x: np.ndarray, q: float, onto: np.ndarray
) -> None:
    """Add q times the neuron's Hessian at one point to the last rows of `onto` (m, m)."""
    n = x.size
    at = onto.shape[0] - n
    turn = 0.0
    if chart == EXP:
        turn = q * sigma * power(r)
    elif chart == FLAT:
        turn = q * eps * power(eps * r)
    elif chart == QUAD:
        turn = q * sigma
    elif chart == MONO:
        turn = q * sigma * eps * (eps - 1.0) * raised(r, eps - 2.0)
    for a in range(n - 1):
        for b in range(n - 1):
            onto[at + a, at + b] += turn * x[a] * x[b]
        mixed = turn * x[a] if chart in (EXP, MONO) else 0.0
        if chart == FLAT:
            mixed = q * r * power(eps * r) * x[a]
        onto[at + a, at + n - 1] += mixed
        onto[at + n - 1, at + a] += mixed
    if chart in (EXP, MONO):
        onto[at + n - 1, at + n - 1] += turn
    elif chart == FLAT:
        onto[at + n - 1, at + n - 1] += q * r**3 * flat_terms(eps * r)[2]
