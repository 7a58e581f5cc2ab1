#!/usr/bin/env python3
"""The tables of docs/performance.md out of the files that train_step.py --folder wrote.

scripts/bench/table.py figures/*.json
"""

import argparse
import json
from typing import Any

BASE = "fp32 channels-last"
COLUMNS = ("milliseconds", "ratio", "forward", "backward", "peak_mib", "saved_mib")
HEADINGS = ("ms", "ratio", "forward ms", "backward ms", "peak MiB", "saved MiB")
PLACE = ("machine", "capability", "torch", "threads", "size", "rounds", "allocator")


def cell(row: dict[str, Any], base: dict[str, Any], column: str) -> str:
    """One figure; saved memory with its share of float32's."""
    value = row.get(column)
    if value is None:
        return ""
    if column != "saved_mib":
        return str(value)
    return f"{value} ({value / base[column]:.2f})"


def rows(figures: dict[str, Any]) -> list[str]:
    """One line per variant, and one per peer that is missing."""
    name, base = f"{figures['model']}, {figures['batch']}", figures["rows"][BASE]
    found = []
    for variant, row in figures["rows"].items():
        cells = " | ".join(cell(row, base, column) for column in COLUMNS)
        found.append(f"| {name}, {variant} | {cells} |")
    for variant, reason in figures["left_out"].items():
        found.append(f"| {name}, {variant} | {reason} |" + " |" * (len(COLUMNS) - 1))
    return found


def layers(figures: dict[str, Any]) -> str:
    """What was counted in the rows of qat_ext."""
    proofs = [proof for proof in figures["proofs"].values() if "layers" in proof]
    counted = [f"{proof['integer_layers']} of {proof['layers']}" for proof in proofs]
    differing = sum(proof["differing_logits"] for proof in proofs)
    return (
        f"{figures['model']}, batch {figures['batch']}: layers in integers {', '.join(counted)}; "
        f"{differing} logits differ."
    )


def main() -> None:
    """Markdown on standard output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+")
    everything = []
    for path in parser.parse_args().files:
        with open(path, encoding="utf-8") as file:
            everything.append(json.load(file))
    for place in sorted({"; ".join(f"{key} {f[key]}" for key in PLACE) for f in everything}):
        print(place + "\n")
    print("| | " + " | ".join(HEADINGS) + " |")
    print("|---" * (len(HEADINGS) + 1) + "|")
    for figures in everything:
        print("\n".join(rows(figures)))
    print()
    for figures in everything:
        print(layers(figures))


if __name__ == "__main__":
    main()
