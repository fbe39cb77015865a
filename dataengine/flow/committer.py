"""The one hand that writes to the store: takes finished work in source order and commits what is new.

Before a shard is committed its intent is written down, so that after any crash it is known which work each
episode of the store came from. Work that would make a committed episode differently is refused, not mixed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from dataengine.episode import Feature
from dataengine.errors import ConfigError, EpisodeError, StoreError
from dataengine.flow.events import EventLog
from dataengine.flow.fingerprint import feature_from
from dataengine.flow.folder import FlowFolder, append_lines, read_json, read_lines, write_json
from dataengine.flow.labels import label_file, read_label
from dataengine.flow.shards import open_shard
from dataengine.flow.spec import FlowSpec
from dataengine.flow.task import Outcome, Output, Task

# Labels of this many episodes go into one file of the store.
_LABELS_AT_ONCE = 500
# What a store consists of; nothing else in its folder is ever removed.
_STORE_FOLDERS = ("meta", "data", "videos", "labels", ".dataengine")


@dataclass
class Verdict:
    """What became of one outcome. left: outputs that are not taken, each with the reason. problem: why none can be."""

    task: Task
    outcome: Outcome
    taken: list[Output] = field(default_factory=list)
    left: list[tuple[Output, str]] = field(default_factory=list)
    fresh: list[tuple[Task, Output]] = field(default_factory=list)
    problem: EpisodeError | None = None

    def refuse(self, problem: EpisodeError) -> None:
        self.problem = problem
        self.taken, self.left, self.fresh = [], [], []


class Committer:
    """Commits outcomes; a context manager that holds the store's lock from the first commit to the end."""

    def __init__(
        self, folder: FlowFolder, spec: FlowSpec, events: EventLog, *, embodiment: str | None, licence: str | None
    ) -> None:
        self.folder, self.spec, self.events = folder, spec, events
        self._embodiment, self._licence = embodiment, licence
        self._stack = ExitStack()
        self._store: Any = None
        self._writer: Any = None
        self._present: set[str] = set()
        self._marks: set[str] = set()
        self._known: dict[str, dict[str, Any]] = {}
        self._made_of: dict[str, set[str]] = {}
        self._labelled: dict[str, dict[str, str]] = {}
        self._pending: dict[str, dict[str, str]] = {}
        self._waiting: dict[str, None] = {}
        self._came: set[str] = set()
        self._coming: set[str] = set()

    def __enter__(self) -> Committer:
        if (self.folder.out / "meta" / "info.json").exists():
            self._open()
            self._marks = self._store.commit.gone if self._store.commit else set()
        for line in read_lines(self.folder.root / "committed.jsonl"):
            if "labels" in line:
                for episode in self._present & set(line["labels"]):
                    self._labelled.setdefault(episode, {}).update(line["labels"][episode])
            elif line["id"] in self._present:
                self._note(line)
            elif not self._gone(line["id"]):  # never committed, or the store was taken away: it must be sealed again
                self.folder.mark(line["id"]).unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, StoreError):
            with contextlib.suppress(StoreError, EpisodeError) if kind else contextlib.nullcontext():
                self.flush_labels()
        self._stack.close()

    def _gone(self, identity: str) -> bool:
        from dataengine.store.commit import mark_of

        return bool(self._marks) and identity not in self._present and mark_of(identity) in self._marks

    def recall_is_whole(self, outcome: Outcome) -> bool:
        """Whether labels that an earlier run promised are written, or still waiting to be."""
        return all(
            self._gone(output.id)
            or self._labelled.get(output.id, {}).get(name) == content
            or label_file(self.folder, content).exists()
            for output in outcome.outputs
            for name, content in output.labels.items()
        )

    def commit(self, batch: Sequence[tuple[Task, Outcome]]) -> list[Verdict]:
        """Commit outcomes in order, all at once; what became of each.

        An outcome that the store cannot take has a `problem` and leaves nothing behind. Raises `ConfigError` where
        the store holds an episode as another flow made it.
        """
        verdicts = [self._judge(task, outcome) for task, outcome in batch]
        fresh = [new for verdict in verdicts for new in verdict.fresh]
        try:
            self._commit(fresh)
        except EpisodeError:
            for verdict in verdicts:  # one of them does not fit: find out which
                try:
                    self._commit(verdict.fresh)
                except EpisodeError as error:
                    verdict.refuse(error)
        for verdict in verdicts:
            self._came |= {output.id for output in verdict.taken}
            for output in verdict.taken:
                self._take_labels(output)
        self._coming.clear()
        return verdicts

    def _judge(self, task: Task, outcome: Outcome) -> Verdict:
        """What is to be done with an outcome, before anything is."""
        verdict = Verdict(task, outcome)
        self.check_absent(task, outcome.outputs)
        try:
            for output in outcome.outputs:
                if output.id in self._came or output.id in self._coming:
                    verdict.left.append((output, "the same episode came twice"))
                    continue
                if self._gone(output.id):
                    verdict.left.append((output, "an edit took it out of the store"))
                    continue
                if output.id in self._present:
                    self._check_same(task, output)
                else:
                    self._check_fits(output)
                    verdict.fresh.append((task, output))
                verdict.taken.append(output)
        except EpisodeError as error:
            verdict.refuse(error)
        self._coming |= {output.id for _, output in verdict.fresh}
        return verdict

    def _commit(self, fresh: Sequence[tuple[Task, Output]]) -> None:
        if not fresh:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(self._store.writer())
        lines = [
            {"id": output.id, "base": output.base, "origin": task.origin, "episode": task.episode}
            for task, output in fresh
        ]
        append_lines(self.folder.root / "committed.jsonl", lines, durable=True)
        self._writer.commit_all([open_shard(self.folder.staging(output.base)) for _, output in fresh])
        for line in lines:
            self._note(line)
            shutil.rmtree(self.folder.staging(line["base"]), ignore_errors=True)

    def _note(self, line: dict[str, Any]) -> None:
        """Remember, and tell workers, where an episode of the store came from."""
        self._present.add(line["id"])
        self._known[line["id"]] = line
        self._made_of.setdefault(line["origin"], set()).add(line["id"])
        write_mark(self.folder, line)

    def check_absent(self, task: Task, but: Sequence[Output] = ()) -> None:
        """Raise `ConfigError` if the store holds episodes of this recording `but` these: an earlier flow's."""
        if self._made_of.get(task.origin, set()) - {output.id for output in but}:
            raise ConfigError(self._made_otherwise(task))

    def flush_labels(self) -> None:
        """Write what waits, one file a label, and note that it is there."""
        if not self._waiting:
            return
        self._store.reload()
        for name, wanted in self._pending.items():
            labels = {}
            for episode, content in wanted.items():
                labels[episode] = read_label(label_file(self.folder, content))
            self._store.write_labels(name, labels)
        noted: dict[str, dict[str, str]] = {}
        for name, wanted in self._pending.items():
            for episode, content in wanted.items():
                noted.setdefault(episode, {})[name] = content
                self._labelled.setdefault(episode, {})[name] = content
        append_lines(self.folder.root / "committed.jsonl", [{"labels": noted}], durable=True)
        for wanted in self._pending.values():
            for content in wanted.values():
                label_file(self.folder, content).unlink(missing_ok=True)
        self._pending.clear()
        self._waiting.clear()

    def _described(self, output: Output) -> dict[str, Any]:
        found = read_json(self.folder.features(output.features))
        if found is None:
            raise StoreError(f"{self.folder.features(output.features)} is gone; run the flow again")
        return found

    def _take_labels(self, output: Output) -> None:
        for name, content in output.labels.items():
            if self._labelled.get(output.id, {}).get(name) != content:
                self._pending.setdefault(name, {})[output.id] = content
                self._waiting[output.id] = None
        if len(self._waiting) >= _LABELS_AT_ONCE:
            self.flush_labels()

    def _check_same(self, task: Task, output: Output) -> None:
        known = self._known.get(output.id)
        if known is None:
            raise ConfigError(
                f"{self.folder.out} holds episode {output.id} ({task.episode}), but no flow wrote it there; "
                "choose another `out`"
            )
        if known["base"] != output.base:
            raise ConfigError(self._made_otherwise(task))

    def _made_otherwise(self, task: Task) -> str:
        return (
            f"{self.folder.out} holds {task.episode} as an earlier flow made it, and this flow makes it differently; "
            "choose another `out`, or build the store anew with --overwrite (results of unchanged stages are kept)"
        )

    def _check_fits(self, output: Output) -> None:
        from dataengine.store.schema import differences

        features = {key: feature_from(data) for key, data in self._described(output).items()}
        if self._store is None:
            self._create(output.fps, features)
        if output.fps != self._store.fps:
            raise EpisodeError(output.id, f"it has {output.fps:g} frames a second, the store {self._store.fps:g}")
        if found := differences(self._store.features, features):
            raise EpisodeError(output.id, "its features differ from the first episode's: " + "; ".join(found))

    def _create(self, fps: float, features: Mapping[str, Feature]) -> None:
        from dataengine.store import Store
        from dataengine.video import Codec

        self._store = Store.create(
            self.folder.out,
            fps=fps,
            features=features,
            embodiment=self._embodiment,
            licence=self._licence,
            codec=Codec(**self.spec.codec),
        )
        self.events.write("store_created", fps=fps, features=list(features))

    def _open(self) -> None:
        from dataengine.store import Store

        self._store = Store.open(self.folder.out)
        self._present = set(self._store.ids)


def write_mark(folder: FlowFolder, line: Mapping[str, Any]) -> None:
    """Tell workers that this episode needs no sealing any more."""
    if not folder.is_committed(line["id"], line["base"]):
        write_json(folder.mark(line["id"]), dict(line))


def clear_store(folder: FlowFolder) -> None:
    """Remove what a flow committed, so that it can be built anew; kept results of stages stay.

    Raises `ConfigError` where anything in the store did not come from a flow: that would be lost for good.
    """
    from dataengine.store import Store

    if (folder.out / "meta" / "info.json").exists():
        known = {line.get("id") for line in read_lines(folder.root / "committed.jsonl")}
        foreign = [episode for episode in Store.open(folder.out).ids if episode not in known]
        if foreign:
            raise ConfigError(
                f"{folder.out} holds {len(foreign)} episodes that no flow wrote (such as {foreign[0]}); "
                "it is not overwritten, choose another `out`"
            )
    for name in _STORE_FOLDERS:
        shutil.rmtree(folder.out / name, ignore_errors=True)
    shutil.rmtree(folder.root / "committed", ignore_errors=True)
    (folder.root / "committed.jsonl").unlink(missing_ok=True)
