"""The one committed flow, `examples/curate.yaml`, on every real data set: from file to Hub to stock LeRobot to policy.

Each source is converted, checked, labelled, tokenized, published to a local Hub, loaded back by stock LeRobot
(200 random indices with windows compared with our reader) and trained on for 20 steps by stock ACT, where it has
pictures or environment state. What cannot be converted must say why in one line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.results import DATA, RESULTS, record
from dataengine.hub.server import serving

RESULT = RESULTS / "sources.json"
FLOW = Path(__file__).parents[1] / "examples" / "curate.yaml"
SOURCES = (
    "robomimic_hdf5/demo_robosuite.hdf5",
    "robomimic_hdf5/demo.hdf5",
    "robomimic_hdf5/low_dim.hdf5",
    "robomimic_hdf5/image.hdf5",
    "robomimic_hdf5/image_depth_n1.hdf5",
    "aloha_act_hdf5/raw_sim_transfer_cube_scripted",
    "aloha_act_hdf5/sim_transfer_cube_scripted_compressed",
    "aloha_act_hdf5/mobile_aloha",
    "umi_zarr/dataset.zarr.zip",
    "umi_zarr/pusht_replay.zarr",
    "lerobot_v20",
    "lerobot_v21",
    "lerobot_v21_g1",
    "lerobot_v30_depth_language",
    "groot_lerobot/robot_sim.PickNPlace",
)
REFUSED = ("lerobot_v30_partial_download", "minari_hdf5", "rlds_tfds", "rosbag")


def dataengine(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dataengine", *arguments], capture_output=True, text=True)


def carry_through(source: Path, out: Path, hub: str) -> dict[str, Any]:
    """One source through the flow; what came of each part."""
    begin = time.monotonic()
    name = source.name.replace(".", "_").lower()
    sets = {"source": source, "out": out, "repo": f"local/{name}", "hub": hub}
    done = dataengine("run", str(FLOW), "--json", *[a for k, v in sets.items() for a in ("--set", f"{k}={v}")])
    try:
        result = json.loads(done.stdout)
    except ValueError:
        return {"state": "refused", "said": done.stderr.strip().splitlines()[-1:]}
    jobs = {job["label"]: job for job in result["jobs"]}
    reload, train = jobs.get("reload", {}).get("report", {}), jobs.get("train_lerobot", {}).get("report", {})
    return {
        "state": result["state"],
        "episodes": result["kept"],
        "dropped": result["dropped"],
        "quarantined": result["quarantined"],
        "frames": result["frames"],
        "compared_with_stock": reload.get("indices"),
        "worst_pixel_difference": reload.get("worst_pixel_difference"),
        "act": _trained(train),
        "errors": [f"{job['label']}: {job['error']}" for job in result["jobs"] if job["error"]] or result["error"],
        "seconds": round(time.monotonic() - begin, 1),
    }


def _trained(report: dict[str, Any]) -> dict[str, Any]:
    """How stock ACT's steps went, without paths of this machine."""
    if losses := report.get("losses"):
        return {"trained": True, "steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1]}
    return {"trained": False, "reason": report.get("reason")}


def main() -> None:
    """All sources, or those named; what a run of some finds takes its place among what is known of the others."""
    wanted = sys.argv[1:] or [*SOURCES, *REFUSED]
    known = json.loads(RESULT.read_text())["figures"] if sys.argv[1:] and RESULT.exists() else {}
    found: dict[str, Any] = dict(known.get("through", {}))
    refused: dict[str, str] = dict(known.get("refused", {}))
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "hub") as hub:
        for source in wanted:
            out = Path(name) / source.replace("/", "-")
            if source in REFUSED:
                refused[source] = dataengine("convert", str(DATA / source), str(out)).stderr.strip()
                refused[source] = refused[source].replace(f"{DATA}/", "")
                continue
            found[source] = carry_through(DATA / source, out, hub)
            print(source, json.dumps(found[source])[:600], flush=True)
    good = set(found) == set(SOURCES) and all(f["state"] == "finished" and not f["errors"] for f in found.values())
    clear = set(refused) == set(REFUSED) and all(
        text.startswith("error: ") and len(text.splitlines()) == 1 for text in refused.values()
    )
    record("sources", {"through": found, "refused": refused}, met=good and clear)


if __name__ == "__main__":
    main()
