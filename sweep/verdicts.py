"""What a point is: the closed vocabularies of the row columns `verdict`, `certificate`, `stop`.

`outcome` (bad or good, relative to a witness) is added when rows are loaded: see
`sweep.inference.outcomes`.
"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What the judged point is. Without a certificate there is no verdict but `unresolved`."""

    GLOBAL_MINIMUM = "global_minimum"
    LOCAL_MINIMUM = "local_minimum"
    SADDLE = "saddle"
    ESCAPING = "escaping"
    UNRESOLVED = "unresolved"
    FAILED = "failed"


class Certificate(StrEnum):
    """The kind of proof behind a verdict."""

    LOWER_BOUND = "lower_bound"
    SEPARATES = "separates"
    STRICT = "strict"
    CELL = "cell"
    KINK = "kink"
    VALLEY = "valley"
    AFFINE = "affine"
    INACTIVE = "inactive"
    DESCENT = "descent"
    RAY = "ray"
    TAIL = "tail"
    CHART = "chart"
    NONE = "none"


class Outcome(StrEnum):
    """A verdict seen against the best that is known for its cell (the witness)."""

    GLOBAL_MINIMUM = "global_minimum"
    GOOD_MINIMUM = "good_minimum"
    BAD_MINIMUM = "bad_minimum"
    SADDLE = "saddle"
    ESCAPING_GOOD = "escaping_good"
    ESCAPING_BAD = "escaping_bad"
    UNRESOLVED = "unresolved"
    FAILED = "failed"


class Stop(StrEnum):
    """Why training ended."""

    GRADIENT = "gradient"
    LOSS = "loss"
    STEPS = "steps"
    OVERFLOW = "overflow"

    @property
    def sentence(self) -> str:
        """The reason in words, for people."""
        return _STOP_SENTENCES[self]


_STOP_SENTENCES = {
    Stop.GRADIENT: "the gradient norm fell to stopping.gradient",
    Stop.LOSS: "the objective fell to stopping.loss",
    Stop.STEPS: "stopping.max_steps was reached",
    Stop.OVERFLOW: "the objective or its gradient was no longer finite",
}
