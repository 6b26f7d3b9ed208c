from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest

from sweep.cli.library import Library


@pytest.fixture(scope="session", autouse=True)
def compose_each_choice_once() -> Iterator[None]:
    """Hydra takes 0.1 s to compose; the packaged files do not change while tests run."""
    compose = Library._compose
    known: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}

    def cached(self: Library, choices: Mapping[str, str]) -> dict[str, Any]:
        if self._own is not None:
            return compose(self, choices)
        key = tuple(sorted(choices.items()))
        if key not in known:
            known[key] = compose(self, choices)
        return deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "_compose", cached)
        yield
