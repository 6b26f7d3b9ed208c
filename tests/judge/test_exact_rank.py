"""Directions are flat only where they are in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sweep.controls.confusion import Ended
from sweep.judge import StandardJudge
from sweep.judge.cells.corner import least_derivative
from sweep.judge.cells.place import Setting
from sweep.judge.cells.verdicts import certified
from sweep.judge.numerics.exact_rank import PRIME, exact_rank, rank_on_manifold, sure_rank
from sweep.judge.numerics.kernel_losses import HINGE
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop


def test_ranks_are_exact_where_singular_values_are_not() -> None:
    draw = stream("test", "exact rank")
    a, b = np.round(draw.normal(size=(2, 7)), 3)
    assert exact_rank(np.stack([a, b, 2 * a, -b])) == 2
    # 1e-20 of a column is a direction, and so is the last bit of one.
    assert exact_rank(np.c_[np.ones(2), [1e-20, -1e-20]]) == 2
    assert exact_rank(np.stack([a, a * (1 + 2.0**-52)])) == exact_rank(a[None]) + 1
    assert exact_rank(np.c_[[1e300, 2e300], [1e-300, 2e-300]]) == 1
    assert exact_rank(np.zeros((3, 2))) == exact_rank(np.zeros((0, 4))) == 0
    # A multiple of the prime is not zero.
    assert exact_rank(np.array([[1.0, 0.0], [1.0, PRIME * 2.0**-72]])) == 2


def test_ranks_are_those_of_rational_elimination() -> None:
    draw = stream("test", "rational rank")
    for _ in range(20):
        A = draw.integers(-2, 3, size=(5, 4)) * 2.0 ** draw.integers(-40, 40, size=4)
        rows, rank = [[Fraction(v) for v in row] for row in A.tolist()], 0
        for column in range(4):
            pivot = next((row for row in rows[rank:] if row[column]), None)
            if pivot is None:
                continue
            rows.remove(pivot)
            rows.insert(rank, pivot)
            for k in range(rank + 1, 5):
                factor = rows[k][column] / pivot[column]
                rows[k] = [v - factor * p for v, p in zip(rows[k], pivot, strict=True)]
            rank += 1
        assert exact_rank(A) == rank


def test_data_that_hide_a_direction_from_the_prime_prove_nothing() -> None:
    # Modulo the prime all eight are one number; nearly they are 0, 1, 2, …
    x = np.ldexp(3.0 + PRIME * np.arange(8.0), -31)
    X = np.c_[x, np.ones(8)]
    assert exact_rank(X) == 1
    assert sure_rank(X) is None
    assert sure_rank(np.round(X)) == 2
    # Scale and repetition hide nothing; nor does a column that is another's multiple count twice.
    assert sure_rank(np.c_[1e-13 * np.round(x), np.ones(8)]) == 2
    assert sure_rank(np.c_[X[:, 1], 3 * X[:, 1], np.zeros(8)]) == 1
    assert sure_rank(np.zeros((0, 2))) == sure_rank(np.zeros((3, 2))) == 0
    rng = stream("test", "prime")
    for _ in range(5):
        data = Data(x[:, None], rng.normal(size=(8, 2)))
        model = Mlp(1, Choice("leaky_relu"), 2)
        f = build_objective(data, model, NoAugmentation(), Squared(), NoRegularizer())
        ended = Ended(rng.normal(size=(8, 6)), np.full(8, Stop.STEPS.value, dtype=object))
        assert set(StandardJudge().judge(f, ended, None).certificate) == {"none"}


def test_held_kinks_take_their_directions() -> None:
    X = np.c_[[-1.0, 0.5, 2.0, 3.0], np.ones(4)]
    free = rank_on_manifold(np.ones((1, 4)), [X[:0]], X, [])
    held = rank_on_manifold(np.ones((1, 4)), [X[:1]], X, [])
    assert (free, held) == (2, 2)
    # Held on two kinks the unit is off, and the bias is left.
    assert rank_on_manifold(np.ones((1, 4)), [X[:2]], X, []) == 1


@pytest.mark.parametrize("centre, spread", [(1e6, 1.0), (1e9, 1.0), (0.0, 1e-14), (0.0, 1e-20)])
def test_badly_scaled_data_do_not_make_a_slope_look_flat(centre: float, spread: float) -> None:
    # Separable on a line: whatever is not separated can be tilted, so there is no bad minimum
    # with a live unit.
    draw = stream("test", "badly scaled", 1)
    t = draw.normal(size=12)
    x, y = centre + spread * t, np.sign(t)
    setting = Setting(np.c_[x, np.ones(12)], y, (0.0, 1.0), HINGE, 3.0)
    for _ in range(20):
        a, W = draw.normal(size=2), draw.normal(size=(2, 2))
        place, proof, _ = certified(setting, a, W, float(draw.normal()))
        if proof is None:
            continue
        assert not ((place.s != 0)[:, None] & (place.Z > 0)).any()


def test_a_faint_column_is_a_direction_at_corners_too() -> None:
    # D(δ) = 1e-13·(δ₁ + |δ₁|·…) falls along the faint column alone.
    points = np.c_[[1e-13, -1e-13], [1.0, 1.0]]
    assert least_derivative(np.array([-1e-14, 0.0]), np.array([-1.0, 3.0]), points, 1e-12) is None
