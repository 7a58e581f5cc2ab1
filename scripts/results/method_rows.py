"""What is measured: one frozen row per method, and the budget that all of them share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "configs" / "fashion_mnist_resnet.yaml"
SEEDS = (1, 2, 3)
FLOAT = "float"  # the row whose model every other one of its seed starts from
FLOAT_LONGER = "float-10"

Command = Literal["train", "calibrate", "peer"]


@dataclass(frozen=True)
class Budget:
    """What every row may spend; the command gets it as overrides, the peers as it stands."""

    float_epochs: int = 6
    qat_epochs: int = 4
    lr: float = 0.01
    weight_decay: float = 5e-4
    momentum: float = 0.9
    batch: int = 128
    flip: bool = True
    shift: int = 1
    freeze_batch_norm: float = 0.6  # shares of the steps, the defaults of every recipe
    freeze_ranges: float = 0.8
    limit: int = 0  # rows of each split; 0: all

    def overrides(self, command: Command = "train") -> list[str]:
        """The same as keys of a job."""
        training = [
            f"qat.epochs={self.qat_epochs}",
            f"qat.optimizer={{lr: {self.lr}, weight_decay: {self.weight_decay:.6f}, "
            f"momentum: {self.momentum}}}",
            "qat.schedule={name: cosine}",
        ]
        return [
            f"float.epochs={self.float_epochs}",
            *([] if command == "calibrate" else training),
            f"data.batch={self.batch}",
            f"data.limit={self.limit}",
            f"data.augment={{flip: {str(self.flip).lower()}, shift: {self.shift}}}",
        ]


QUICK = Budget(float_epochs=1, qat_epochs=1, limit=2000)


@dataclass(frozen=True)
class Goal:
    """At most so many points of accuracy below what `of` names."""

    points: float
    of: Literal["float", "robust float"] = "float"


@dataclass(frozen=True)
class Row:
    """One method. `against` is the row that it is compared with beside the float model."""

    name: str
    label: str
    overrides: tuple[str, ...] = ()
    command: Command = "train"
    peer: str = ""  # of peer_training.PEERS, for the command "peer"
    goal: Goal | None = None
    against: str = ""
    search: tuple[str, ...] = ()  # of the `qat search` that turns the row's recipe into another one
    seeds: tuple[int, ...] = SEEDS
    shares_float: bool = True  # starts from the model of the row `start` of the same seed
    start: str = FLOAT
    teacher: str = ""  # the row whose float model it is distilled from
    floating: bool = False  # measures the float model
    minutes: float = 5.0  # expected on two cores, until a seed has been measured

    def needs(self) -> list[str]:
        """Rows of the same seed that have to be there first."""
        return [name for name in (self.start if self.shares_float else "", self.teacher) if name]


_ENDS = (
    "rules: [{sites: <first>, weight_bits: 8, activation_bits: 8}, "
    "{sites: <last>, weight_bits: 8, activation_bits: 8}]"
)
_WEIGHT_ENDS = "rules: [{sites: <first>, weight_bits: 8}, {sites: <last>, weight_bits: 8}]"


def _lsq(weights: int, activations: int, *more: str) -> str:
    """Learned scales inside, 8 bits at both ends: the named recipe with further sections."""
    parts = (
        f"weights: {{bits: {weights}, method: lsq}}",
        f"activations: {{bits: {activations}, method: lsq}}",
        _ENDS,
        *more,
    )
    return f"recipe={{{', '.join(parts)}}}"


_STAGES = (
    "schedule: {stages: [{until: 0.2, weights: 8, activations: 8}, "
    "{until: 0.4, weights: 4, activations: 4}]}"
)
_PTQ_W4A8 = (
    f"recipe={{name: ptq-w4a8, weights: {{bits: 4}}, activations: {{method: mse}}, {_WEIGHT_ENDS}}}"
)
# All layers alike, so that the search has the ends to trade as well.
_UNIFORM = "recipe={name: uniform-w4a8, weights: {bits: 4, method: lsq}}"

ROWS: tuple[Row, ...] = (
    # A run ends in a quantized model; this is the shortest way there.
    Row(FLOAT, "float", command="calibrate", shares_float=False, floating=True, minutes=8),
    # As many epochs as the float model and the training of the others have together.
    Row(
        FLOAT_LONGER,
        "float, 10 epochs",
        ("float.epochs=10",),
        command="calibrate",
        shares_float=False,
        floating=True,
        against=FLOAT,
        minutes=13,
    ),
    Row("w8a8", "W8A8", ("recipe=int8",), goal=Goal(0.1)),
    Row(
        "w8a8-longer",
        "W8A8 from the float model of 10 epochs",
        ("recipe=int8",),
        start=FLOAT_LONGER,
        goal=Goal(0.1),
    ),
    Row(
        "w8a8-int16",
        "W8A8, gradients from 16-bit products",
        ("recipe={base: int8, numerics: {backward: int16}}",),
        against="w8a8",
    ),
    Row("peer-w8a8", "W8A8, torch.ao", command="peer", peer="torch.ao", against="w8a8", minutes=9),
    Row(
        "ptq-w8a8",
        "W8A8 without training",
        ("recipe={name: ptq, activations: {method: mse}}",),
        command="calibrate",
        goal=Goal(0.3),
        minutes=1,
    ),
    Row(
        "ptq-w4a8-nearest",
        "W4A8 without training, nearest",
        (_PTQ_W4A8,),
        command="calibrate",
        minutes=1,
    ),
    Row(
        "ptq-w4a8-adaround",
        "W4A8 without training, equalization, AdaRound, bias correction",
        (_PTQ_W4A8, "calibrate.steps=[equalize, adaround, bias_correction]"),
        command="calibrate",
        against="ptq-w4a8-nearest",
        minutes=5,
    ),
    Row("w4a8", "W4A8", ("recipe=w4a8",)),
    Row("w4a4", "W4A4, LSQ", ("recipe=w4a4-lsq",), goal=Goal(0.4)),
    Row(
        "w4a4-longer",
        "W4A4, LSQ, from the float model of 10 epochs",
        ("recipe=w4a4-lsq",),
        start=FLOAT_LONGER,
        goal=Goal(0.4),
    ),
    Row("peer-w4a4", "W4A4, brevitas", command="peer", peer="brevitas", against="w4a4", minutes=15),
    Row(
        "w4a4-distill",
        "W4A4, LSQ, distilled from its float model",
        ("recipe=w4a4-lsq", "distill={teacher: float}"),
        against="w4a4",
        minutes=7,
    ),
    Row(
        "w4a4-distill-longer",
        "W4A4, LSQ, distilled from the float model of 10 epochs",
        ("recipe=w4a4-lsq",),
        against="w4a4",
        teacher=FLOAT_LONGER,
        minutes=7,
    ),
    Row("w3a3", "W3A3", ("recipe=w3a3",), goal=Goal(0.8)),
    Row("w2a2", "W2A2", ("recipe=w2a2",), goal=Goal(2.0)),
    Row(
        "w2a2-damping",
        "W2A2, oscillation damped",
        (_lsq(2, 2, "name: w2a2-damping", "oscillation: {damping: 0.001}"),),
        against="w2a2",
    ),
    Row(
        "w2a2-freezing",
        "W2A2, oscillating weights frozen",
        (_lsq(2, 2, "name: w2a2-freezing", "oscillation: {freeze: 0.02}"),),
        against="w2a2",
    ),
    Row(
        "w2a2-stages",
        "W2A2 in stages of 8, 4, 2 bits",
        (_lsq(2, 2, "name: w2a2-stages", _STAGES),),
        against="w2a2",
    ),
    Row("ternary", "ternary weights, A8", ("recipe=ternary",)),
    Row("uniform-w4a8", "W4A8, every layer alike", (_UNIFORM,)),
    Row(
        "mixed",
        "mixed precision of that size",
        (_UNIFORM,),
        search=("--all", "--size", "0.5"),
        against="uniform-w4a8",
        minutes=8,
    ),
    Row(
        "prune-2-4",
        "2:4 sparse, W8A8",
        ("recipe={name: prune-2-4, prune: {method: 2:4}}",),
        goal=Goal(0.5),
    ),
    Row(
        "prune-half",
        "half of the weights pruned, W8A8",
        ("recipe={name: prune-half, prune: {method: magnitude, sparsity: 0.5}}",),
        against="prune-2-4",
    ),
    Row(
        "cluster-16",
        "16 weight values per layer, A8",
        ("recipe={name: cluster-16, weights: {granularity: tensor}, cluster: {values: 16}}",),
        goal=Goal(0.7),
        against="w4a8",
    ),
    Row(
        "adversarial",
        "W8A8, adversarially trained",
        ("recipe=int8", "adversarial={}"),
        goal=Goal(1.0, "robust float"),
        seeds=(1,),
        shares_float=False,
        minutes=60,
    ),
)

BY_NAME = {row.name: row for row in ROWS}


def definition(row: Row, budget: Budget) -> list[str]:
    """What a result depends on beside seed and machine: an entry of another one is out of date."""
    start = row.start if row.start != FLOAT else ""
    fixed = (row.command, row.peer, row.teacher, start, *row.search)
    return [*(part for part in fixed if part), *budget.overrides(), *row.overrides]
