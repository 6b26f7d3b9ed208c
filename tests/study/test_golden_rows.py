"""Pinned numbers: a change here means that `NUMERICS_VERSION` has to be raised.

Twenty steps from the keyed streams, compared to 1e-11: tight enough to notice another formula,
order of draws or initialisation, loose enough for another processor's rounding of exp.
"""

from __future__ import annotations

import pytest

from sweep.cli.compose import compose
from sweep.job import run_job
from sweep.planning import jobs
from sweep.rows import NUMERICS_VERSION
from sweep.spec import Block
from sweep.study.resolve import resolve

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
    assert NUMERICS_VERSION == 2
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
