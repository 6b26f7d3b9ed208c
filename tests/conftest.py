"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

#: Folders of files that train or start a Ray for a minute and more. They come first: two workers
#: that take file after file then end together.
LONG = ("study", "execution", "docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by their folder; the order inside a file stays."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Reports without figures, in modules about rows: drawing takes longer than a small study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep.report.page.figure_files", lambda summary: {})
        yield
