"""One picture of the table: what a connection costs in each server, beside the bare asyncio server of the same run."""

from collections.abc import Sequence
from html import escape

from .table import Row

PANELS = (
    ("CPU per beat, 1", "CPU per heartbeat: less is better"),
    ("CPU per connect", "CPU per connect"),
    ("memory, welcomed", "memory per connection"),
    (" killed, to zero", "time until all dead clients are forgotten"),
)
"""Part of the name of a measure, and the title of its panel."""

BAR, GAP, LABEL, WIDTH, HEAD, SPACE = 16, 6, 150, 300, 44, 20
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .small { font-size: 11px }
.value { paint-order: stroke; stroke: #fff; stroke-width: 3px }
.ours { fill: #1a7f5a } .peer { fill: #9aa4ae } .floor { stroke: #24292f; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .value { stroke: #0d1117 } .floor { stroke: #e6edf3 }
.ours { fill: #3fb984 } .peer { fill: #6e7781 }
}
"""


def cost(row: Row) -> float:
    """What it costs as a multiple of the floor's: lower is better, whatever the row says."""
    if row.ratio is None:
        raise ValueError(f"{row.measure} has no floor")
    return 1 / row.ratio if row.better == "higher" else row.ratio


def draw(rows: Sequence[Row]) -> str:
    """The picture as SVG, two panels a line: a bar for each server, a dashed line where the bare server is."""
    panels: list[tuple[str, list[Row]]] = []
    for part, title in PANELS:
        shown = {row.subject: row for row in rows if part in row.measure and row.ratio}  # the most connections are last
        if shown:
            panels.append((title, list(shown.values())))
    tall = HEAD + max((len(bars) for _, bars in panels), default=0) * (BAR + GAP) + SPACE
    across = LABEL + WIDTH + 70
    lines = []
    for place, (title, bars) in enumerate(panels):
        left, top = place % 2 * across, place // 2 * tall
        lines += [f'<g transform="translate({left},{top})">', *_panel(title, bars), "</g>"]
    size = f'width="{2 * across}" height="{(len(panels) + 1) // 2 * tall}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Cost beside a bare asyncio server">'
    return "\n".join([head, f"<style>{STYLE}</style>", *lines, "</svg>", ""])


def _panel(title: str, rows: Sequence[Row]) -> list[str]:
    costs = [cost(row) for row in rows]
    per_unit = WIDTH / max(*costs, 1.0)
    bottom = HEAD + len(rows) * (BAR + GAP) - GAP
    lines = [f'<text class="title" x="{LABEL}" y="16">{escape(title)}</text>']
    for place, (row, each) in enumerate(zip(rows, costs, strict=True)):
        y = HEAD + place * (BAR + GAP)
        kind = "ours" if row.subject.startswith("tallygate") else "peer"
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(row.subject)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{each * per_unit:.1f}" height="{BAR}" rx="2"/>',
            f'<text class="small value" x="{LABEL + each * per_unit + 6:.1f}" y="{y + 12}">{each:.2f}</text>',
        ]
    x = LABEL + per_unit
    return [
        f'<line class="floor" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 8}" y2="{bottom}"/>',
        f'<text class="small" x="{x:.1f}" y="{HEAD - 12}" text-anchor="middle">bare asyncio = 1</text>',
        *lines,
    ]
