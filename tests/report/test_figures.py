"""The numbers in the figures, read back from what was drawn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweep.inference.summary import Summary, summarise
from sweep.report.drawing import PALETTE, arm_colours, saved, styled
from sweep.report.figures import FIGURES, MAX_LINES, MAX_PANELS
from sweep.report.figures.panels import OUTCOME_STYLES
from sweep.rows import columns
from sweep.seeds import stream
from sweep.verdicts import Verdict

SummaryMaker = Callable[..., Summary]


@pytest.fixture(scope="module")
def varied() -> Summary:
    """Two widths, plain and exp with three λ, every verdict, losses over many decades."""
    rng = stream("test", "figures")
    verdicts = [str(v) for v in Verdict]
    rows = []
    for width in (2, 3):
        for arm, draw in (("plain", 0), ("exp", 0), ("exp", 1), ("exp", 2)):
            for seed in range(40):
                verdict = verdicts[int(rng.integers(len(verdicts)))]
                error = float(rng.integers(0, 4)) / 8
                value = None if verdict == "failed" else error
                rows.append(
                    {
                        **{column.name: None for column in columns([])},
                        **{"study": "s", "cell": f"c{width}", "arm": arm, "draw": draw},
                        **{"seed": seed, "problem": "xor", "model.width": width},
                        **{"verdict": verdict, "lam": 10.0**-draw if arm == "exp" else None},
                        **{"final_error": value, "final_error_base": 0.125},
                        **{"judged_error": error, "judged_error_base": error},
                        **{"judged_objective": error, "final_objective": error},
                        "final_loss": None if value is None else 10.0 ** (10 * error - 8),
                    }
                )
    return summarise(pd.DataFrame(rows))


def test_an_arm_has_its_colour_in_every_study_and_no_outcome_has_it() -> None:
    few, many = ({"plain", "exp"}, {"a", "plain", "extra_neuron", "exp", "exp_unregularized"})
    first, second = arm_colours(few, "plain"), arm_colours(many, "plain")
    assert {arm: second[arm] for arm in few} == first
    assert first["plain"] == arm_colours(few, "exp")["exp"]
    assert len(set(second.values())) == len(many)
    assert not {*PALETTE} & {style[0] for style in OUTCOME_STYLES.values()}
    unknown = [f"arm_{i}" for i in range(20)]  # more arms than colours
    assert set(arm_colours(unknown, "plain")) == {"plain", *unknown}


def drawn(name: str, summary: Summary) -> Figure:
    with styled():
        figure = FIGURES[name](summary)
    assert figure is not None
    return figure


def test_every_figure_is_drawn(varied: Summary) -> None:
    assert [name for name, draw in FIGURES.items() if draw(varied) is None] == []


def test_nothing_to_show_is_no_figure(make_summary: SummaryMaker) -> None:
    lone = make_summary(c2={"only": {"global_minimum": 3}})
    nothing = {name for name, draw in FIGURES.items() if draw(lone) is None}
    assert nothing == {"contrasts", "flows", "lambda_response", "axis_response", "losses"}


def test_every_bar_is_inside_its_axis(varied: Summary) -> None:
    for name in ("frequencies", "contrasts"):
        for ax in drawn(name, varied).axes:
            low, high = ax.get_xlim()
            for bar in ax.patches:
                left, right = sorted((bar.get_x(), bar.get_x() + bar.get_width()))
                assert low - 1e-12 <= left <= right <= high + 1e-12


def test_contrast_bars_are_the_intervals(varied: Summary) -> None:
    frame = varied.contrasts[varied.contrasts["cell"] == "c2"]
    pooled = frame[frame["level"] == "cell"].iloc[0]
    panel = drawn("contrasts", varied).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        *("exp", "draw 0, λ = 1", "draw 1, λ = 0.1", "draw 2, λ = 0.01")
    ]
    bar = next(p for p in panel.patches if round(p.get_y() + p.get_height() / 2) == 0)
    ends = (bar.get_x(), bar.get_x() + bar.get_width())
    assert ends == pytest.approx((pooled["interval_low"], pooled["interval_high"]))
    ticks = [
        segment[0][0]
        for lines in panel.collections
        for segment in lines.get_segments()
        if segment[0][1] == pytest.approx(-0.31)
    ]
    assert ticks == pytest.approx([pooled["difference"], pooled["difference_upper"]])


def test_flow_numbers_are_the_pairs(varied: Summary) -> None:
    panel = drawn("flows", varied).axes[0]
    flow = varied.flows[varied.flows["cell"] == "c2"]
    columns = [n for n in OUTCOME_STYLES if n in set(varied.flows["outcome"])]
    rows = [n for n in OUTCOME_STYLES if n in set(flow["baseline_outcome"])]
    counts = flow.set_index(["baseline_outcome", "outcome"])["n"]
    seen = {}
    for text in panel.texts:
        x, y = text.get_position()
        seen[rows[round(y)], columns[round(x)]] = int(text.get_text().replace(",", ""))
    assert seen == counts.to_dict()
    assert sum(seen.values()) == 120


def test_lambda_lines_are_the_responses(varied: Summary) -> None:
    panel = drawn("lambda_response", varied).axes[0]
    levels = varied.responses
    levels = levels[(levels["axis"] == "lam") & (levels["cell"] == "c2")].sort_values("value")
    line = panel.lines[0]
    assert panel.get_xscale() == "log"
    assert list(line.get_xdata()) == [0.01, 0.1, 1.0]
    np.testing.assert_array_equal(line.get_ydata(), levels["frequency"])
    np.testing.assert_array_equal(panel.lines[1].get_ydata(), levels["frequency_upper"])
    band = panel.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx(
        (levels["interval_low"].min(), levels["interval_high"].max())
    )


def test_loss_heights_are_shares_of_all_members_of_an_arm(varied: Summary) -> None:
    panel = drawn("losses", varied).axes[0]
    assert panel.get_xscale() == "log"
    part = varied.losses[(varied.losses["cell"] == "c2")]
    members = part.groupby("arm")["n"].sum()
    known = part[part["low"].notna()]
    share = known["n"] / known["arm"].map(members)
    heights = sorted(abs(bar.get_height()) for bar in panel.patches)
    np.testing.assert_allclose(heights, sorted(share / share.max() * 0.8))


def test_naive_bars_count_errors_and_fill_the_whole(varied: Summary) -> None:
    panel = drawn("naive", varied).axes[0]
    naive = varied.naive[varied.naive["cell"] == "c2"].set_index("arm")
    for position, arm in enumerate(naive.index):
        upper = [p for p in panel.patches if p.get_y() == pytest.approx(position - 0.36)]
        lower = [p for p in panel.patches if p.get_y() == pytest.approx(position + 0.02)]
        assert sum(p.get_width() for p in upper) == pytest.approx(1)
        assert sum(p.get_width() for p in lower) == pytest.approx(1)
        row = naive.loc[arm]
        # The base network errs everywhere here: an error of 0 is always the neuron's work.
        expected = [row["zero_by_neuron"], row["naive_bad"], row["n"] - row["n_finite"]]
        widths = [p.get_width() * row["n"] for p in upper]
        assert widths == pytest.approx([count for count in expected if count])


def test_names_of_the_user_are_no_formulas(make_summary: SummaryMaker) -> None:
    found = make_summary(c2={"plain": {"saddle": 2}, "exp $x_{": {"global_minimum": 2}})
    with styled():
        for name, draw in FIGURES.items():
            figure = draw(found)
            if figure is not None:
                saved(name, figure)


def test_limits_keep_figures_small(varied: Summary) -> None:
    many = pd.concat(
        [varied.frequencies.assign(arm=f"arm {i:02}") for i in range(30)], ignore_index=True
    )
    figure = drawn("frequencies", replace(varied, frequencies=many))
    assert len(figure.axes[0].get_yticks()) == MAX_LINES
    assert f"the first {MAX_LINES} of" in figure.axes[0].get_title(loc="left")
    assert len(figure.axes) <= MAX_PANELS


def test_long_settings_leave_the_panels_their_room(varied: Summary) -> None:
    long = 'xor, model.activation = {"name": "piecewise_linear", ' + "0.5, " * 40 + "the end"
    found = replace(
        varied,
        cells=varied.cells.assign(setting=long),
        responses=varied.responses.assign(setting=long),
    )
    for name, draw in FIGURES.items():
        with styled(), warnings.catch_warnings(action="error"):
            figure = draw(found)
            if figure is None:
                continue
            saved(name, figure)
        renderer = FigureCanvasAgg(figure).get_renderer()
        for ax in figure.axes:
            assert ax.get_position().width > 0.4
            place = ax._left_title.get_window_extent(renderer)
            assert ax.get_title(loc="left").endswith("the end")
            assert place.x1 <= figure.bbox.x1
            assert place.height < 0.7 * figure.dpi
