"""The page of the documentation: its table and its figures are written by the suite, never by hand."""

__all__ = ["markdown", "numbers", "write"]

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from validation.rows import Row

_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"
_DOI = re.compile(r"doi:(10\.\S+?)(?=[,;]|$)")


def write(docs: Path, rows: Sequence[Row], figures: Mapping[str, Figure]) -> None:
    """Replace the table in ``docs/validation.md`` and the figures beside it.

    Raises:
        ValueError: The page has no place for the table.
    """
    page = docs / "validation.md"
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} must hold the lines {_BEGIN} and {_END}, between which the table goes")
    page.write_text(f"{before}{_BEGIN}\n\n{markdown(rows)}\n{_END}{after}", encoding="utf-8")
    for name, figure in figures.items():
        figure.savefig(docs / "img" / f"validation_{name}.png", dpi=130, metadata={"Software": None})


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as one Markdown table per subject."""
    lines = [f"{sum(row.passed for row in rows)} of {len(rows)} rows within their tolerance.", ""]
    for subject in dict.fromkeys(row.subject for row in rows):
        lines += [f"### {subject}", "", "| what | value | reference | systematic | tolerance | over | source | |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for row in (row for row in rows if row.subject == subject):
            source = _DOI.sub(r"[\1](https://doi.org/\1)", row.source)
            value, reference, systematic, tolerance = numbers(row)
            cells = (
                row.name.replace("|", "\\|"),
                value,
                reference,
                f"{systematic}: {row.reason}",
                tolerance,
                row.n,
                source,
                "pass" if row.passed else "**fail**",
            )
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def numbers(row: Row) -> tuple[str, str, str, str]:
    """Return value and reference with their errors, systematic part and tolerance, to the digits that count."""
    if row.error is not None and row.error > 0:
        digits = _digits(row.error)
        value = f"{row.value:.{digits}f} ± {row.error:.{digits}f}"
    else:
        digits = max(0, 2 - math.floor(math.log10(row.tolerance)))
        value = f"{row.value:.3g}"
    if row.reference_error > 0:
        digits = max(digits, _digits(row.reference_error))
        reference = f"{row.reference:.{digits}f} ± {row.reference_error:.{_digits(row.reference_error)}f}"
    else:
        reference = f"{row.reference:.{digits}f}"
        reference = reference.rstrip("0").rstrip(".") if "." in reference else reference
        reference = reference.replace("-0", "0") if float(reference) == 0 else reference
    return value, reference, f"{row.systematic:.2g}", f"{row.tolerance:.2g}"


def _digits(error: float) -> int:
    """Return the decimals that show two digits of an error."""
    return max(0, 1 - math.floor(math.log10(error)))
