"""The table of docs/results/methods.md out of the results."""

from collections.abc import Iterable

from method_rows import BY_NAME, ROWS, Row
from method_store import Entry, Robust, Store

HEADINGS = (
    "method",
    "seeds",
    "accuracy, %",
    "to float, points",
    "goal",
    "to another row, points",
    "size",
    "s per epoch",
    "differing logits",
)


def spread(values: Iterable[float], digits: int, sign: str = "") -> str:
    """The mean, and from the smallest to the largest where they differ in what is shown."""
    listed = list(values)
    if not listed:
        return ""
    shown = [format(value, f"{sign}.{digits}f") for value in (min(listed), max(listed))]
    mean = format(sum(listed) / len(listed), f"{sign}.{digits}f")
    return mean if shown[0] == shown[1] else f"{mean} ({shown[0]} to {shown[1]})"


def to_float(entries: list[Entry]) -> list[float]:
    """Points that each seed's quantized model has over its float model."""
    return [100 * (entry["int8_accuracy"] - entry["float_accuracy"]) for entry in entries]


def robust(entries: list[Entry]) -> list[Robust]:
    """What is known about attacks."""
    return [entry["robustness"] for entry in entries if "robustness" in entry]


def judged(row: Row, entries: list[Entry]) -> str:
    """The goal, and whether the mean over the seeds meets it."""
    if row.goal is None:
        return ""
    differences = to_float(entries)
    if row.goal.of == "robust float":
        differences = [100 * (r["int8_accuracy"] - r["float_accuracy"]) for r in robust(entries)]
    text = f"≥ −{row.goal.points:g}"
    if not differences:
        return text
    # Accuracies are multiples of 1 in 10,000, which binary numbers are not.
    met = sum(differences) / len(differences) >= -row.goal.points - 1e-9
    return f"{text}: {'met' if met else '**missed**'}"


def compared(row: Row, store: Store) -> str:
    """Points over the row that it stands beside, seed by seed."""
    if not row.against:
        return ""
    other = {entry["seed"]: entry for entry in store.of(BY_NAME[row.against])}
    points = [
        100 * (entry["int8_accuracy"] - other[entry["seed"]]["int8_accuracy"])
        for entry in store.of(row)
        if entry["seed"] in other
    ]
    text = spread(points, 2, "+")
    return f"{text} to {BY_NAME[row.against].label}" if points else ""


def differing(entries: list[Entry]) -> str:
    """Logits of the integer model that are not those of the trained one, over all seeds."""
    counts = [(e["differing_logits"], e["logits"]) for e in entries]
    known = [(wrong, of) for wrong, of in counts if wrong is not None and of is not None]
    if not known:
        return ""
    return f"{sum(wrong for wrong, _ in known):,} of {sum(of for _, of in known):,}"


def timed(entries: list[Entry]) -> list[float]:
    """Seconds of the runs that used all cores: those beside one another have fewer threads."""
    return [
        entry["seconds_per_epoch"]
        for entry in entries
        if entry["seconds_per_epoch"] is not None
        and entry["machine"]["threads"] == entry["machine"].get("cores")
    ]


def line(row: Row, store: Store) -> list[str]:
    """One row of the table; empty cells where nothing has been measured."""
    entries = store.of(row)
    shared = row.goal is None or row.goal.of == "float"
    return [
        f"{row.label} (`{row.name}`)",
        ", ".join(str(entry["seed"]) for entry in entries) or "not measured",
        spread((100 * entry["int8_accuracy"] for entry in entries), 2),
        "" if row.floating else spread(to_float(entries), 2, "+"),
        judged(row, entries) if shared else "",
        compared(row, store),
        spread((e["size_ratio"] for e in entries if e["size_ratio"] is not None), 3),
        spread(timed(entries), 1),
        differing(entries),
    ]


def robust_lines(store: Store) -> list[list[str]]:
    """Rows that were attacked, float and integer model one below the other."""
    found = []
    for row in ROWS:
        entries = [entry for entry in store.of(row) if "robustness" in entry]
        attacks = robust(entries)
        if not attacks:
            continue
        name = (
            f"{attacks[0]['attack'].upper()}-{attacks[0]['steps']}, ε {attacks[0]['epsilon']:.4f}"
        )
        clean = [
            spread((100 * e["float_accuracy"] for e in entries), 2),
            spread((100 * e["int8_accuracy"] for e in entries), 2),
        ]
        attacked = [
            spread((100 * r["float_accuracy"] for r in attacks), 2),
            spread((100 * r["int8_accuracy"] for r in attacks), 2),
        ]
        found.append([f"{row.label}: float", name, clean[0], attacked[0], ""])
        found.append([f"{row.label}: int8", name, clean[1], attacked[1], judged(row, entries)])
    return found


def as_table(headings: Iterable[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [list(headings), *rows]
    rule = "|---" * len(lines[0]) + "|"
    shown = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([shown[0], rule, *shown[1:]])


def places(store: Store) -> str:
    """Machines and versions that the entries name, each once; threads and commits are theirs."""
    own = ("threads", "cores", "commit")
    found = {
        "; ".join(
            f"{key} {value}"
            for key, value in {**e["machine"], **e["versions"]}.items()
            if key not in own
        )
        for e in store.entries.values()
    }
    return "\n".join(f"- {place}" for place in sorted(found))


def markdown(store: Store) -> str:
    """The whole page."""
    parts = [
        "# Methods on Fashion-MNIST",
        "Written by `scripts/results/methods.py --table`; `methods.json` beside it has every "
        "figure with its command line, `methods.svg` is the plot.",
        "Test accuracy of the ResNet of `configs/fashion_mnist_resnet.yaml`. Figures are the mean "
        "(smallest to largest) over the seeds. All rows of a seed start from one float model of 6 "
        "epochs, or of 10 where they say so; all that train do so for 4 epochs with one optimizer "
        "and one schedule. Size: of the file, by that of the float model. Goals are judged by the "
        "mean. Torch.ao's and brevitas's models see the same batches. Seconds are those of runs "
        "that used all cores. Names in brackets are those of `--rows`.",
        as_table(HEADINGS, [line(row, store) for row in ROWS]),
    ]
    if attacked := robust_lines(store):
        headings = ("model", "attack", "clean accuracy, %", "attacked, %", "goal, points to float")
        parts += ["Under attack:", as_table(headings, attacked)]
    if store.entries:
        parts += ["Measured on:", places(store)]
    return "\n\n".join(parts) + "\n"
