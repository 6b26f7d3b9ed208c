from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from sweep.inference.clustered_logistic import clustered_slope, separated
from sweep.seeds import stream

Z = np.log([0.001, 0.02, 0.03, 1.0])


def counts(seed: int, n_seeds: int, m: int, slope: float = 0.3) -> np.ndarray:
    """Bad rows of each seed and level, (S, k): a seed's own number makes its rows alike."""
    rng = stream("test", "clustered", seed, m)
    own = rng.normal(0.0, 1.5, (n_seeds, 1, 1))
    chance = 1 / (1 + np.exp(1.5 - slope * Z[None, :, None] + own))
    return np.asarray((rng.random((n_seeds, len(Z), m)) < chance).sum(axis=-1), dtype=np.float64)


@pytest.mark.parametrize("m", [1, 3])
def test_slope_and_error_are_those_of_gee_and_of_a_clustered_glm(m: int) -> None:
    b = counts(1, 150, m)
    found = clustered_slope(Z, b, m)
    # One line per row, as statsmodels wants it.
    yes = (np.arange(m) < b[..., None]).astype(float).ravel()
    design = sm.add_constant(np.broadcast_to(Z[None, :, None], (*b.shape, m)).ravel())
    seed = np.repeat(np.arange(len(b)), len(Z) * m)
    gee = sm.GEE(yes, design, groups=seed, family=sm.families.Binomial()).fit()
    assert found.value == pytest.approx(gee.params[1], rel=1e-8)
    assert found.error == pytest.approx(gee.bse[1], rel=1e-7)
    glm = sm.GLM(yes, design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": seed, "use_correction": False}
    )
    assert found.error == pytest.approx(glm.bse[1], rel=1e-7)


def test_repetitions_side_by_side_equal_one_by_one() -> None:
    stacked = np.stack([counts(seed, 60, 2, slope) for seed, slope in ((2, -0.5), (3, 0.9))])
    together = clustered_slope(Z, stacked, 2)
    for i, one in enumerate(stacked):
        alone = clustered_slope(Z, one, 2)
        assert together.value[i] == pytest.approx(float(alone.value), rel=1e-12)
        assert together.error[i] == pytest.approx(float(alone.error), rel=1e-12)


def test_separation_is_found_before_it_is_fitted() -> None:
    z = np.array([0.0, 1.0, 3.0])
    cases = {
        (0, 0, 0): True,
        (4, 4, 4): True,
        (0, 0, 4): True,
        (0, 2, 4): True,  # quasi-complete: the threshold's level has both
        (4, 3, 0): True,
        (0, 0, 1): True,
        (0, 1, 2): False,
        (1, 0, 1): False,
        (0, 3, 0): False,
        (0, 4, 3): False,
    }
    yes = np.array(list(cases))
    assert separated(z, yes, 4 - yes).tolist() == list(cases.values())
    # Each level's bad rows are those of other seeds, so that every table says something.
    b = ((np.arange(4)[:, None] + np.arange(3)) % 4 < yes[:, None, :]).astype(float)
    slope = clustered_slope(z, b)
    assert np.isnan(slope.value).tolist() == list(cases.values())
    assert np.isnan(slope.error).tolist() == list(cases.values())
    assert np.isnan(clustered_slope(np.ones(3), b).value).all()


def test_rare_events_are_fitted() -> None:
    b = np.zeros((20_000, 3))
    b[0, 1] = b[1, 1] = b[2, 2] = 1.0
    z = np.array([0.0, 1.0, 2.0])
    found = clustered_slope(z, b)
    p = 1 / (1 + np.exp(-np.log(1e-4)))  # so rare that the estimate is that of a Poisson model
    tilted = np.exp(found.value * z)
    assert (tilted * z).sum() / tilted.sum() == pytest.approx(4 / 3, rel=10 * p)
    assert 0 < found.error < 10


def test_an_error_of_zero_is_none() -> None:
    """Seeds that are alike at every level, or that rise as much as they fall, show no slope."""
    z = np.array([0.0, 1.0, 2.0])
    alike = np.repeat([[1.0], [0.0], [0.0]], 3, axis=1)
    arched = np.array([[0.0, 1.0, 0.0]] * 5 + [[0.0, 0.0, 0.0]] * 5)
    for b in (alike, arched):
        assert np.isnan(clustered_slope(z, b)).all()


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.0, 0.4])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_the_slopes_interval_covers_under_strong_correlation(shared: float, slope: float) -> None:
    """10,000 repetitions of 300 seeds, whose draws share one fate with the chance `shared`."""
    repetitions, parts, n_seeds = 10_000, 20, 300
    rng = stream("test", "coverage", str(shared), str(slope))
    z = Z - Z.mean()
    p = 1 / (1 + np.exp(2.0 - slope * z))
    covered = []
    for _ in range(parts):
        shape = (repetitions // parts, n_seeds, 1)
        own = rng.random((*shape[:-1], len(z)))
        uniform = np.where(rng.random(shape) < shared, rng.random(shape), own)
        found = clustered_slope(z, (uniform < p).astype(float))
        covered.append(np.abs(found.value - slope) <= 1.959964 * found.error)
    print(f"shared {shared}, slope {slope}: covered {np.mean(covered)}")
    # Few seeds differ between draws when most share their fate: the normal ends are then a little
    # narrow, as those of every sandwich covariance.
    assert np.mean(covered) >= 0.94
