"""What tests of several folders share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

#: Folders of files that compile, train or start a Ray for a minute and more. They come first, so
#: that two workers which take file after file end together; `docs` and `training` beside each
#: other, for they compile different kernels, which `study` finds compiled.
LONG = ("docs", "training", "execution", "study")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by their folder; the order inside a file stays."""
    place = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.parent.name, len(LONG)))


def pytest_collection_finish() -> None:
    """Take what the imports made out of the garbage collector's sight, which has little to find.

    It would look through a million objects of torch's again and again; statsmodels collects in
    every adjustment of p-values.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Reports without figures, in modules about rows: drawing takes longer than a small study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep.report.page.figure_files", lambda summary: {})
        yield
