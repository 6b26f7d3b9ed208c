"""From a composed study in plain data to a typed one: every setting checked, every cell named.

All bad input that is about the configuration is refused here (or earlier, by the command line),
before anything is written, in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep import registry
from sweep.constructions import INITIALISERS
from sweep.errors import UserError, unknown
from sweep.inference.claims import Claim, Vocabulary, parse_claim
from sweep.judge.base import JUDGES
from sweep.models.base import MODELS
from sweep.models.initialisers import Constructing, Scene
from sweep.models.losses import LOSSES
from sweep.models.module import source_identity
from sweep.planning import MOST_JOBS, canonical, cell_id, require_few_jobs, study_id
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice, Registry, mapping
from sweep.rows import axis_values
from sweep.rows import columns as row_columns
from sweep.spec import GROUPS, Cell, Compute, Seeds, Store, Study, Tracking
from sweep.storage.tracking_server import require_accepted
from sweep.study.arms import arm_identity, arm_tree, check_arms, typed_arms
from sweep.study.composed import Composed
from sweep.training.base import OPTIMIZERS, STOPPING

REGISTRIES: Mapping[str, Registry[Any]] = {
    "problem": PROBLEMS,
    "model": MODELS,
    "loss": LOSSES,
    "init": INITIALISERS,
    "optimizer": OPTIMIZERS,
    "stopping": STOPPING,
    "judge": JUDGES,
}
# Columns that every row has anyway; other axes add a column each.
_PLAIN_AXES = ("problem", "model.width")


def resolve(composed: Composed) -> tuple[Study, Compute, Store, Tracking]:
    """The typed study and where it runs, lands and is mirrored to.

    Loads the data of every cell once, for its digest, and writes nothing. Cells that mean the same
    are merged. Raises `UserError` for a setting that is unknown, of the wrong type or out of range.
    """
    name = registry.coerce(composed.name, str, "name")
    seeds = registry.build(Seeds, mapping(composed.seeds, "seeds"), "seeds")
    compute = registry.build(Compute, mapping(composed.compute, "compute"), "compute")
    store = registry.build(Store, mapping(composed.store, "store"), "store")
    registry.require(bool(store.root.strip()), "store.root", store.root, "the path of a folder")
    tracking = registry.build(Tracking, mapping(composed.tracking, "tracking"), "tracking")
    if tracking.uri is not None:
        require_accepted(tracking.uri)
    load = _Loader()
    typed = [_typed_cell(cell.axes, cell.settings, load) for cell in composed.cells]
    found = {cell.id: (cell, identity) for cell, identity in typed}
    cells = tuple(cell for cell, _ in found.values())
    columns = sorted({key for cell in cells for key in cell.axes} - set(_PLAIN_AXES))
    # Two grids with equal cells but other columns must not share a folder: one schema a study.
    extra = {"columns": columns} if columns else {}
    identities = [{**identity, **extra} for _, identity in found.values()]
    baseline = _baseline(composed.baseline, cells)
    study = Study(study_id(seeds.root, identities), name, baseline, cells, seeds)
    _require_few_jobs(study, compute)
    claim_of(composed, study)  # a claim that nobody could compare is refused before a run
    return study, compute, store, tracking


def claim_of(composed: Composed, study: Study) -> Claim | None:
    """What the composed study claims; None if its file states nothing, `UserError` if wrongly."""
    if composed.claim is None:
        return None
    numeric = {
        column.name: column.kind in ("int", "float", "bool") for column in row_columns(study.cells)
    }
    values: dict[str, list[object]] = {"arm": [], "cell": [], "problem": []}
    for cell in study.cells:
        given = {"cell": cell.id, "problem": cell.problem.name, **axis_values(cell)}
        for name, value in given.items():
            values.setdefault(name, []).append(value)
        values["arm"] += [arm.name for arm in cell.arms]
    words = {name: tuple(_distinct(found)) for name, found in values.items()}
    return parse_claim(composed.claim, Vocabulary({**numeric, "outcome": False}, words))


def _distinct(values: Sequence[object]) -> list[object]:
    """The values once each, in order; lists among them may be unhashable."""
    return [value for k, value in enumerate(values) if value not in values[:k]]


def _require_few_jobs(study: Study, compute: Compute) -> None:
    if study.seeds.most * len(study.cells) > MOST_JOBS:
        # Imported here, because it brings torch, and only such a study needs it.
        from sweep.study.calibration import block_size

        size = block_size(study, compute)
        require_few_jobs(study.seeds.most, size, len(study.cells))


def _baseline(value: object, cells: Sequence[Cell]) -> str:
    for cell in cells:
        names = [arm.name for arm in cell.arms]
        if value not in names:
            raise unknown("baseline", str(value), names)
    return str(value)


class _Loader:
    """Loads each problem once, however many cells share it: the digest, and the data if any."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Data | None]] = {}

    def __call__(self, choice: Choice) -> tuple[str, Data | None]:
        key = canonical(choice.to_json())
        if key not in self._known:
            loaded = PROBLEMS.build(choice).load()
            self._known[key] = (loaded.digest, loaded if isinstance(loaded, Data) else None)
        return self._known[key]


def _typed_cell(
    axes: Mapping[str, Any], settings: Mapping[str, Any], load: _Loader
) -> tuple[Cell, Mapping[str, Any]]:
    """A cell with every setting typed and filled in, and its identity."""
    for group in GROUPS:
        if group not in settings:
            raise UserError(f"{group} is missing: give one of {REGISTRIES[group].names()}.")
    given = {group: _choice(group, settings[group]) for group in GROUPS}
    choices = {group: REGISTRIES[group].normalise(given[group]) for group in GROUPS}
    arms = typed_arms(settings.get("arms"))
    digest, data = load(choices["problem"])
    _check_batches(choices["optimizer"], data)
    init = INITIALISERS.build(choices["init"])
    _check_trained(choices["stopping"], isinstance(init, Constructing))
    if data is not None:
        network = MODELS.build(choices["model"]).network(data.x.shape[1])
        scene = Scene(data, network, LOSSES.build(choices["loss"]))
        check_arms(arms, scene)
        if isinstance(init, Constructing):
            init.prepare(scene)
    identity: dict[str, Any] = {g: REGISTRIES[g].identity(given[g]) for g in GROUPS}
    identity |= {"arms": {arm.name: arm_identity(arm) for arm in arms}, "data": digest}
    if choices["model"].name == "module":
        identity["source"] = source_identity(choices["model"].settings["factory"])
    tree: dict[str, Any] = {group: choice.to_json() for group, choice in choices.items()}
    tree["arms"] = {arm.name: arm_tree(arm) for arm in arms}
    typed_axes = {key: _axis_value(tree, key, value) for key, value in axes.items()}
    cell = Cell(cell_id(identity), typed_axes, **choices, arms=arms, data_digest=digest)
    return cell, identity


def _check_trained(stopping: Choice, constructed: bool) -> None:
    """Refuse frequencies of starts drawn at random, which would say nothing of training."""
    accepted = "a whole number ≥ 1, or 0 beside 'init=constructed' alone,"
    steps = STOPPING.build(stopping).max_steps
    registry.require(steps > 0 or constructed, "stopping.max_steps", steps, accepted)


def _check_batches(optimizer: Choice, data: Data | None) -> None:
    """Refuse a mini-batch larger than the data, or of no data."""
    size = OPTIMIZERS.build(optimizer).batch_size
    if size is None:
        return
    if data is None:
        raise UserError(
            f"optimizer.batch_size is {size}: only null is accepted for a problem without data."
        )
    accepted = f"null or at most the number of data points, {len(data.x)},"
    registry.require(size <= len(data.x), "optimizer.batch_size", size, accepted)


def _choice(group: str, value: object) -> Choice:
    choice = Choice.parse(value, group)
    path = choice.settings.get("path")
    if group == "problem" and isinstance(path, str):
        # Workers start in folders of their own.
        absolute = str(Path(path).expanduser().absolute())
        return Choice(choice.name, {**choice.settings, "path": absolute})
    return choice


def _axis_value(tree: Mapping[str, Any], key: str, given: Any) -> Any:
    """An axis value as its column shows it: typed, and an entry without settings by its name."""
    if key in GROUPS:
        return given
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return given
        node = node[part]
    if isinstance(node, Mapping) and set(node) == {"name"}:
        return node["name"]
    return node
