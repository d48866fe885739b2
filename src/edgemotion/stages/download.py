"""Sources of the settings in; data/raw/<name>.zip, verified, out."""

from pathlib import Path

from edgemotion import registry
from edgemotion.datasets.archive import SourceMissing, content_digest
from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing
from edgemotion.settings import Data, Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    data = settings.data
    target = Path("data/raw") / f"{data.name}.zip"
    # A run kept by an earlier repro is verified, not fetched again.
    if target.is_file() and data.digest and is_intact(target, data.digest):
        print(f"{target} is already there and verified")
        return
    with replacing(target) as partial:
        source = fetch(data, partial)
        found = content_digest(partial, title=f"{data.name} from {source}")
        if data.digest and found != data.digest:
            raise EdgemotionError(
                f"{data.name} from {source} has the content digest {found[:12]}…, data.digest says "
                f"{data.digest[:12]}…; get the original archive, or set data.digest=null to accept other content"
            )
    print(f"{target}: from {source}, content digest {found}")


def is_intact(path: Path, digest: str) -> bool:
    """Whether a kept archive is readable and has the wanted content."""
    try:
        return content_digest(path) == digest
    except EdgemotionError:
        return False


def fetch(data: Data, target: Path) -> str:
    """Take the first source that has the data; return its name."""
    missing = []
    for name, args in data.sources.items():
        try:
            registry.call("source", name, target, args=args)
            return name
        except SourceMissing as error:
            missing.append(str(error))
    raise EdgemotionError(f"no source has the dataset {data.name}: {'; '.join(missing)}")


if __name__ == "__main__":
    main()
