"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Reports without figures, in modules about rows: drawing takes longer than a small study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep.report.page.figure_files", lambda summary: {})
        yield
