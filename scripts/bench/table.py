#!/usr/bin/env python3
"""The table of docs/performance.md out of the files that train_step.py --json wrote.

scripts/bench/table.py resnet18.json mobilenet_v2.json
"""

import argparse
import json
from typing import Any

COLUMNS = ("milliseconds", "ratio", "forward", "backward", "peak_mib", "saved_mib")
HEADINGS = ("ms", "ratio", "forward ms", "backward ms", "peak MiB", "saved MiB")


def rows(figures: dict[str, Any]) -> list[str]:
    """One line per variant; fp32 is what the ratios and shares refer to."""
    base = figures["fp32"]
    found = []
    for variant, row in figures.items():
        if not isinstance(row, dict):
            continue
        cells = [str(row[column]) for column in COLUMNS]
        cells[-1] += f" ({row['saved_mib'] / base['saved_mib']:.2f})"
        found.append(f"| {figures['model']}, {variant} | " + " | ".join(cells) + " |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+")
    lines = ["| | " + " | ".join(HEADINGS) + " |", "|---" * (len(HEADINGS) + 1) + "|"]
    for path in parser.parse_args().files:
        with open(path, encoding="utf-8") as file:
            lines += rows(json.load(file))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
