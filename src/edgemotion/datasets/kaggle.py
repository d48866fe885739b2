"""A dataset from Kaggle, packed again as one archive."""

from pathlib import Path

from edgemotion.datasets.archive import SourceMissing, pack
from edgemotion.registry import register


@register("source")
def kaggle(target: Path, *, handle: str) -> None:
    """Download the Kaggle dataset `owner/name`; most public ones need no account."""
    import kagglehub

    try:
        folder = kagglehub.dataset_download(handle)
    except Exception as error:
        # kagglehub raises requests', its own and ValueError alike; all mean that Kaggle did not deliver.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceMissing(f"Kaggle's {handle} did not download ({reason})") from None
    pack(Path(folder), target)
