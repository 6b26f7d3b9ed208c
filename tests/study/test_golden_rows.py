"""Pinned numbers and trainers: a change here means that `NUMERICS_VERSION` has to be raised.

Numbers are those of twenty steps from the keyed streams, compared to 1e-11: tight enough to notice
another formula, order of draws or initialisation, loose enough for another processor's rounding of
exp.
"""

from __future__ import annotations

import pytest

from sweep.cli.compose import compose
from sweep.cli.library import Library
from sweep.job import run_job
from sweep.planning import jobs
from sweep.rows import NUMERICS_VERSION
from sweep.spec import Block
from sweep.study.resolve import resolve
from sweep.study.trainers import trainers_of

GOLDEN = {
    ("iris_pair", "plain", 0): (None, 69.80134618731624, 65.35518429007983),
    ("iris_pair", "exp", 0): (0.003017555960060097, 90.35673566914309, 152.14679953513553),
    ("iris_pair", "exp", 3): (0.002189432813262479, 90.35673586609785, 152.1468015589912),
    ("iris_pair", "exp_unregularized", 0): (None, 90.3567363868168, 152.146806909754),
    ("iris_pair", "extra_neuron", 0): (None, 68.89175970150703, 90.71756662287594),
    ("two_moons", "plain", 0): (None, 19.980471223793934, 20.84320392390842),
    ("two_moons", "exp", 0): (0.003017555960060097, 24.00406702907645, 39.8163547768425),
    ("two_moons", "exp", 3): (0.002189432813262479, 24.00406713235172, 39.81635362551189),
    ("two_moons", "exp_unregularized", 0): (None, 24.00406740539689, 39.816350581547),
    ("two_moons", "extra_neuron", 0): (None, 19.683837232756538, 20.068270552388686),
}


def test_golden_rows() -> None:
    assert NUMERICS_VERSION == 6
    study, *_ = resolve(compose(["stopping.max_steps=20"]))
    compared = 0
    for job in jobs(study, [Block(1, 1)]):
        rows = run_job(job).columns
        for i in range(len(rows["seed"])):
            key = (job.cell.problem.name, rows["arm"][i], rows["draw"][i])
            if key in GOLDEN:
                lam, objective, grad_norm = GOLDEN[key]
                assert rows["lam"][i] == lam
                assert rows["final_objective"][i] == pytest.approx(objective, rel=1e-11)
                assert rows["final_grad_norm"][i] == pytest.approx(grad_norm, rel=1e-11)
                assert rows["steps"][i] == 20
                compared += 1
    assert compared == len(GOLDEN)


FUSED, TORCH = "fused", "torch"
#: Per packaged study and arm who trains it; where cells differ, how many cells each trains.
TRAINERS: dict[str, dict[str, str | dict[str, int]]] = {
    "affine_minimum_cross_entropy": {"plain": FUSED},
    "affine_minimum_lemma_3": {"plain": FUSED},
    "affine_minimum_lemma_4": {"plain": FUSED},
    "affine_minimum_lemma_5": {"plain": TORCH},
    "better_point_thm_1": {"plain": TORCH, "exp": TORCH},
    "better_point_thm_3_4": {"plain": FUSED, "exp": FUSED},
    "better_point_thm_4": {"plain": FUSED, "exp": FUSED},
    "cells": {"plain": FUSED},
    "classes": {"plain": FUSED},
    "conflicting_prop_2": {"plain": FUSED, "exp": FUSED},
    "conv_theorem_2": {"convolution": TORCH},
    "conv_theorem_2_deep": {"convolution": TORCH},
    "default": {"plain": FUSED, "exp": FUSED, "exp_unregularized": FUSED, "extra_neuron": FUSED},
    "exp_per_layer_contrast": {"plain": FUSED, "exp_per_layer": FUSED},
    "exp_per_layer_theorem_2": {"plain": FUSED, "exp_per_layer": FUSED},
    "exp_theorem_1": {"plain": FUSED, "exp": FUSED},
    "exp_unregularized": {"plain": FUSED, "exp": FUSED, "exp_unregularized": FUSED},
    "inactive_cor_1_2": {"plain": FUSED, "exp": FUSED, "exp_per_layer": FUSED, "monomial": FUSED},
    "linear_collapse": {"plain": FUSED},
    "linearly_separable_prop_3": {"plain": FUSED, "exp": FUSED},
    "monomial_prop_1": {
        "plain": FUSED,
        "monomial_1": FUSED,
        "monomial_2": FUSED,
        "monomial_3": FUSED,
    },
    "quadratic_prop_2": {"quadratic": FUSED, "above": FUSED},
    "quick": {"plain": FUSED, "exp": FUSED, "extra_neuron": FUSED},
    "requ_coercive": {"coercive": FUSED},
    "requ_equal_lambda": {"distinct": FUSED, "equal": FUSED},
    "requ_escapes": {"plain": FUSED, "coercive": FUSED},
    "requ_prop_1": {"coercive": FUSED},
    "requ_theorem_1": {"coercive": FUSED},
    "teacher_student": {"plain": TORCH},
    "valley": {"plain": FUSED},
    "width_frequency": {"plain": FUSED},
    "xyz": {"plain": TORCH},
}


def test_every_packaged_study_is_pinned() -> None:
    assert Library().options("study") == sorted(TRAINERS)


@pytest.mark.parametrize("name", TRAINERS)
def test_golden_trainers(name: str) -> None:
    """The two trainers round differently: rows of another one are other rows."""
    study, *_ = resolve(compose([f"study={name}"]))
    found = {
        arm: dict(cells) if len(cells) > 1 else next(iter(cells))
        for arm, cells in trainers_of(study).items()
    }
    assert found == TRAINERS[name]
