"""The bundled policy, from nothing: demonstrations, training, 100 unseen scenes under both instructions, controls.

Per seed its own demonstrations, weights and evaluation scenes, in a process of one thread; a killed run goes on where
it was. Target for every seed: success at least 90 %, wrong object at most 2 %, trained in at most 15 minutes of one
core, held-out error below both baselines. `python -m bench.policy --help` lists the sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.results import record
from dataengine.guard import tree_sha256
from pipelines.policy.config import PolicyConfig

SUCCESS, WRONG, MINUTES = 0.90, 0.02, 15


def measure(seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One seed, all in this process. Gives its figures; what is already on disk is not done again."""
    from collectors.expert import ExpertCollector
    from dataengine.sim.controls import Blind, MeanAction, RepeatLast
    from dataengine.sim.evaluate import evaluate
    from dataengine.store import Store
    from pipelines.policy.infer import load_policy
    from pipelines.policy.train import train

    tasks = tuple(args.tasks)
    settings = f"{args.head}-{args.dtype}-{args.episodes}x{args.steps}x{args.attempts}-{'-'.join(tasks)}"
    folder = args.work / f"{settings}-{code()[:8]}" / f"seed-{seed}"
    done = folder / "figures.json"
    if done.exists():
        return json.loads(done.read_text())
    began = time.process_time()
    root = folder / "store"
    collector = ExpertCollector(episodes=args.episodes, seed=seed, image_size=64, tasks=tasks)
    features = next(iter(collector.collect())).features
    store = Store.open(root) if root.exists() else Store.create(root, fps=10, features=features)
    if len(store) < args.episodes:
        with store.writer() as writer:
            for episode in collector.collect():
                writer.append(episode)
        store = Store.open(root)
    collected = time.process_time() - began

    config = PolicyConfig(head=args.head, steps=args.steps, dtype=args.dtype, seed=seed)
    report = train(root, folder / "run", config, resume=True)
    assert report.held_out is not None
    policy = load_policy(folder / "run")
    scenes = {"tasks": tasks, "episodes": args.attempts, "seed": seed, "image_size": 64}
    rated = {
        name: evaluate(each, **scenes, films=0).to_json()
        for name, each in {
            "policy": policy,
            "no_instruction": Blind(policy),
            "mean_action": MeanAction.of(store.episodes()),
            "repeat_last": RepeatLast(),
        }.items()
    }
    for rate in rated.values():
        del rate["attempts"]
    figures = {
        "seed": seed,
        **{key: rated["policy"][key] for key in ("success", "interval_95", "wrong_object", "by_instruction")},
        "controls": {name: rate for name, rate in rated.items() if name != "policy"},
        "collect_cpu_seconds": round(collected, 1),
        "train_seconds": report.seconds,
        "train_cpu_seconds": report.cpu_seconds,
        "parameters": report.parameters,
        "dtype": report.dtype,
        "loss": report.loss,
        "held_out": report.held_out.to_json(),
    }
    partial = done.with_suffix(".tmp")
    partial.write_text(json.dumps(figures, indent=2) + "\n")
    partial.replace(done)
    return figures


def code() -> str:
    """Hash of what decides the figures: a killed measurement goes on, one of other code begins anew."""
    patterns = ("pipelines/policy/**/*.py", "dataengine/sim/**/*.py", "collectors/*.py", "bench/policy.py")
    return tree_sha256(Path(__file__).parents[1], patterns)


def reached(figures: dict[str, Any]) -> bool:
    score = figures["held_out"]["score"]
    return (
        figures["success"] >= SUCCESS
        and figures["wrong_object"] <= WRONG
        and figures["train_cpu_seconds"] <= MINUTES * 60
        and score["policy"] < min(score["mean_action"], score["repeat_last"])
    )


def run_seeds(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every seed in its own process, `args.parallel` at a time: two of one thread each lose nothing."""
    command = [sys.executable, "-m", "bench.policy", *sys.argv[1:]]
    waiting, running = list(args.seeds), dict[int, subprocess.Popen[bytes]]()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    while waiting or running:
        while waiting and len(running) < args.parallel:
            seed = waiting.pop(0)
            running[seed] = subprocess.Popen([*command, "--one", str(seed)], env=environment)
        time.sleep(0.5)
        for seed, process in list(running.items()):
            if process.poll() is not None:
                del running[seed]
                if process.returncode:
                    for other in running.values():
                        other.terminate()
                    sys.exit(f"seed {seed} failed; the same command goes on from where it was")
    return [measure(seed, args) for seed in args.seeds]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=400, help="demonstrations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=PolicyConfig().steps, help="training steps")
    parser.add_argument("--attempts", type=int, default=200, help="attempts: scenes times instructions")
    parser.add_argument("--tasks", nargs="+", default=["pick_red", "pick_blue"])
    parser.add_argument("--head", choices=["l1", "flow", "fast", "bins"], default="l1")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--parallel", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--work", type=Path, default=Path("out/bench/policy"), help="stores, runs and what is done")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    if args.one is not None:
        measure(args.one, args)
        return
    seeds = run_seeds(args)
    figures = {
        "target": f"every seed: success >= {SUCCESS}, wrong object <= {WRONG}, training <= {MINUTES} min on one core",
        "demonstrations": args.episodes,
        "steps": args.steps,
        "head": args.head,
        "attempts": f"{args.attempts // len(args.tasks)} unseen scenes x {len(args.tasks)} instructions",
        "seeds": seeds,
    }
    name = "policy" if args.head == "l1" else f"policy_{args.head}"
    record(name, figures, met=all(map(reached, seeds)), module="policy")


if __name__ == "__main__":
    main()
