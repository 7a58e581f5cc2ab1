#!/usr/bin/env python3
"""Accuracy of every quantization method on Fashion-MNIST with a small ResNet, row by row.

All rows have one budget and start, seed by seed, from one float model. An entry is written after
each row and seed; those that are there are skipped, so the script can be stopped and started again
at any time; several of them, each with seeds of its own and OMP_NUM_THREADS=1, may run side by
side. Rows that need an extra package say which one.

    scripts/results/methods.py                            # all that is missing
    scripts/results/methods.py --list
    scripts/results/methods.py --rows w8a8,w4a4 --seeds 1
    scripts/results/methods.py --table --plot             # out of what has been measured
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from method_rows import BY_NAME, QUICK, ROOT, ROWS, SEEDS, Budget, Row
from method_runs import Place, RunError, measure, with_needs
from method_store import Store, write_whole

RESULTS = ROOT / "docs" / "results" / "methods.json"


def parsed() -> argparse.Namespace:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        description=lines[0],
        epilog="\n".join(lines[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = lambda text: [part for part in text.split(",") if part]  # noqa: E731
    parser.add_argument("--rows", type=names, default=list(BY_NAME), help="a,b; default: all")
    parser.add_argument("--seeds", type=names, help="1,2; default: all of a row")
    parser.add_argument("--redo", action="store_true", help="measure again what is there")
    parser.add_argument("--list", action="store_true", help="what is missing, and for how long")
    parser.add_argument("--table", action="store_true", help="write methods.md beside the results")
    parser.add_argument("--plot", action="store_true", help="write methods.svg beside the results")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="2000 images, one epoch, one seed, into a temporary folder: does everything run?",
    )
    parser.add_argument("--results", type=Path, help=f"default: {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--runs", type=Path, help="folder of the runs; default: runs/methods")
    arguments = parser.parse_args()
    for name in arguments.rows:
        if name not in BY_NAME:
            parser.error(f"--rows: no row {name!r}; there are {', '.join(BY_NAME)}")
    for seed in arguments.seeds or []:
        if not seed.isdigit():
            parser.error(f"--seeds: expected numbers such as 1,2,3, got {seed!r}")
    return arguments


def show_missing(store: Store, rows: list[Row], seeds: list[int], budget: Budget) -> None:
    """What would be run, in order, and how long it takes."""
    total = 0.0
    for row in rows:
        missing = [seed for _, seed in store.missing([row], seeds)]
        if missing:
            minutes = store.expected_minutes(row)
            total += minutes * len(missing)
            print(f"{row.name:20} {minutes:5.1f} min for each of the seeds {missing}")
    for row in rows:
        for seed in row.seeds:
            if seed in seeds and store.out_of_date(row, seed, budget):
                print(f"{row.name:20} seed {seed} was measured with another definition: --redo")
    print(f"missing: {total:.0f} minutes")


def run(store: Store, place: Place, todo: list[tuple[Row, int]]) -> int:
    """Measures one after the other; a row that fails does not stop the others."""
    failed = 0
    for number, (row, seed) in enumerate(todo, 1):
        expected = store.expected_minutes(row)
        head = f"[{number}/{len(todo)}] {row.name} seed {seed}"
        print(f"{head}: about {expected:.0f} min", flush=True)
        try:
            entry = measure(row, seed, place, store)
        except RunError as error:
            failed += 1
            print(f"{head}: failed: {error}", file=sys.stderr, flush=True)
            continue
        store.put(entry)
        print(
            f"{head}: float {entry['float_accuracy']:.4f} int8 {entry['int8_accuracy']:.4f} "
            f"({entry['minutes']:.1f} min)",
            flush=True,
        )
    return 1 if failed else 0


def interrupt(number: int, frame: object) -> None:
    """SIGTERM ends the current row as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Exit status: 0 done, 1 a row failed, 130 stopped."""
    arguments = parsed()
    scratch = Path(tempfile.gettempdir()) / "qat_methods_quick"
    results = arguments.results or (scratch / RESULTS.name if arguments.quick else RESULTS)
    runs = arguments.runs or (scratch if arguments.quick else ROOT / "runs" / "methods")
    place = Place(runs.resolve(), QUICK if arguments.quick else Budget())
    store = Store.load(results)
    known = {seed for row in ROWS for seed in row.seeds}
    seeds = [int(seed) for seed in arguments.seeds or (SEEDS[:1] if arguments.quick else known)]
    rows = [BY_NAME[name] for name in dict.fromkeys(arguments.rows)]
    if arguments.list:
        show_missing(store, with_needs(rows), seeds, place.budget)
    if arguments.table:
        from method_table import markdown

        write_whole(results.with_suffix(".md"), markdown(store))
    if arguments.plot:
        from method_plot import svg

        write_whole(results.with_suffix(".svg"), svg(store))
    if arguments.list or arguments.table or arguments.plot:
        return 0
    # Also SIGINT: a script that a shell starts in the background inherits that it is ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    chosen = [(row, seed) for row in rows for seed in row.seeds if seed in seeds]
    todo = list(store.missing(with_needs(rows), seeds))
    if arguments.redo:
        others = [item for item in todo if item not in chosen]
        todo = [*others, *chosen]
    try:
        return run(store, place, todo)
    except KeyboardInterrupt:
        print("stopped; finished rows are kept, the current one starts anew", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
