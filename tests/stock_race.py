"""Stock LeRobot opens a dataset of a Hub while its tag `v3.0` moves between its two look-ups: run as a program.

    python stock_race.py REPO REVISION COMMIT

loads REPO at REVISION ("-" for LeRobot's own choice); after the metadata have come, `v3.0` is moved to COMMIT. Prints
a JSON line: the frames that the metadata counts, the rows that there are, and the sum of their states – or an error.
"""

from __future__ import annotations

import json
import sys


def main(repo: str, revision: str, commit: str) -> None:
    from huggingface_hub import HfApi
    from lerobot.datasets import lerobot_dataset

    class Interrupted(lerobot_dataset.LeRobotDatasetMetadata):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            api = HfApi()
            api.delete_tag(repo, tag="v3.0", repo_type="dataset")
            api.create_tag(repo, tag="v3.0", revision=commit, repo_type="dataset")

    lerobot_dataset.LeRobotDatasetMetadata = Interrupted
    try:
        found = lerobot_dataset.LeRobotDataset(repo, revision=None if revision == "-" else revision)
        states = [row["observation.state"].sum().item() for row in found.hf_dataset]
        print(json.dumps({"meta": found.meta.total_frames, "rows": len(states), "sum": sum(states)}))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
