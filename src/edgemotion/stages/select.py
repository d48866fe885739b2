"""Evaluations, profile and variants in; reports/select.json and models/champion out."""

import dataclasses
import shutil
from pathlib import Path

from edgemotion.files import read_json, replacing, write_json
from edgemotion.measure.selection import champion_of, select
from edgemotion.runtime.variant import load_variant
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    variants = {name: load_variant(Path("models/variants") / name) for name in settings.variants}
    selection = select(
        {name: read_json(f"reports/evaluate/{name}.json") for name in variants},
        read_json("reports/profile.json")["variants"],
        {name: variant.info for name, variant in variants.items()},
        **dataclasses.asdict(settings.select),
    )
    # Written before the verdict, so that the evidence is there when nothing passes.
    write_json("reports/select.json", selection)
    champion = champion_of(selection)
    with replacing("models/champion") as partial:
        partial.mkdir()
        for name in ("model.onnx", "model_info.json"):
            shutil.copyfile(variants[champion].folder / name, partial / name)
        write_json(partial / "selection.json", selection)
    print(f"models/champion: {champion}, {selection['variants'][champion]['reason']}")


if __name__ == "__main__":
    main()
