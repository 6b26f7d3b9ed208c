"""Points of known truth: what is a minimum is certified, what is not never is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sweep.judge.base import Judgement
from sweep.judge.cells.place import Place, Setting
from sweep.judge.cells.polish import polish_kinks
from sweep.judge.cells.proof import Proof, prove
from sweep.judge.cells.verdicts import certified, settle_cells
from sweep.judge.numerics.kernel_losses import code_of
from sweep.judge.shallow import Shallow
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.losses import HingePower, Logistic, Loss, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import Data
from sweep.registry import Choice

LOSSES: dict[str, Loss] = {
    "hinge": HingePower(3),
    "power": HingePower(4.5),
    "squared": Squared(),
    "logistic": Logistic(),
}
SLOPES = {"relu": (0.0, 1.0), "leaky": (0.2, 1.0), "bent": (-0.5, 1.0)}


def setting_for(rng: np.random.Generator, loss: Loss, slopes: tuple[float, float]) -> Setting:
    """30 points with labels of which a tenth is flipped: no line separates them."""
    x = rng.standard_normal((30, 2))
    y = np.where(x[:, 0] + 0.3 * rng.standard_normal(30) > 0, 1.0, -1.0)
    y[:3] *= -1
    kernel = code_of(loss)
    assert kernel is not None
    return Setting(np.c_[x, np.ones(30)], y, slopes, *kernel)


def affine_fit(setting: Setting) -> np.ndarray:
    """The best affine u, f = u·x̃: damped Newton, to the last bit that F still tells apart."""
    u = np.zeros(3)
    for _ in range(100):
        _, first, second = setting.terms(-setting.y * (setting.X @ u))
        g = setting.X.T @ (-setting.y * first)
        step = np.linalg.solve((setting.X.T * second) @ setting.X + 1e-12 * np.eye(3), -g)
        F = setting.terms(-setting.y * (setting.X @ u))[0].sum()
        t = 1.0
        while t > 1e-9 and setting.terms(-setting.y * (setting.X @ (u + t * step)))[0].sum() > F:
            t /= 2
        u = u + t * step
    return u


def split(
    rng: np.random.Generator, setting: Setting, u: np.ndarray, active: int, dead: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """(a, W, c) of a network that equals u·x̃ on the data: [C] Lemma 3, shares of any sign."""
    share = rng.uniform(0.2, 2, active) * np.where(rng.random(active) < 0.3, -1, 1)
    share[0] = 1 - share[1:].sum() if abs(1 - share[1:].sum()) > 0.1 else share[0]
    share /= share.sum()
    a = rng.uniform(0.5, 2, active + dead) * np.sign(rng.standard_normal(active + dead))
    W = rng.standard_normal((active + dead, 3))
    c = u[2]
    for j in range(active):
        W[j] = np.append(share[j] * u[:2], 0.0) / a[j]
        W[j, 2] = rng.uniform(0.1, 2) - (W[j] @ setting.X.T).min()
        c -= a[j] * W[j, 2]
    for j in range(active, active + dead):
        W[j, 2] = -rng.uniform(0.1, 2) - (W[j, :2] @ setting.X[:, :2].T).max()
        if setting.slopes[0] != 0.0:
            a[j] = 0.0
    return a, W, c


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("slopes", SLOPES)
def test_best_affine_fits_are_certified_at_their_own_value(loss: str, slopes: str) -> None:
    rng = np.random.default_rng(4)
    certificates = 0
    for _ in range(12):
        setting = setting_for(rng, LOSSES[loss], SLOPES[slopes])
        u = affine_fit(setting)
        F = setting.terms(-setting.y * (setting.X @ u))[0].sum()
        point = split(rng, setting, u, int(rng.integers(1, 4)), int(rng.integers(0, 3)))
        place, proof, _ = certified(setting, *point)
        certificates += proof is not None
        np.testing.assert_allclose(place.F, F, rtol=1e-9)
    assert certificates == 12


def lower_nearby(setting: Setting, place: Place, radius: float, rng: np.random.Generator) -> float:
    """How far, relative to F, the best of 1,000 points within the radius lies below the place."""
    d = rng.standard_normal((1000, place.V.size + 1))
    d[500:] *= rng.random((500, place.V.size + 1)) < 0.3
    d /= np.linalg.norm(d, axis=1)[:, None] + 1e-300
    d *= min(radius, 1e3) * rng.random((1000, 1)) ** 2
    V = place.V + d[:, :-1].reshape(1000, *place.V.shape)
    Z = V @ setting.X.T
    lo, hi = setting.slopes
    f = np.einsum("h,bhi->bi", place.s, np.where(Z > 0, hi * Z, lo * Z))
    z = -setting.y * (f + place.c + d[:, -1:])
    if setting.code == 0:
        F = (np.maximum(z + 1, 0) ** setting.p).sum(1)
    elif setting.code == 1:
        F = ((z + 1) ** 2).sum(1)
    else:
        F = np.logaddexp(0, z).sum(1) / np.log(2)
    return float(1 - F.min() / place.F)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("slopes", SLOPES)
def test_nothing_in_the_certified_ball_is_lower(loss: str, slopes: str) -> None:
    rng = np.random.default_rng(5)
    proofs: list[Proof] = []
    for _ in range(25):
        setting = setting_for(rng, LOSSES[loss], SLOPES[slopes])
        a, W = rng.standard_normal(3), rng.standard_normal((3, 3))
        place, proof, _ = certified(setting, a, W, float(rng.standard_normal()))
        if proof is not None:
            assert proof.within <= proof.radius / 2
            rounding = 1e-14 + 4 * float(np.abs(place.q) @ place.doubt) / place.F
            assert lower_nearby(setting, place, proof.radius, rng) < rounding
            proofs.append(proof)
    # without a regularizer logistic loss often has no minimum
    assert len(proofs) >= (5 if loss == "logistic" else 12) and any(proof.kinks for proof in proofs)


def unpolished(setting: Setting, a: np.ndarray, W: np.ndarray, c: float) -> Proof | str:
    return prove(Place.polished(setting, a, W, c, 0, 1e-12))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_unit_on_a_concave_kink_is_refused_and_left(loss: str) -> None:
    """An affine fit with a unit that just touches a point: descent, if the kink is concave."""
    rng = np.random.default_rng(6)
    seen = 0
    while seen < 15:
        setting = setting_for(rng, LOSSES[loss], (0.0, 1.0))
        u = affine_fit(setting)
        a, W, c = split(rng, setting, u, 2, 0)
        first = int(np.argmin(W[0] @ setting.X.T))
        drop = W[0] @ setting.X[first]
        W[0, 2] -= drop
        c += a[0] * drop
        q = -setting.y * setting.terms(-setting.y * (setting.X @ u))[1]
        if q[first] * a[0] >= -1e-2:
            continue
        seen += 1
        assert isinstance(unpolished(setting, a, W, c), str)
        # a finer polish could first step 1e-13 inside, where there is a minimum indeed
        place = Place.polished(setting, a, W, c, 300, 1e-9)
        F = setting.terms(-setting.y * (setting.X @ u))[0].sum()
        assert F - place.F > 1e-9 * F


@pytest.mark.parametrize("loss", LOSSES)
def test_points_that_are_not_stationary_are_refused(loss: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(10):
        setting = setting_for(rng, LOSSES[loss], (0.0, 1.0))
        a, W, c = split(rng, setting, affine_fit(setting), 2, 1)
        for moved in (c + 1e-6, c - 1e-4):
            assert unpolished(setting, a, W, moved) == "residual"


def test_special_points() -> None:
    rng = np.random.default_rng(8)
    setting = setting_for(rng, HingePower(3), (0.0, 1.0))
    a, W, c = split(rng, setting, affine_fit(setting), 2, 1)
    # a = 0: its unit must see what others see anyhow, or nothing
    for weights, fine in (([0.0, 0, 5], True), ([0.0, 0, -5], True), ([1.0, 0, 0], False)):
        a[2], W[2] = 0.0, weights
        assert isinstance(certified(setting, a, W, c)[1], Proof) == fine, weights
    # both zero: a way down on one side or the other
    W[2] = 0.0
    assert certified(setting, a, W, c)[1] is None
    # (w, b) = 0, a ≠ 0: the unit's own sign decides, as a thousand directions do
    rays = rng.standard_normal((1000, 3))
    u = affine_fit(setting)
    q = -setting.y * setting.terms(-setting.y * (setting.X @ u))[1]
    for sign in (1.0, -1.0):
        a[2] = sign
        descends = bool((sign * np.maximum(rays @ setting.X.T, 0) @ q < -1e-6).any())
        assert descends
        assert isinstance(unpolished(setting, a, W, c), str)
        F = setting.terms(-setting.y * (setting.X @ u))[0].sum()
        assert F - Place.polished(setting, a, W, c, 300, 1e-12).F > 1e-9 * F


def test_a_corner_that_is_a_minimum_is_certified_and_one_that_is_not_is_refused() -> None:
    """x = ±1, y = ±1 with f = u·x best: a third unit at v = 0 helps only with the right sign."""
    x = np.array([[-1.0], [0.0], [1.0]])
    setting = Setting(np.c_[x, np.ones(3)], np.array([1.0, -1.0, 1.0]), (0.0, 1.0), 1, 2.0)
    # the best constant is 1/3: residuals f − y are −2/3, 4/3, −2/3, a V is wanted, a Λ is not
    a, W = np.array([-1.0]), np.zeros((1, 2))
    down = Place.polished(setting, a, W, 1 / 3, 0, 1e-12)
    up = Place.polished(setting, -a, W, 1 / 3, 0, 1e-12)
    d = np.random.default_rng(9).standard_normal((4000, 2))
    gains = np.maximum(d @ setting.X.T, 0) @ down.q
    assert isinstance(prove(down), Proof) == bool((-gains >= 0).all())
    assert isinstance(prove(up), Proof) == bool((gains >= 0).all())


def test_logistic_loss_has_no_minimum_where_data_are_separated() -> None:
    rng = np.random.default_rng(10)
    x = rng.standard_normal((20, 2))
    setting = Setting(
        np.c_[x, np.ones(20)],
        np.where(x[:, 0] > 0, 1.0, -1.0),
        (0.0, 1.0),
        *code_of(Logistic()),  # type: ignore[misc]  # known for this loss
    )
    for _ in range(10):
        point = rng.standard_normal(3), rng.standard_normal((3, 3)), 0.0
        place, proof, _ = certified(setting, *point)
        assert proof is None or (setting.y * place.f).min() < 0


# ---------------------------------------------------------------- on members


def objective(**changes: Any) -> DataObjective:
    rng = np.random.default_rng(11)
    x = rng.standard_normal((30, 2))
    y = np.where(x[:, 0] + 0.3 * rng.standard_normal(30) > 0, 1.0, -1.0)
    y[:3] *= -1
    parts: dict[str, Any] = {
        "activation": "relu",
        "augment": NoAugmentation(),
        "decay": 0.0,
    } | changes
    penalty = Augment() if isinstance(parts["augment"], ExpSkip) else NoRegularizer()
    found = build_objective(
        Data(x, y),
        Mlp(3, Choice(parts["activation"])),
        parts["augment"],
        HingePower(3),
        penalty,
        parts["decay"],
    )
    assert isinstance(found, DataObjective)
    return found


def judged(f: DataObjective, points: np.ndarray) -> Judgement:
    lam = np.full((len(points), 1), 0.1) if f.n_lambda else None
    found = Judgement.unresolved(points)
    polish_kinks(found, f, lam)
    settle_cells(found, f, lam)
    return found


def points_of(f: DataObjective, count: int) -> np.ndarray:
    return np.random.default_rng(12).standard_normal((count, f.n_params))


def test_members_get_their_numbers() -> None:
    f = objective()
    points = points_of(f, 40)
    found = judged(f, points)
    proven = found.verdict == "local_minimum"
    assert proven.sum() >= 36
    assert set(found.certificate[proven]) >= {"cell", "valley"}
    numbers = [
        found.certificate_radius,
        found.certificate_margin,
        found.flat_dim,
        found.moved,
    ]
    assert all(np.isfinite(values[proven]).all() for values in numbers)
    assert (found.certificate_radius[proven] > 0).all()
    assert (found.certificate_margin[proven] > 0).all()
    # f = Σ a σ(w·x+b) + c: each unit's scale is free
    assert (found.flat_dim[proven] >= 3).all()
    after = f.measure(found.params).objective
    assert (after <= f.measure(points).objective).all()
    for member in np.flatnonzero(proven):
        assert found.evidence[member]["objective"] == pytest.approx(after[member], rel=1e-12)
        assert all(np.isfinite(value) for value in found.evidence[member].values())


def test_a_member_is_judged_the_same_alone_and_among_others() -> None:
    f = objective()
    points = points_of(f, 10)
    together = judged(f, points)
    for member in (0, 4, 9):
        alone = judged(f, points[[member]])
        np.testing.assert_array_equal(alone.params[0], together.params[member])
        assert alone.evidence[0] == together.evidence[member]


def test_flat_directions_are_counted_as_the_jacobian_does() -> None:
    f = objective()
    shallow = Shallow.of(f)
    assert shallow is not None
    found = judged(f, points_of(f, 40))
    checked = 0
    for member in np.flatnonzero(found.certificate != "none"):
        if found.evidence[member]["kinks"]:
            continue
        theta, step = found.params[member], 1e-8
        moves = [
            (outputs(shallow, theta + step * e) - outputs(shallow, theta - step * e)) / (2 * step)
            for e in np.eye(f.n_params)
        ]
        felt = shallow.y * outputs(shallow, theta) < 1
        rank = np.linalg.matrix_rank(np.array(moves)[:, felt], tol=1e-5)
        assert found.flat_dim[member] == f.n_params - rank
        checked += 1
    assert checked >= 10


def outputs(shallow: Shallow, theta: np.ndarray) -> np.ndarray:
    units = shallow.split(theta[None])
    return np.asarray(units.a[0] @ np.maximum(units.W[0] @ shallow.X.T, 0) + units.c[0])


def test_nothing_is_claimed_where_the_theory_does_not_speak() -> None:
    for changes in ({"decay": 1e-3}, {"activation": "tanh"}, {"augment": ExpSkip()}):
        f = objective(**changes)
        points = points_of(f, 3)
        if f.n_lambda:
            points[:, f.n_base] = 0.0
        assert judged(f, points).open.all()
