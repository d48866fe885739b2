"""The trained network's record, dvc.lock and the repository in; what the numbers belong to out."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgemotion.files import sha256_json
from edgemotion.report.lock import parse_yaml

SOURCES = ("src", "configs", "params.yaml", "dvc.yaml", "pyproject.toml")


def provenance(champion: str | None, reference: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a run: champion, digests of data, trained weights and what dvc.lock says, the commit, and whether the
    files that make a run differ from it.

    `reference` is the model_info of fp32, the variant of the trained network itself.
    """
    tags = {
        "champion": champion or "none",
        "data_sha256": sha256_json(reference["data_sha256"]),
        "network_sha256": reference["weights_sha256"],
    }
    if Path("dvc.lock").is_file():
        stages = parse_yaml(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
        # DVC writes down the report, which is at work here, when it has ended.
        tags["dvc_lock_sha256"] = sha256_json({name: stage for name, stage in stages.items() if name != "report"})
    if commit := git("rev-parse", "HEAD"):
        tags["git_commit"] = commit
        # Reports and dvc.lock differ after every run; what must be as committed is what the run was made from.
        tags["git_dirty"] = str(bool(git("status", "--porcelain", "--", *SOURCES))).lower()
    return tags


def git(*words: str) -> str:
    """Output of a git command; empty outside a repository or without git."""
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
