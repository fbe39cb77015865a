"""A flow from its sources to its store, in this process: what is counted, kept, reused and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataengine.errors import ConfigError, MachineError, StoreLocked
from dataengine.flow import cancel, convert, plan_flow, status
from dataengine.flow.estimate import Estimate, check_disk
from dataengine.flow.folder import FlowFolder
from dataengine.store import Edit, Store
from dataengine.store.history import undo


def test_counts_drops_and_fan_out(toy, go) -> None:
    source = toy([{"name": "long", "length": 20}, {"name": "short", "length": 3}, {"name": "mid", "length": 8}])
    result = go(source, [{"toy_filter": {"at_least": 5}}, "toy_split", {"toy_scale": {"factor": 3}}, "toy_note"])
    assert (result.episodes, result.kept, result.dropped, result.quarantined, result.exit_code) == (3, 4, 1, 0, 0)
    store = Store.open(result.out)
    assert [e.length for e in store] == [10, 10, 4, 4]
    first = store[0]
    np.testing.assert_allclose(first.frames["action"], first.frames["observation.state"] * 1.5, rtol=1e-6)
    assert [s.name for s in first.meta.lineage] == ["convert", "slice", "toy_split", "toy_scale"]
    assert first.meta.parent is not None
    assert first.labels["note"].source["name"] == "toy_note" and first.labels["note"].source["version"] == "3"
    by_stage = {s["name"]: (s["into"], s["out"], s["dropped"]) for s in result.record["tally"]["stages"]}
    assert by_stage["toy_filter"] == (3, 2, 1) and by_stage["toy_split"] == (2, 4, 0)
    (drop,) = result.record["tally"]["drops"]
    assert drop["reason"] == "shorter than 5 frames" and drop["examples"][0]["evidence"] == {"frames": 3}
    assert store.verify().ok


def test_a_second_run_does_nothing_and_gives_the_same(toy, go, read_names) -> None:
    source = toy(3)
    first = go(source, ["toy_scale"])
    second = go(source, ["toy_scale"])
    assert read_names() == ["e0", "e1", "e2"]
    assert second.reused == 3 and second.digest == first.digest and second.kept == 3


def test_what_an_edit_took_out_stays_out(toy, go, read_names) -> None:
    source = toy(4)
    out = go(source, ["toy_scale"]).out
    first, second, third, _ = Store.open(out).ids
    Edit(Store.open(out)).delete([first]).commit()
    Edit(Store.open(out)).trim(second, 0, 5).commit()
    edited = Store.open(out).digest()
    again = go(source, ["toy_scale"])
    assert (again.kept, again.reused, again.digest) == (2, 4, edited)
    (left,) = again.record["tally"]["drops"]
    assert (left["reason"], left["count"]) == ("an edit took it out of the store", 2)
    Edit(Store.open(out)).purge([third]).commit()
    assert go(source, ["toy_scale"]).kept == 1 and third not in Store.open(out).ids
    assert read_names() == [f"e{n}" for n in range(4)]
    with pytest.raises(ConfigError, match="holds 1 episodes that no flow wrote"):  # the trimmed one
        go(source, ["toy_scale"], overwrite=True)


def test_what_an_undo_brought_back_is_there(toy, go) -> None:
    source = toy(3)
    whole = go(source)
    Edit(Store.open(whole.out)).delete([0]).commit()
    assert go(source).kept == 2
    assert go(source, out="other").kept == 3
    undo(Store.open(whole.out))
    again = go(source)
    assert again.kept == 3 and again.record["tally"]["drops"] == [] and Store.open(whole.out).verify().ok
    Edit(Store.open(whole.out)).delete([0]).commit()
    assert go(source, overwrite=True).kept == 3  # from the sources, as was asked for


def test_a_limit_can_grow(toy, go, read_names) -> None:
    source = toy(4)
    go(source, limit=2)
    grown = go(source)
    assert read_names() == ["e0", "e1", "e2", "e3"]
    assert grown.digest == go(source, out="fresh").digest


def test_adding_a_label_reruns_only_what_reads_it(toy, go, tmp_path: Path) -> None:
    source, log = toy(2), tmp_path / "stages.log"
    said = {"toy_label": {"label": "said", "log": str(log)}}
    heard = {"toy_label": {"label": "heard", "hears": "said", "log": str(log)}}
    scale = {"toy_scale": {"log": str(log)}}
    go(source, [said, scale, heard])
    assert len(log.read_text().splitlines()) == 6
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "data").rglob("*.parquet")}
    other = {"toy_label": {"label": "other", "log": str(log)}}
    again = go(source, [said, other, scale, heard])
    assert [line.split()[0] for line in log.read_text().splitlines()[6:]] == ["other", "other"]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "data").rglob("*.parquet")} == files
    # Saying something else changes what `heard` reads, so it runs again; the scale does not read it.
    louder = {"toy_label": {"label": "said", "word": "LOUD ", "log": str(log)}}
    go(source, [louder, other, scale, heard])
    assert [line.split()[0] for line in log.read_text().splitlines()[8:]] == ["said", "heard", "said", "heard"]
    store = Store.open(again.out)
    assert store[0].labels["heard"].table.column("text").to_pylist() == ["LOUD reach"]
    assert set(store.label_names()) == {"said", "heard", "other"}
    fresh = go(source, [louder, other, scale, heard], out="fresh")
    assert fresh.digest == Store.open(again.out).digest()


def test_a_changed_flow_is_refused_or_builds_anew_from_what_is_known(toy, go, tmp_path: Path) -> None:
    source, log = toy(2), tmp_path / "stages.log"
    centre = {"toy_scale": {"factor": 2, "log": str(log)}}
    go(source, [centre, {"toy_filter": {"at_least": 3}}])
    with pytest.raises(ConfigError, match=r"makes it differently.*--overwrite"):
        go(source, [{"toy_scale": {"factor": 5, "log": str(log)}}])
    for stages in ([centre, {"toy_filter": {"at_least": 21}}], [centre, "toy_split"]):
        with pytest.raises(ConfigError, match="makes it differently"):
            go(source, stages)  # one episode fewer, or two instead of it: not beside the old ones
    before = len(log.read_text().splitlines())
    anew = go(source, [centre, {"toy_scale": {"factor": 5}}], overwrite=True)
    assert len(log.read_text().splitlines()) == before, "the first stage was known"
    assert anew.digest == go(source, [centre, {"toy_scale": {"factor": 5}}], out="fresh").digest
    assert Store.open(anew.out).verify().ok


def test_a_store_that_was_taken_away_is_made_again(toy, go, tmp_path: Path) -> None:
    first = go(toy(2), ["toy_label", "toy_note"])
    shutil.rmtree(tmp_path / "out")
    again = go(toy(2), ["toy_label", "toy_note"])
    assert again.digest == first.digest and set(Store.open(again.out).label_names()) == {"said", "note"}


def test_overwriting_spares_episodes_that_no_flow_wrote(toy, go, tmp_path: Path) -> None:
    result = go(toy(2))
    store = Store.open(result.out)
    with store.writer() as writer:
        writer.append(store[0].slice(0, 5))
    with pytest.raises(ConfigError, match="no flow wrote"):
        go(toy(2), ["toy_scale"], overwrite=True)
    assert len(Store.open(result.out)) == 3


def test_a_stage_that_learns_from_all_episodes_first(toy, go, tmp_path: Path) -> None:
    source, log = toy(3), tmp_path / "stages.log"
    stages = [{"toy_filter": {"at_least": 21}}, {"toy_centre": {"log": str(log)}}, "toy_label"]
    result = go(source, stages)
    actions = np.concatenate([e.frames["action"] for e in Store.open(result.out)])
    np.testing.assert_allclose(actions.mean(0), 0, atol=1e-6)
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["observe"] * 2 + ["centre"] * 2
    assert go(source, stages).reused == 3
    assert len(log.read_text().splitlines()) == 4
    assert Store.open(result.out)[0].meta.lineage[-1].params["artifact"]


def test_bad_episodes_are_quarantined_alone_and_retried_alone(toy, go, tmp_path: Path, read_names) -> None:
    source = toy([{"name": f"e{n}", "length": 20, **({"problem": "no frames"} if n == 4 else {})} for n in range(5)])
    (tmp_path / "in" / "bad-e1").touch()
    (tmp_path / "in" / "flaky-e2").touch()
    result = go(source, ["toy_centre", "toy_scale"])
    assert (result.kept, result.quarantined, result.exit_code, result.state) == (2, 3, 3, "finished")
    said = {e["episode"]: (e["stage"], e["tries"], e["reason"]) for e in result.record["quarantined"]}
    assert said["toy.json:e1"][:2] == ("read", 1) and "joint 2 holds NaN" in said["toy.json:e1"][2]
    assert said["toy.json:e2"][:2] == ("read", 3) and "hiccuped" in said["toy.json:e2"][2]
    assert said["toy.json:e4"] == ("plan", 0, "no frames")
    assert (tmp_path / "out.flow" / "quarantine.jsonl").read_text().count("\n") == 3

    assert go(source, ["toy_centre", "toy_scale"]).quarantined == 3
    (tmp_path / "in" / "flaky-e2").unlink()
    seen = len(read_names())
    retried = go(source, ["toy_centre", "toy_scale"], retry_quarantined=True)
    assert set(read_names()[seen:]) == {"e1", "e2"}
    assert (retried.kept, retried.quarantined) == (1, 2)
    assert len(Store.open(result.out)) == 3
    assert Store.open(result.out).verify().ok
    # Going on as usual finds everything done; what the stage learned is not learned anew from one episode more.
    seen = len(read_names())
    after = go(source, ["toy_centre", "toy_scale"])
    assert (after.kept, after.reused, after.quarantined) == (3, 3, 2) and len(read_names()) == seen
    assert after.record["learned"]["toy_centre"] == {"episodes": 2, "run": result.run}


def test_an_episode_of_another_shape_is_quarantined(toy, go) -> None:
    result = go(toy([{"name": "a", "length": 20}, {"name": "b", "length": 20, "wide": True}]))
    assert (result.kept, result.quarantined) == (1, 1)
    assert (
        "features differ from the first episode's: action: shape (4,), the store has (3,)"
        in (result.record["quarantined"][0]["reason"])
    )


def test_a_stage_that_gives_two_episodes_one_name_is_caught(toy, go) -> None:
    result = go(toy(1), [{"toy_split": {"same_id": True}}])
    assert result.quarantined == 1 and "one id" in result.record["quarantined"][0]["reason"]


def test_the_same_episode_from_two_sources_is_kept_once(toy, go) -> None:
    sources = [str(toy([{"name": "a", "length": 20, "same": "s"}], name=f"{n}.json")) for n in "xy"]
    result = go(sources)
    assert (result.kept, result.dropped) == (1, 1)
    assert result.record["tally"]["drops"][0]["reason"] == "the same episode came twice"


def test_a_flow_that_leaves_nothing(toy, go) -> None:
    result = go(toy(2), [{"toy_filter": {"at_least": 99}}], then=["toy_job"])
    assert (result.kept, result.dropped, result.digest, result.exit_code) == (0, 2, None, 0)
    assert result.jobs[0].state == "skipped" and Path(result.report or "").exists()


def test_a_job_runs_again_where_something_beside_the_store_has_changed(toy, go, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    for text, state in (("a", "done"), ("a", "cached"), ("b", "done")):
        watched.write_text(text)
        assert [j.state for j in go(toy(2), then=[{"toy_job": {"watched": str(watched)}}]).jobs] == [state]


def test_a_fault_of_the_machine_ends_the_run_and_puts_nothing_into_quarantine(
    toy, go, tmp_path: Path, monkeypatch
) -> None:
    import flow_parts

    def full(self, episodes):
        raise MachineError("the cache cannot be written: no space left")
        yield

    monkeypatch.setattr(flow_parts.Scale, "run", full)
    with pytest.raises(MachineError, match="the cache cannot be written"):
        go(toy(3), ["toy_scale"])
    assert not (tmp_path / "out.flow" / "quarantine.jsonl").exists()


def test_lineage_names_files_without_the_folders_they_lie_in(toy, go, tmp_path: Path) -> None:
    go(toy(1), [{"toy_scale": {"table": str(tmp_path / "deep" / "table.csv")}}])
    (step,) = (s for s in Store.open(tmp_path / "out")[0].meta.lineage if s.name == "toy_scale")
    assert step.params["table"] == "table.csv" and step.params["factor"] == 2.0
    assert str(tmp_path) not in str(step.params)


def test_what_became_of_an_episode_is_said_in_every_run(toy, go, tmp_path: Path) -> None:
    for _ in range(2):
        go(toy(2), [{"toy_filter": {"at_least": 21}}])
    events = [json.loads(line) for line in (tmp_path / "out.flow" / "events.jsonl").read_text().splitlines()]
    assert [e["reused"] for e in events if e["event"] == "episode"] == [False, False, True, True]
    assert [e["episode"] for e in events if e["event"] == "drop"] == ["toy.json:e0"] * 2


def test_jobs_run_in_order_once_and_see_each_others_folder(toy, go, tmp_path: Path) -> None:
    then = [{"toy_job": {"text": "one"}}, {"toy_job": {"text": "two", "other": "${jobs.toy_job}"}}]
    first = go(toy(2), then=then)
    assert [j.state for j in first.jobs] == ["done", "done"]
    assert first.jobs[1].label == "toy_job_2" and first.jobs[1].report["other"] == "made"
    assert [j.state for j in go(toy(2), then=then).jobs] == ["cached", "cached"]
    changed = [{"toy_job": {"text": "new"}}, then[1]]
    again = go(toy(2), then=changed)
    assert [j.state for j in again.jobs] == ["done", "done"]
    assert again.jobs[0].report["runs"] == 1, "what another version of the job left is gone"
    failing = [{"toy_job": {"fail": True}}, {"toy_job": {"text": "after"}}]
    failed = go(toy(2), then=failing)
    assert [j.state for j in failed.jobs] == ["failed", "skipped"] and (failed.state, failed.exit_code) == ("failed", 1)
    assert "broke" in failed.error and (tmp_path / "out.flow" / "01-toy_job" / "error.txt").exists()
    with pytest.raises(ConfigError, match=r"jobs.later.* is no earlier job"):
        go(toy(2), then=[{"toy_job": {"other": "${jobs.later}"}}])


def test_wrong_names_are_known_before_anything_is_written(toy, go, tmp_path: Path) -> None:
    for stages, said in (
        (["toy_scal"], "did you mean 'toy_scale'"),
        ([{"toy_scale": {"factr": 1}}], "did you mean 'factor'"),
        ([{"toy_scale": {"factor": "x"}}], "expected float"),
    ):
        with pytest.raises(ConfigError, match=said):
            go(toy(1), stages)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.flow").exists()


def test_sources_of_different_rates_are_refused_before_anything_is_written(toy, go, tmp_path: Path) -> None:
    sources = [str(toy(1, name="a.json")), str(toy([{"name": "z", "length": 9}], name="b.json", fps=20.0))]
    for stages in ([], ["toy_scale"]):
        with pytest.raises(ConfigError, match=r"different rates \(10, 20 Hz\).*fps"):
            go(sources, stages)
    assert not (tmp_path / "out").exists()


def test_the_disk_is_checked_before_the_start(toy, go, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"need about 1\.3 GB.*--limit"):
        check_disk(tmp_path / "a" / "b", Estimate(10**9, 2 * 10**8, 1.0), free=10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ConfigError, match="are free"):
        go(toy(1))
    assert not (tmp_path / "out.flow").exists()


def test_a_dry_run_tells_everything_and_writes_nothing(toy, tmp_path: Path) -> None:
    flow = {"source": str(toy(3, camera=True, licence="MIT")), "stages": ["toy_scale"], "out": str(tmp_path / "out")}
    told = json.loads(json.dumps(plan_flow(flow).to_json()))
    assert (told["episodes"], told["frames"], told["licence"]) == (3, 63, "MIT")
    assert told["sources"][0]["assumptions"] == ["task = 'move': the file names none"]
    assert told["sources"][0]["unused"] == ["temperature"]
    assert told["estimate"]["bytes"] > 0 and told["stages"][0]["params"]["factor"] == 2.0
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


def test_cancel_stops_between_episodes_and_the_flow_goes_on_later(toy, go, tmp_path: Path, monkeypatch) -> None:
    out, source = tmp_path / "out", toy(5)
    from dataengine.flow import worker
    from dataengine.flow.events import EventLog

    monkeypatch.setattr(EventLog, "cancelled", _unhurried(EventLog.cancelled))
    original = worker.recorded

    def cancelling(folder, key):
        if (out / "meta").exists() and len(Store.open(out)) == 2:
            cancel(out)
        return original(folder, key)

    monkeypatch.setattr(worker, "recorded", cancelling)
    result = go(source)
    assert (result.state, result.exit_code) == ("cancelled", 4) and 2 <= result.kept < 5
    assert status(out).state == "cancelled"
    monkeypatch.undo()
    assert cancel(out).state == "cancelled", "asking an ended run to stop changes nothing"
    assert go(source).kept == 5
    assert Store.open(out).digest() == go(source, out="fresh").digest


def _unhurried(method):
    """`cancelled` without its wait between looks."""

    def look(self):
        self._asked = 0.0
        return method(self)

    return look


def test_status_and_the_lock_of_a_second_driver(toy, go, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no flow has run"):
        status(tmp_path / "out")
    go(toy(1))
    found = status(tmp_path / "out")
    assert (found.state, found.done, found.kept, found.exit_code) == ("finished", 1, 1, 0)
    events = [json.loads(line) for line in (tmp_path / "out.flow" / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events if e["event"] != "workers"] == [
        "start", "phase", "store_created", "episode", "end",
    ]  # fmt: skip
    with FlowFolder(tmp_path / "out").lock("other"), pytest.raises(StoreLocked, match="another flow"):
        go(toy(1))


def test_convert_is_a_flow_without_stages(toy, go, tmp_path: Path) -> None:
    source = toy(2, camera=True)
    result = convert(source, tmp_path / "c", mapping={"fps": 5.0}, scheduler="inprocess", progress=False)
    store = Store.open(tmp_path / "c")
    assert (result.kept, store.fps, store.verify(deep=True).ok) == (2, 5.0, True)


def test_a_codec_of_the_users_choice(toy, tmp_path: Path) -> None:
    source = toy(1, camera=True)
    options = {"scheduler": "inprocess", "progress": False}
    convert(source, tmp_path / "a", codec={"gop": 2, "crf": 30}, **options)
    assert Store.open(tmp_path / "a").codec.gop == 2
    with pytest.raises(ConfigError, match=r"codec: .*it takes: .*crf"):
        convert(source, tmp_path / "b", codec={"quality": 2}, **options)
