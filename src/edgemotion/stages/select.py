"""Evaluations, profile and variants in; reports/select.json and models/champion out."""

import dataclasses
import shutil
from pathlib import Path

from edgemotion.files import read_json, replacing, write_json
from edgemotion.measure.selection import select, verdict
from edgemotion.runtime.variant import load_variant
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    variants = {name: load_variant(Path("models/variants") / name) for name in settings.variants}
    evaluations = {name: read_json(f"reports/evaluate/{name}.json") for name in variants}
    profiles = read_json("reports/profile.json")["variants"]
    infos = {name: variant.info for name, variant in variants.items()}
    selection = select(evaluations, profiles, infos, **dataclasses.asdict(settings.select))
    write_json("reports/select.json", selection)
    # A budget that nothing keeps is a result, told in the report; the folder then holds the evidence and no model.
    with replacing("models/champion") as partial:
        partial.mkdir()
        if champion := selection["champion"]:
            for name in ("model.onnx", "model_info.json"):
                shutil.copyfile(variants[champion].folder / name, partial / name)
            evaluation = evaluations[champion]
            card = {
                "dataset": settings.data.name,
                "metrics": {key: evaluation[key] for key in ("n", "top1", "top1_ci", "leak_free", "macro_f1", "ece")},
                "certain": evaluation["certain"],
                "face_side": settings.data.face_side,
            }
            write_json(partial / "card.json", card)
        write_json(partial / "selection.json", selection)
    print(f"models/champion: {verdict(selection)}")


if __name__ == "__main__":
    main()
