"""The typed schema of params.yaml: what every stage may be told, and one clear line for anything else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from edgemotion.contradictions import all_pruned, contradictions
from edgemotion.errors import EdgemotionError, first_line

PARAMS = Path("params.yaml")


@dataclass
class Data:
    """Where the images come from and how they become arrays."""

    name: str
    # Tried in this order, each with its arguments; the first that has the data is taken.
    sources: dict[str, dict[str, Any]]
    # SHA-256 over the sorted member names and bytes; null accepts any content and records its digest.
    digest: str | None
    layout: str
    # Arguments of the layout.
    args: dict[str, Any]
    # In the order of the logits; empty takes the classes that the archive has, sorted.
    classes: list[str]
    height: int
    width: int
    channels: int
    # Side of the square that frames a face, in heights of the box that YuNet draws around it.
    face_side: float
    # Drop training images that also stand in val or test; false drops the val images that stand in train instead. Val
    # images that stand in test go in any case.
    drop_leaks: bool


@dataclass
class Model:
    """A network of the registry and its arguments."""

    name: str
    # Autocast type: bf16 is faster for dense networks and slower for depthwise ones. A CPU without it takes fp32.
    precision: str
    args: dict[str, Any]

    @property
    def title(self) -> str:
        """What reports call it: compact, efficientnet_b0, yolo11n."""
        if "architecture" in self.args:
            return str(self.args["architecture"])
        return f"{self.name}_{self.args['variant']}" if "variant" in self.args else self.name


@dataclass
class Augment:
    """Random changes of a training batch; magnitudes are upper limits, drawn anew for each image."""

    flip: bool
    rotate_degrees: float
    scale: float
    shift: float
    brightness: float
    contrast: float
    # Standard deviation of Gaussian noise.
    noise: float
    erase_probability: float
    erase_size: float


@dataclass
class Distill:
    """Learning from answers beside the labels (Hinton et al. 2015, arXiv 1503.02531)."""

    # Who teaches: none, self (its own answers in the epochs before), ensemble (models/teachers) or, where a network is
    # compressed, dense (the one it came from).
    teacher: str
    # Share of the teacher's answers in the loss; the labels have the rest.
    weight: float
    temperature: float


@dataclass
class Train:
    """How a network is trained."""

    # The file in training/ that does it: classifier or yolo.
    trainer: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup: float
    label_smoothing: float
    # Parameter of the Beta distribution that draws the shares of two mixed images; 0 mixes none.
    mixup: float
    ema_decay: float
    # Against rare classes: none, weights (in the loss) or sampling (of the batches).
    balance: str
    # Prefixes of the names of parameters that keep their values.
    freeze: list[str]
    device: str
    augment: Augment
    distill: Distill


@dataclass
class Teacher:
    """Networks that are trained only to teach: one architecture from several seeds."""

    count: int
    model: Model
    train: Train


@dataclass
class Prune:
    """One pruned network: the method, its arguments and the fine-tuning after each of its rounds."""

    method: str
    # Equal steps in which the network is pruned, each with `epochs` of fine-tuning.
    rounds: int
    epochs: int
    learning_rate: float
    distill: Distill
    args: dict[str, Any]


@dataclass
class Quantize:
    """One variant made from another: the method, its arguments and the variant it starts from."""

    method: str
    parent: str
    args: dict[str, Any]


@dataclass
class Scenario:
    """One corruption of the test split."""

    name: str
    corruption: str
    args: dict[str, Any]


@dataclass
class Robustness:
    scenarios: list[Scenario]


@dataclass
class Temporal:
    """Streams and the Kalman filter that smooths them; variances are of class probabilities."""

    frames: int
    dwell: int
    process_noise: float
    measurement_noise: float


@dataclass
class Profile:
    """The latency protocol: rounds over all variants, interleaved, on pinned threads."""

    threads: int
    rounds: int
    warmup: int
    batches: list[int]
    cold_starts: int


@dataclass
class Select:
    """The device budget that a champion must keep, and the order among those that do."""

    device: str
    max_size_mb: float
    max_p95_ratio: float
    # Of p50, against fp32.
    min_speedup: float
    # In top-1 on val, against fp32; static quantization keeps layers in float until it is within this of its parent.
    max_accuracy_drop: float
    # In the recall of any one class on val, against fp32.
    max_worst_class_drop: float
    # Share of val images on which a variant names the class of what it was made from.
    min_agreement: float
    rank_by: str
    # Figures within this share of each other count as equal; then top-1 on val decides.
    tie: float


@dataclass
class Tracking:
    backend: str
    uri: str
    experiment: str


@dataclass
class Ablation:
    """Trainings that differ from the recipe in one choice; `rows` gives dotted keys their other values."""

    epochs: int
    seeds: list[int]
    rows: dict[str, dict[str, Any]]


@dataclass
class Pareto:
    """What `invoke pareto` may choose, on train and val alone, and what it keeps of the front."""

    # Added by one call that names no other number.
    trials: int
    # A network each: by `structured` with this macs_ratio, by `slim` with this width.
    macs_ratios: list[float]
    widths: list[float]
    structured: Prune
    slim: Prune
    # The method must take float_layers and max_accuracy_drop.
    quantize: Quantize
    # In which a trial and the fp32 variant are timed in turn.
    rounds: int
    # Variants of the front that configs/compression/pareto.yaml names.
    keep: int


@dataclass
class Settings:
    """Everything in params.yaml."""

    seed: int
    threads: int
    # A prediction is certain from the probability on from which this share of val is right.
    certain_accuracy: float
    data: Data
    model: Model
    teacher: Teacher
    train: Train
    prune: dict[str, Prune]
    networks: list[str]
    quantize: dict[str, Quantize]
    variants: list[str]
    # Of a variant, the one that differs from it in a single choice; the report tells what the choice is worth.
    controls: dict[str, str]
    robustness: Robustness
    temporal: Temporal
    profile: Profile
    select: Select
    ablation: Ablation
    tracking: Tracking
    pareto: Pareto
    # The network or variant that a foreach stage works on, given on its command line.
    item: str = field(default="")


def load(config: DictConfig) -> Settings:
    """Check a composed configuration against the schema; EdgemotionError names the first bad key."""
    try:
        merged = OmegaConf.structured(Settings)
        # One section after the other, because OmegaConf names no key where a list stands in place of a mapping.
        for section, content in OmegaConf.to_container(config, resolve=True).items():  # type: ignore[union-attr]
            merged.merge_with({section: content})
        settings = OmegaConf.to_object(merged)
    except (ConfigKeyError, ConfigAttributeError) as error:
        raise EdgemotionError(f"{PARAMS}: unknown key {error.full_key!r}; correct it in configs/") from None
    except OmegaConfBaseException as error:
        key = error.full_key or section
        raise EdgemotionError(f"{PARAMS}: key {key!r}: {first_line(error)}") from None
    assert isinstance(settings, Settings)
    if complaint := next(contradictions(settings), None):
        raise EdgemotionError(f"{PARAMS}: {complaint}")
    return settings


def check_arguments(settings: Settings) -> None:
    """Check what later stages call by name, before hours of training; EdgemotionError names the key and the value."""
    from edgemotion import registry

    quantized = {f"quantize.{name}": entry for name, entry in settings.quantize.items()}
    quantized["pareto.quantize"] = settings.pareto.quantize
    for key, kind, name, args in [
        *((key, "prune", entry.method, entry.args) for key, entry in all_pruned(settings).items()),
        *((key, "quantize", entry.method, entry.args) for key, entry in quantized.items()),
        *(
            (f"robustness.scenarios, {scenario.name!r}", "corruption", scenario.corruption, scenario.args)
            for scenario in settings.robustness.scenarios
        ),
    ]:
        try:
            registry.check(kind, name, args)
        except EdgemotionError as error:
            raise EdgemotionError(f"{PARAMS}: {key}: {error}") from None


def read(path: Path | str = PARAMS) -> Settings:
    """Load and check a params.yaml outside Hydra."""
    return load(parse(path))


def parse(path: Path | str = PARAMS) -> DictConfig:
    """Parse a params.yaml without checking its keys; EdgemotionError names a missing or malformed file."""
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError:
        raise EdgemotionError(f"{path} is missing; compose it with `invoke params`") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise EdgemotionError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, DictConfig):
        raise EdgemotionError(f"{path} holds a list, not sections; compose it with `invoke params`")
    return config
