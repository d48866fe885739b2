"""The trained network's record, dvc.lock and the repository in; what the numbers belong to out."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgemotion.files import sha256_file, sha256_json


def provenance(champion: str | None, reference: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a run: champion, digests of data, trained weights and dvc.lock, and the commit of the working directory.

    `reference` is the model_info of fp32, the variant of the trained network itself.
    """
    tags = {
        "champion": champion or "none",
        "data_sha256": sha256_json(reference["data_sha256"]),
        "network_sha256": reference["weights_sha256"],
    }
    if Path("dvc.lock").is_file():
        tags["dvc_lock_sha256"] = sha256_file("dvc.lock")
    if commit := git("rev-parse", "HEAD"):
        tags["git_commit"] = commit
        tags["git_dirty"] = str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower()
    return tags


def git(*words: str) -> str:
    """Output of a git command; empty outside a repository or without git."""
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
