"""Random operations, kills and reopenings of a store against a model that is a list in memory (hypothesis stateful).

A kill is a step after which nothing changes on the disk any more: every later rename, link, removal or swap fails as
well, so that no `finally` tidies up what a real kill would leave. `DATAENGINE_SEQUENCES` sets how many sequences run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from killing import DISK

from dataengine.episode import Episode, Feature, Label, Meta, derived_id
from dataengine.errors import StoreError
from dataengine.store import Edit, Store, files, history, merging

FEATURES = {"action": Feature("float32", (2,), role="action"), "next.reward": Feature("float32", (1,), role="reward")}
SEQUENCES = int(os.environ.get("DATAENGINE_SEQUENCES", "10"))
TASKS = ("pick it up", "put it down", "wait")
NEVER = 10**6
WHEN = st.one_of(st.just(NEVER), st.integers(0, 60))


class Killed(BaseException):
    pass


@contextmanager
def killed_after(steps: int) -> Iterator[Callable[[], bool]]:
    """Let the disk change `steps` times and then no more; the block may end by `Killed`, which is swallowed."""
    left, dead = steps, False

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal left, dead
            dead = dead or left == 0
            if dead:
                raise Killed
            left -= 1
            return function(*args, **kwargs)

        return step

    places = (*DISK, (files, "exchange"))
    patches = [mock.patch.object(owner, name, guarded(getattr(owner, name))) for owner, name in places]
    for patch in patches:
        patch.start()
    try:
        yield lambda: dead
    except Killed:
        pass
    finally:
        for patch in patches:
            patch.stop()


@dataclass(frozen=True)
class Known:
    """What the model knows of an episode."""

    id: str
    action: np.ndarray
    tasks: tuple[str, ...]
    success: bool | None = None


@dataclass
class Model:
    """states: what undo goes back to, newest last; None where it is refused."""

    episodes: list[Known] = field(default_factory=list)
    states: list[list[Known] | None] = field(default_factory=lambda: [None])
    labels: dict[str, int] = field(default_factory=dict)
    features: tuple[str, ...] = tuple(FEATURES)


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.store = Store.create(self.folder / "s", fps=10, features=FEATURES)
        self.model, self.made = Model(), 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- operations ---------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3), length=st.integers(2, 6), when=WHEN, one_by_one=st.booleans())
    def append(self, count: int, length: int, when: int, one_by_one: bool) -> None:
        new = [self._episode(length + n) for n in range(count)]
        acknowledged = 0
        shards = [self.store.seal(self._made(one), self.folder / "shards" / one.id) for one in new]
        with killed_after(when), self.store.writer() as writer:
            for batch in [[shard] for shard in shards] if one_by_one else [shards]:
                writer.commit_all(batch)
                acknowledged += len(batch)
        self._reopen()
        kept = len(self.store) - len(self.model.episodes)
        assert acknowledged <= kept <= count, "an acknowledged episode is lost, or one came from nowhere"
        assert one_by_one or kept in (0, count)
        self.model.episodes += new[:kept]
        self.model.states += [None] if kept else []

    @rule(count=st.integers(1, 3), when=WHEN, known=st.booleans())
    def merge(self, count: int, when: int, known: bool) -> None:
        """Of a store that has new episodes, one with a label, and perhaps one that is here already."""
        new = [self._episode(2 + n) for n in range(count)]
        here = self.model.episodes[:1] if known else []
        other = Store.create(self.folder / f"other{self.made}", fps=10, features=FEATURES)
        with other.writer() as writer:
            for one in (*here, *new):
                writer.append(self._made(one))
        other.write_labels("score", {new[0].id: Label("episode", pa.table({"n": [self.made]}))})
        before = list(self.model.episodes)
        if self._landed(lambda: merging.merge(self.store, other), when):
            self.model.episodes = before + new
            self.model.states.append(before)
            self.model.labels[new[0].id] = self.made

    @precondition(lambda self: len(self.model.episodes) > 1)
    @rule(data=st.data(), when=WHEN)
    def delete(self, data: st.DataObject, when: int) -> None:
        count = len(self.model.episodes)
        gone = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
        left = [one for index, one in enumerate(self.model.episodes) if index not in gone]
        self._edit(Edit(self.store).delete(sorted(gone)), left, when)

    @precondition(lambda self: self.model.episodes)
    @rule(data=st.data(), when=WHEN)
    def cut(self, data: st.DataObject, when: int) -> None:
        index = data.draw(st.integers(0, len(self.model.episodes) - 1))
        one = self.model.episodes[index]
        if len(one.action) < 2:
            return
        at = data.draw(st.integers(1, len(one.action) - 1))
        parts = [(0, at), (at, len(one.action))][: data.draw(st.integers(1, 2))]
        new = [replace(one, id=derived_id(one.id, f"slice:{a}:{b}"), action=one.action[a:b]) for a, b in parts]
        if {part.id for part in new} & {known.id for known in self.model.episodes}:
            return
        edit = Edit(self.store).trim(index, *parts[0]) if len(parts) == 1 else Edit(self.store).split(index, [at])
        self._edit(edit, [*self.model.episodes[:index], *new, *self.model.episodes[index + 1 :]], when)
        for part in new:
            if one.id in self.model.labels and part in self.model.episodes:
                self.model.labels[part.id] = self.model.labels[one.id]

    @precondition(lambda self: self.model.episodes)
    @rule(data=st.data(), when=WHEN, success=st.sampled_from([True, False, None]), task=st.sampled_from(TASKS))
    def say(self, data: st.DataObject, when: int, success: bool | None, task: str) -> None:
        index = data.draw(st.integers(0, len(self.model.episodes) - 1))
        edit = Edit(self.store).set([index], success=success).task(task, episodes=[index]).reorder([index])
        changed = replace(self.model.episodes[index], success=success, tasks=(task,))
        self._edit(edit, [changed, *(one for n, one in enumerate(self.model.episodes) if n != index)], when)

    @rule(when=WHEN)
    def undo(self, when: int) -> None:
        before = self.model.states[-1]
        if before is None:
            try:
                history.undo(self.store)
            except StoreError:
                return
            raise AssertionError("an undo was not refused")
        if self._landed(lambda: history.undo(self.store), when):
            self.model.episodes, _ = list(before), self.model.states.pop()

    @rule(when=WHEN)
    def compact(self, when: int) -> None:
        with killed_after(when):
            self.store.compact()
        self._reopen()
        entries = history.log(self.store)
        present = self.store.commit.generation if self.store.commit else 0
        if not entries or entries[-1].generation != present or not entries[-1].kept:
            self.model.states = [None]

    @precondition(lambda self: len(self.model.episodes) > 1)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.model.episodes) - 1))
        edit = Edit(self.store).purge([index])
        if edit.outcome()[0] == 0:
            return
        parents = {
            identity: self.store.table_of_episodes.value("parent", n) for n, identity in enumerate(self.store.ids)
        }
        gone = {self.model.episodes[index].id}
        while more := {child for child, parent in parents.items() if parent in gone} - gone:
            gone |= more
        edit.commit()
        self.model.episodes = [one for one in self.model.episodes if one.id not in gone]
        self.model.states = [None]
        self.model.labels = {identity: n for identity, n in self.model.labels.items() if identity not in gone}

    @precondition(lambda self: self.model.episodes)
    @rule(data=st.data(), value=st.integers(0, 9), when=WHEN)
    def label(self, data: st.DataObject, value: int, when: int) -> None:
        one = data.draw(st.sampled_from(self.model.episodes))
        with killed_after(when) as dead:
            self.store.write_labels("score", {one.id: Label("episode", pa.table({"n": [value]}))})
        self._reopen()
        if not dead() or self._score(one.id) == value:
            self.model.labels[one.id] = value

    @rule()
    def reopen(self) -> None:
        self._reopen()

    # -- what must always hold ------------------------------------------------------------------------------------

    @invariant()
    def the_store_is_the_model(self) -> None:
        assert self._is(self.model.episodes), (self.store.ids, [one.id for one in self.model.episodes])
        assert {i: self._score(i) for i in self.store.ids} == {i: self.model.labels.get(i) for i in self.store.ids}
        report = self.store.verify()
        assert report.ok, str(report)
        if self.model.episodes:
            values = np.concatenate([one.action for one in self.model.episodes]).astype(np.float64)
            for name, want in {"mean": values.mean(0), "max": values.max(0), "std": values.std(0)}.items():
                np.testing.assert_allclose(self.store.stats()["action"][name], want, atol=1e-6)

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _episode(self, length: int) -> Known:
        self.made += 1
        action = np.random.default_rng(self.made).normal(size=(length, 2)).astype(np.float32)
        return Known(f"episode{self.made:04d}", action, (TASKS[self.made % 2],))

    def _made(self, one: Known) -> Episode:
        frames = {"action": one.action, "next.reward": one.action[:, 0]}
        return Episode(one.id, 10.0, FEATURES, frames, meta=Meta(tasks=one.tasks, success=one.success))

    def _edit(self, edit: Edit, after: list[Known], when: int) -> None:
        before = list(self.model.episodes)
        if self._landed(edit.commit, when):
            self.model.episodes = after
            self.model.states.append(before)

    def _landed(self, work: Callable[[], object], when: int) -> bool:
        """Do it, killed or not; whether the log says that it was done."""
        entries = len(history.log(self.store))
        with killed_after(when) as dead:
            work()
        self._reopen()
        landed = len(history.log(self.store)) > entries
        assert landed or dead()
        return landed

    def _reopen(self) -> None:
        """As the next user would: look at it as it is, then let a writer put it in order; both see the same."""
        found = Store.open(self.folder / "s")
        with Store.open(self.folder / "s").writer():
            pass
        self.store = Store.open(self.folder / "s")
        assert found.ids == self.store.ids and not list(self.folder.glob(".s.*"))

    def _is(self, wanted: list[Known]) -> bool:
        if self.store.ids != tuple(one.id for one in wanted):
            return False
        for index, one in enumerate(wanted):
            have = self.store[index]
            if (have.meta.tasks, have.meta.success) != (one.tasks, one.success):
                return False
            assert np.array_equal(have.frames["action"], one.action)
        return True

    def _score(self, identity: str) -> int | None:
        label = self.store.get(identity).labels.get("score")
        return None if label is None else int(label.table.column("n")[0].as_py())


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=SEQUENCES, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
