"""The typed schema of params.yaml: what every stage may be told, and one clear line for anything else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from edgemotion.errors import EdgemotionError

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
    # Drop training images that also stand in val or test, and val images that also stand in test.
    drop_leaks: bool


@dataclass
class Model:
    """A network of the registry and its arguments."""

    name: str
    # Autocast type on a CPU: bf16 is faster for dense networks and slower for depthwise ones.
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
    erase_probability: float
    erase_size: float


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
    ema_decay: float
    # Against rare classes: none, weights (in the loss) or sampling (of the batches).
    balance: str
    # Prefixes of the names of parameters that keep their values.
    freeze: list[str]
    device: str
    augment: Augment


@dataclass
class Prune:
    """One pruned network: the method, its arguments and the fine-tuning after it."""

    method: str
    epochs: int
    learning_rate: float
    args: dict[str, Any]


@dataclass
class Quantize:
    """One quantized variant: the method, its arguments and the variant it starts from."""

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
    max_accuracy_drop: float
    rank_by: str


@dataclass
class Tracking:
    backend: str
    uri: str
    experiment: str


@dataclass
class Settings:
    """Everything in params.yaml."""

    seed: int
    threads: int
    data: Data
    model: Model
    train: Train
    prune: dict[str, Prune]
    networks: list[str]
    quantize: dict[str, Quantize]
    variants: list[str]
    robustness: Robustness
    temporal: Temporal
    profile: Profile
    select: Select
    tracking: Tracking
    # The network or variant that a foreach stage works on, given on its command line.
    item: str = field(default="")


def load(config: DictConfig) -> Settings:
    """Check a composed configuration against the schema; EdgemotionError names the first bad key."""
    try:
        merged = OmegaConf.structured(Settings)
        # One section after the other, because OmegaConf names no key where a list stands in place of a mapping.
        for section, content in OmegaConf.to_container(config, resolve=True).items():  # type: ignore[union-attr]
            merged = OmegaConf.merge(merged, {section: content})
        settings = OmegaConf.to_object(merged)
    except (ConfigKeyError, ConfigAttributeError) as error:
        raise EdgemotionError(f"{PARAMS}: unknown key {error.full_key!r}; correct it in configs/") from None
    except OmegaConfBaseException as error:
        key = error.full_key or section
        raise EdgemotionError(f"{PARAMS}: key {key!r}: {str(error).splitlines()[0]}") from None
    assert isinstance(settings, Settings)
    check_values(settings)
    return settings


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


def check_values(settings: Settings) -> None:
    """Names must be made by some stage, a training needs an epoch, images have 1 or 3 channels."""
    if settings.data.channels not in (1, 3):
        raise EdgemotionError(f"{PARAMS}: data.channels is {settings.data.channels}; it must be 1 (gray) or 3 (RGB)")
    made_networks = ["fp32", *settings.prune]
    made_variants = [*settings.networks, *settings.quantize]
    for key, wanted, made in (
        ("networks", settings.networks, made_networks),
        ("variants", settings.variants, made_variants),
        ("quantize.*.parent", [entry.parent for entry in settings.quantize.values()], settings.networks),
    ):
        for name in wanted:
            if name not in made:
                raise EdgemotionError(
                    f"{PARAMS}: {key} names {name!r}, which no stage makes; there are {', '.join(made)}"
                )
    for key, epochs in [
        ("train", settings.train.epochs),
        *((f"prune.{n}", p.epochs) for n, p in settings.prune.items()),
    ]:
        if epochs < 1:
            raise EdgemotionError(f"{PARAMS}: {key}.epochs is {epochs}; it must be at least 1")
    if "fp32" not in settings.variants:
        raise EdgemotionError(f"{PARAMS}: variants must hold 'fp32', the reference of every comparison")
