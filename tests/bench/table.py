"""The one table: every row is a measure of a subject beside the same measure of the floor in the same run."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `ratio` is subject against floor in the sense of `better`: "higher" (floor's cost through the subject's, or the
    subject's rate through the floor's) or "lower" (the subject's time through the floor's). `twin` is the same ratio
    of a second floor, None where there is none. `aim` is what the project wants to see, only for orientation.
    """

    measure: str
    subject: str
    value: float
    floor: float | None
    unit: str
    ratio: float | None
    better: str
    twin: float | None = None
    aim: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Medians over alternating turns: each side's own, and of the ratios within one turn."""

    floor: float
    subject: float
    ratio: float
    twin: float

    @classmethod
    def of(cls, floor: Sequence[float], subject: Sequence[float], twin: Sequence[float], *, cost: bool) -> "Ratio":
        """With `cost` the ratio is floor / subject (higher is better), else subject / floor."""

        def against(other: Sequence[float]) -> float:
            pairs = [(a / b if cost else b / a) for a, b in zip(floor, other, strict=True) if a > 0 and b > 0]
            return statistics.median(pairs) if pairs else float("nan")

        return cls(statistics.median(floor), statistics.median(subject), against(subject), against(twin))


def number(value: float | None) -> str:
    """Three significant digits, thousands in full."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def render(rows: Sequence[Row], title: str) -> str:
    """The table as text, columns as wide as they must be."""
    head = ("measure", "subject", "value", "floor", "unit", "ratio", "floor/floor", "aim", "note")
    lines = [head]
    for row in rows:
        mark = "" if row.ratio is None else (" ↑" if row.better == "higher" else " ↓")
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}{mark}"
        twin = "-" if row.twin is None else f"{row.twin:.2f}"
        figures = (number(row.value), number(row.floor), row.unit, ratio, twin)
        lines.append((row.measure, row.subject, *figures, row.aim, row.note))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = {2, 3, 5, 6}
    text = [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    legend = "ratio: ↑ higher is better, ↓ lower is better, 1.00 = the bare floor in the same run"
    return "\n".join([title, *(line.rstrip() for line in text), legend])
