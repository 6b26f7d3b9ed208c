"""The arms of a cell: typed from their entries in plain data, and what they are known by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweep import registry
from sweep.errors import UserError, unknown
from sweep.lambdas import LAWS
from sweep.models.base import AUGMENTATIONS
from sweep.models.initialisers import Scene
from sweep.models.objective import check_parts
from sweep.models.regularizers import REGULARIZERS
from sweep.registry import Choice, Registry, mapping, within
from sweep.spec import NONE, Arm

KEYS = ("augment", "regularizer", "weight_decay", "lambda")
_NAME = re.compile(r"[a-z0-9_]+")


def typed_arms(value: object) -> tuple[Arm, ...]:
    """Every arm of the mapping `arms`; a `UserError` for none and for what an arm cannot be."""
    arms = mapping(value, "arms")
    if not arms:
        raise UserError("arms is empty: at least one arm is accepted, for example 'plain: {}'.")
    return tuple(_arm(str(name), settings) for name, settings in arms.items())


def _arm(name: str, value: object) -> Arm:
    """One arm from its entry; `{}` or null is the bare network."""
    if not _NAME.fullmatch(name):
        raise UserError(f"arm '{name}' is no name: small letters, digits and '_' are accepted.")
    where = f"arms.{name}"
    settings = mapping({} if value is None else value, where)
    for key in settings:
        if key not in KEYS:
            raise unknown(f"{where} setting", str(key), KEYS)
    regularizer = _part(REGULARIZERS, settings.get("regularizer", NONE), f"{where}.regularizer")
    law = _law(settings.get("lambda"), f"{where}.lambda")
    if law is not None and law.settings.get("high") == "theory":
        _require_bounded(regularizer, f"{where}.lambda.high")
    return Arm(
        name,
        augment=_part(AUGMENTATIONS, settings.get("augment", NONE), f"{where}.augment"),
        regularizer=regularizer,
        weight_decay=registry.coerce(
            settings.get("weight_decay", 0.0), float, f"{where}.weight_decay"
        ),
        lam=law,
    )


def _require_bounded(regularizer: Choice, where: str) -> None:
    """Refuse the word `theory` beside a regularizer whose theorem bounds no λ."""
    if not REGULARIZERS.entry(regularizer.name).bounded:
        names = [name for name in REGULARIZERS.names() if REGULARIZERS.entry(name).bounded]
        raise UserError(
            f"{where} is 'theory': a number > 0 is accepted for regularizer '{regularizer.name}', "
            f"because only {' and '.join(map(repr, names))} has a bound from theory."
        )


def _law(value: object, where: str) -> Choice | None:
    """λ's law from `{law: …, …}`; null is no λ, a bare number is that one value."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = {"law": "fixed", "value": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("law"), str):
        raise UserError(
            f"{where} is {value!r}: a mapping with the key 'law' is accepted, one of"
            f" {', '.join(LAWS.names())}."
        )
    settings = {str(k): v for k, v in value.items() if k != "law"}
    return _part(LAWS, Choice(value["law"], settings), where)


def _part(entries: Registry[Any], value: object, where: str) -> Choice:
    """A typed choice of one registry; what it refuses is said with its place in the config."""
    choice = Choice.parse(value, where)
    return within(where, lambda: entries.normalise(choice, where))


def check_arms(arms: Sequence[Arm], scene: Scene) -> None:
    """Refuse, in one sentence that names them all, arms that cannot serve this network and data."""
    _check_arm(Arm("none"), scene)  # what not even a bare network can serve is no arm's fault
    refused: dict[str, list[str]] = {}
    for arm in arms:
        try:
            _check_arm(arm, scene)
        except UserError as error:
            refused.setdefault(str(error).removesuffix("."), []).append(f"arms.{arm.name}")
    if refused:
        said = (f"{', '.join(names)}: {reason}" for reason, names in refused.items())
        raise UserError(f"{'; '.join(said)}.")


def _check_arm(arm: Arm, scene: Scene) -> None:
    """Refuse an augmentation or regularizer that cannot serve this network and data."""
    network = scene.network
    augmentation = AUGMENTATIONS.build(arm.augment).on(network)
    regularizer = REGULARIZERS.build(arm.regularizer)
    check_parts(scene.data, network, scene.loss, augmentation, regularizer)


def arm_identity(arm: Arm) -> dict[str, Any]:
    """The part of an arm that defines its rows, defaults left out."""
    found: dict[str, Any] = {"augment": AUGMENTATIONS.identity(arm.augment)}
    found["regularizer"] = REGULARIZERS.identity(arm.regularizer)
    if arm.weight_decay:
        found["weight_decay"] = arm.weight_decay
    if arm.lam is not None:
        found["lambda"] = LAWS.identity(arm.lam)
    return found


def arm_tree(arm: Arm) -> dict[str, Any]:
    """An arm as its config entry, every setting filled in: where axes look up typed values."""
    lam = None
    if arm.lam is not None:
        lam = {"law": arm.lam.name, **arm.lam.settings}
    return {
        "augment": arm.augment.to_json(),
        "regularizer": arm.regularizer.to_json(),
        "weight_decay": arm.weight_decay,
        "lambda": lam,
    }
