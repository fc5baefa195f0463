"""Run benchmarks: ``python -m benchmarks [engine] [cuda] [learning] [trajectories]``, by default all.

Prints a table and writes ``bench.json``, where the rows of other benchmarks stay as they are.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

_PARTS = ("engine", "cuda", "learning", "trajectories")  # cuda has rows where there is a card


def main(parts: list[str]) -> None:
    """Take the rows of some parts, print them and put them into ``bench.json``."""
    unknown = set(parts) - set(_PARTS)
    if unknown:
        raise SystemExit(f"benchmarks are {', '.join(_PARTS)}; got {', '.join(sorted(unknown))}")
    file = Path("bench.json")
    kept = json.loads(file.read_text(encoding="utf-8")) if parts and file.exists() else []
    rows = [row for part in parts or _PARTS for row in import_module(f"benchmarks.{part}").measure()]
    file.write_text(json.dumps(merged(kept, rows), indent=1) + "\n", encoding="utf-8")
    table = Table("what", "vitrify", "peer", "peer's", "ratio")
    for row in rows:
        value = f"{row['value']:.3g} {row['unit']}"
        table.add_row(row["name"], value, row["peer"], f"{row['peer_value']:.3g}", f"{row['ratio']:.2f}")
    Console().print(table)


def merged(kept: list[Row], taken: list[Row]) -> list[Row]:
    """Return the kept rows, in their places those taken again, and then the new ones."""
    by_name = {(row["name"], row["peer"]): row for row in kept + taken}
    return list(by_name.values())


if __name__ == "__main__":
    main(sys.argv[1:])
