"""Run every acceptance measurement, one after the other, and show what was reached.

`python -m bench.accept [name …]`; without names all of them. A measurement that fails does not stop the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from bench.results import RESULTS

# Longest last, so that a failure in the quick ones is seen early.
MEASUREMENTS = (
    "convert_v21",
    "memory",
    "workers",
    "opening",
    "appending",
    "writing",
    "reading",
    "streaming",
    "editing",
    "codecs",
    "flips",
    "publish_killed",
    "fleet",
    "killed",
    "recording",
    "recording_killed",
    "faulty_sessions",
    "teleop_latency",
    "teleop_page",
    "teleop_rate",
    "hands_stereo",
    "hand_truth",
    "dex_retargeting",
    "hand_replay",
    "hands_real",
    "hands_long",
    "mutations",
    "sources",
    "quality_matrix",
    "expert",
    "keyboard",
    "policy",
    "policy_tasks",
)


def main() -> None:
    names = sys.argv[1:] or list(MEASUREMENTS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0")}
    failed = []
    if not sys.argv[1:]:
        tests = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-m", "slow or not slow"]
        thorough = {"DATAENGINE_SEQUENCES": "2000", "DATAENGINE_FAULTS": "1", "DATAENGINE_FLEET_KILLS": "20"}
        failed += ["tests"] if subprocess.run(tests, env=environment | thorough).returncode else []
    for name in names:
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], env=environment)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
        failed += [name] if done.returncode else []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        print(f"{ {True: 'reached', False: 'NOT reached', None: 'measured'}[result['met']]:12} {result['name']}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
