"""Run every benchmark: ``python -m benchmarks`` prints a table and writes ``bench.json``."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import cuda, engine

rows = engine.measure() + cuda.measure()  # the latter where there is a card
Path("bench.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
table = Table("what", "vitrify", "peer", "peer's", "ratio")
for row in rows:
    table.add_row(
        row["name"], f"{row['value']:.3g} {row['unit']}", row["peer"], f"{row['peer_value']:.3g}", f"{row['ratio']:.2f}"
    )
Console().print(table)
