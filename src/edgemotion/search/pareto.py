"""A trained network and its fp32 variant in; trials over width, pruning and int8 per layer, and their front, out."""

from typing import TYPE_CHECKING, Any

import torch

from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_json
from edgemotion.measure.environment import describe
from edgemotion.search.bench import Bench, open_parent
from edgemotion.search.front import OBJECTIVES, Row
from edgemotion.search.networks import FOLDER, FP32, choices, load_dense, make_network
from edgemotion.search.output import write
from edgemotion.settings import Settings, check_arguments
from edgemotion.training.checkpoint import code_sha256

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

STORAGE = FOLDER / "search.db"
INT8, MIXED, FLOAT = "int8", "mixed", "float"


def search(settings: Settings, trials: int) -> list[Row]:
    """Add trials to those of earlier calls with the same networks, data and machine; write and return what there is.

    Reads models/networks/fp32, models/variants/fp32 and the train and val splits; test chooses nothing.
    """
    check_arguments(settings)
    torch.set_num_threads(settings.threads)
    digests = [split_sha256(f"data/prepared/{split}") for split in ("train", "val")]
    bench = open_bench(settings, digests)
    study = open_study(bench, digests)
    for _ in range(trials):
        run_trial(study, bench)
    rows = read_rows(study)
    if not rows:
        raise EdgemotionError(f"{STORAGE} holds no trial of these settings; ask for some: `invoke pareto --trials 60`")
    return write(bench, rows)


def open_bench(settings: Settings, digests: list[dict[str, str]]) -> Bench:
    """Make or find every network of the space, and read what the trials are measured on."""
    dense = load_dense(digests)
    train, val = (read_split(f"data/prepared/{split}", classes=dense.classes) for split in ("train", "val"))
    variants = {FP32: dense}
    for name, chosen in choices(settings.pareto).items():
        made = make_network(name, chosen, settings, (train, val), digests, dense)
        same = [other for other, variant in variants.items() if variant.info["sha256"] == made.info["sha256"]]
        print(
            f"{name}: {made.info['macs']} MACs, " + (f"the same as {same[0]}, left out" if same else "ready"),
            flush=True,
        )
        # Two shares may round to the same channels.
        if not same:
            variants[name] = made
    parents = {name: open_parent(variant, val, settings.threads) for name, variant in variants.items()}
    return Bench(settings, train, val, parents)


def open_study(bench: Bench, digests: list[dict[str, str]]) -> "Study":
    """Find in .pareto/search.db the trials that compare with further ones, or begin."""
    import optuna

    settings, environment = bench.settings, describe(bench.settings.profile.threads)
    quantize = settings.pareto.quantize
    identity = {
        "networks": {name: parent.variant.info["sha256"] for name, parent in bench.parents.items()},
        "data": digests,
        "quantize": [quantize.method, quantize.args],
        "code": code_sha256(),
        "timing": [settings.pareto.rounds, settings.profile.warmup],
        "seed": settings.seed,
        "machine": [environment[key] for key in ("cpu", "flags", "threads")],
        "onnxruntime": environment["versions"]["onnxruntime"],
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{STORAGE}",
        study_name=sha256_json(identity)[:16],
        directions=["maximize" if sign < 0 else "minimize" for sign in OBJECTIVES.values()],
        load_if_exists=True,
    )
    # A search that was killed left its last trial open.
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def run_trial(study: "Study", bench: Bench) -> None:
    """Choose, measure and record one trial; a choice that was measured before keeps its figures."""
    from optuna.samplers import TPESampler

    done = finished(study)
    place = len(done) + 1
    # All randomness of a trial comes from its place, so a search that was killed goes on with the same draws. Layers
    # are drawn together (multivariate), because whether one is faster in int8 depends on its neighbours.
    study.sampler = TPESampler(seed=(bench.settings.seed + place) % 2**32, multivariate=True)
    known = [entry.params for entry in done]
    if left := [params for params in first_choices(bench) if params not in known]:
        study.enqueue_trial(left[0])
    trial = study.ask()
    network, float_layers = choose(trial, bench)
    if trial.params in known:
        row = done[known.index(trial.params)].user_attrs["row"]
    else:
        row = describe_choice(place, network, float_layers, bench) | bench.measure(network, float_layers)
    trial.set_user_attr("row", row)
    study.tell(trial, [row[key] for key in OBJECTIVES])
    print(
        f"trial {place}, {row['variant']}: val top-1 {row['top1']:.4f}, p50 {row['p50_ratio']:.3f} of fp32's, "
        f"{row['size_bytes']} bytes",
        flush=True,
    )


def first_choices(bench: Bench) -> list[dict[str, Any]]:
    """Every network with all layers in float, then with all in int8: the ends between which the others lie."""
    return [
        {"network": name, **{parameter(layer): kind for layer in parent.layers}}
        for kind in (FLOAT, INT8)
        for name, parent in bench.parents.items()
    ]


def choose(trial: "Trial", bench: Bench) -> tuple[str, list[str]]:
    """Let the sampler choose a network and its layers that stay in float."""
    network = trial.suggest_categorical("network", list(bench.parents))
    layers = bench.parents[network].layers
    return network, [layer for layer in layers if trial.suggest_categorical(parameter(layer), [INT8, FLOAT]) == FLOAT]


def parameter(layer: str) -> str:
    """A layer has the same name in every network, so that what is learnt of one counts for the others."""
    return f"layer {layer}"


def describe_choice(trial: int, network: str, float_layers: list[str], bench: Bench) -> Row:
    """What was chosen, and the name of its variant: slim_50 in float, slim_50_int8, slim_50_mixed_17 of trial 17."""
    parent = bench.parents[network]
    if len(float_layers) == len(parent.layers):
        precision, variant = FLOAT, network
    else:
        precision, variant = (MIXED, f"{network}_mixed_{trial}") if float_layers else (INT8, f"{network}_int8")
    return {
        "trial": trial,
        "network": network,
        "macs": parent.variant.info["macs"],
        "precision": precision,
        "variant": variant,
        "layers": len(parent.layers),
        "float_layers": float_layers,
    }


def finished(study: "Study") -> "list[FrozenTrial]":
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def read_rows(study: "Study") -> list[Row]:
    """What was measured, without the trials that repeat a choice."""
    rows = [entry.user_attrs["row"] for entry in finished(study)]
    return list({row["trial"]: row for row in rows}.values())
