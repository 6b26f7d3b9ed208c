"""Verdicts of monomial arms, f̃ = f + a·(w·x+b)^p with λa²/2 ([A] eq. 7, Prop. 1).

Along (a·e^{−ps}, e^{s}(w, b)) f̃ stays and F falls to L(f̃), so with λ > 0 a point with a ≠ 0 is no
minimum; the limit problem L(f̃), polished from the point, says where descent leads.

- The base network separates: `global_minimum`, by `sweep.judge.separates`.
- The neuron can rest and no polynomial of degree ≤ p improves on the fit: `local_minimum` at
  a = 0 (`sweep.judge.monomial.rest`). That happens only below the degree that separates the data.
- Only f̃ separates: `escaping`, `ray`, limit 0.
- The limit problem is stationary: `escaping`, `chart`, with its objective and errors.

With λ = 0 a stationary limit is a stationary point of F itself, of which nothing is said.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S, P    members, parameters, (a, w, b) last                    θ̃ (S, P)
L       Σᵢ ℓ(−yᵢ f̃(xᵢ))
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.attained import settle_attained
from sweep.judge.base import Judgement
from sweep.judge.bounds import proven_bound
from sweep.judge.exponential.end import End
from sweep.judge.exponential.limit import Setting
from sweep.judge.exponential.limit_descent import settle_by_descent
from sweep.judge.exponential.limit_problem import BareOfMonomial, base_objective
from sweep.judge.exponential.ray import settle_scaled
from sweep.judge.exponential.verdicts import AT_BOUND, settle_end, store
from sweep.judge.monomial.kinks import end_of_monomial
from sweep.judge.monomial.rest import settle_resting
from sweep.judge.readings import read
from sweep.judge.separates import added_is_free, base_is_free, settle_separated
from sweep.judge.shallow import Shallow
from sweep.models.augmentations import Monomial
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective


def settle_monomial(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Settle open members of monomial arms on MLPs whose base weights cost nothing.

    The limit problem is known for smooth networks, and for one hidden layer with kinks at zero.
    """
    if not isinstance(objective, DataObjective) or not isinstance(objective.network, MlpNetwork):
        return
    if not isinstance(objective.augmentation, Monomial) or not base_is_free(objective):
        return
    free = added_is_free(objective, lam, len(found.params))
    settle_scaled(found, objective, lam, ~free)
    settle_resting(found, objective, lam)
    shallow = Shallow.of(base_objective(objective))
    setting = None if shallow is None else Setting.of(shallow)
    if shallow is not None and setting is not None:
        _over_kinks(found, objective, lam, shallow, setting)
    elif not objective.network.activation.piecewise_linear:
        _smooth(found, objective, lam)


def _over_kinks(
    found: Judgement,
    objective: DataObjective,
    lam: np.ndarray | None,
    shallow: Shallow,
    setting: Setting,
) -> None:
    """One hidden layer of a piecewise-linear homogeneous activation, member by member."""
    assert isinstance(objective.augmentation, Monomial)
    p, ends = objective.augmentation.p, dict[int, End]()
    strength = np.zeros(len(found.params)) if lam is None else lam[:, 0]
    for member in np.flatnonzero(found.open).tolist():
        lam_of = float(strength[member])
        end = end_of_monomial(shallow, setting, p, found.params[member], lam_of)
        if end is not None:
            ends[member] = end
            found.polish_steps[member] += end.steps
    stored = store(found, objective, lam, ends)
    settle_separated(found, objective, lam, read(objective, found.params, lam))
    bound = proven_bound(objective.loss, shallow.X[:, :-1], shallow.y)
    settle_attained(found, objective, lam, bound, AT_BOUND)
    settle_scaled(found, objective, lam, strength > 0)
    # The neuron may come to cancel an affine map of the base network, which can do without.
    settle_resting(found, objective, lam)
    for member, end in ends.items():
        finite = end.evidence and not end.separates
        if found.open[member] and finite and member in stored and strength[member] > 0:
            settle_end(found, member, end)


def _smooth(found: Judgement, objective: DataObjective, lam: np.ndarray | None) -> None:
    """Any smooth MLP; for an even degree members of each sign of a have a problem of their own."""
    assert isinstance(objective.augmentation, Monomial)
    sign = np.sign(found.params[:, objective.n_base])
    if objective.augmentation.p % 2:
        sign = np.abs(sign)
    for value in (1.0, -1.0):
        some = np.flatnonzero(found.open & (sign == value))
        if len(some):
            bare = BareOfMonomial.of(objective, value)
            settle_by_descent(found, objective, lam, bare, some)
