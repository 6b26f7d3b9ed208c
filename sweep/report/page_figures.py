"""The figures of the report page: SVG inside the HTML, each with a caption and a spoken label."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

REPLAY = "replay-"
"""How the names of figures of replayed members begin."""
MAX_REPLAYS = 6

BARS = "Bar: interval; tick: estimate. Numbers: the estimate, and in small type the bar's interval."
DOTS = "Two ticks are the two ends of an estimate, the dots between them unresolved members."

#: Name → what a screen reader says, and what stands below the figure.
_CAPTIONS = {
    "frequencies": (
        "How often training ends in a certified bad minimum",
        f"{BARS} {DOTS}",
    ),
    "contrasts": (
        "How much each arm differs from the baseline on the same seeds",
        f"{BARS} {DOTS} Left of the dotted line the arm has fewer bad minima.",
    ),
    "outcomes": ("What the judged points are", "Shares of all members."),
    "flows": (
        "Where each seed's outcome goes when the baseline is replaced by another arm",
        "Numbers count networks of the arm; the darker, the larger the share of its row.",
    ),
    "lambda_response": (
        "Bad minima against λ",
        "Points are draws, bands their intervals; hollow points count every unresolved member as "
        "bad. Dashed, where drawn: the baseline, which has no λ.",
    ),
    "axis_response": (
        "Bad minima along the axes of the grid",
        "Bands are intervals that count seeds; hollow points count every unresolved member as bad.",
    ),
    "losses": (
        "Where training stopped: the distribution of the final loss",
        "Heights are shares of an arm's members, on one scale within a cell. Triangles: levels of "
        "certified minima; on a log scale those at the left edge are 0 or close to it.",
    ),
    "naive": (
        "Counting errors against judging points",
        "Upper bar: the error where training stopped. Lower bar: what the points were judged to "
        "be.",
    ),
}

_SVG = "{http://www.w3.org/2000/svg}"
_DRAWING = (
    *("svg", "g", "defs", "path", "rect", "use", "clipPath", "pattern"),
    *("style", "text", "tspan"),
)
_STYLE = re.compile(r"\*\{(stroke-\w+: \w+(; )?)+\}")  # a style counts for the whole page
_HEAD = re.compile(rb"\s*(<\?xml [^<>]*\?>)?\s*(<!DOCTYPE svg PUBLIC [^<>\[\]]*>)?\s*<svg\s")
_COMMENT = re.compile(rb"<!--[^<>]*-->")


@dataclass(frozen=True)
class PageFigure:
    """A figure as the template needs it."""

    title: str
    caption: str
    svg: Markup


def page_figures(svgs: Mapping[str, bytes]) -> list[PageFigure]:
    """The figures in the given order (name → file), those of replays at the end and numbered."""
    found = []
    for position, (name, svg) in enumerate(svgs.items()):
        if name.startswith(REPLAY):
            # The name holds the user's arm: its place is a better id.
            title, note, place = f"One training again: {name}", "", f"{REPLAY}{position}"
        else:
            (title, note), place = _CAPTIONS[name], name
        found.append(PageFigure(title, note, inline_svg(svg, place, title)))
    return found


def inline_svg(svg: bytes, name: str, label: str) -> Markup:
    """An SVG file as an element of the page: its ids made unique, its size left to the page."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    spoken = f'<svg role="img" aria-label="{escape(label)}"'
    text = re.sub(r'<svg width="[^"]*" height="[^"]*"', lambda _: spoken, text)
    # Our own figure: matplotlib has escaped every name in it.
    return Markup(text)


def is_plain(svg: bytes) -> bool:
    """Whether a file is SVG that only draws, as matplotlib does, and means the same as HTML.

    A folder that someone sent may hold anything, and what gets into the page may act in it. The
    elements are those of XML; what HTML would read otherwise (a comment that ends sooner, CDATA) is
    refused.
    """
    head = _HEAD.match(svg)
    body = b"" if head is None else _COMMENT.sub(b"", svg[head.end() :])
    if head is None or b"<!" in body or b"<?" in body:
        return False
    try:
        root = ElementTree.fromstring(svg.decode())
    except (UnicodeDecodeError, ElementTree.ParseError):
        return False
    return all(_only_draws(element) for element in root.iter())


def _only_draws(element: ElementTree.Element) -> bool:
    name = element.tag.removeprefix(_SVG)
    if name not in _DRAWING or (name == "style" and not _STYLE.fullmatch(element.text or "")):
        return False
    told = {key.rpartition("}")[2].lower(): value for key, value in element.items()}
    return told.get("href", "#").startswith("#") and not any(key.startswith("on") for key in told)
