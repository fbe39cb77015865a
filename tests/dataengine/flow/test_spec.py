from __future__ import annotations

from pathlib import Path

import pytest

from dataengine.errors import ConfigError
from dataengine.flow.spec import load_flow, parse_flow

FLOW = {
    "name": "curate",
    "params": {"source": None, "out": "here/store", "limit": 3},
    "source": {"path": "${source}", "limit": "${limit}"},
    "stages": ["quality", {"language": {"prompt": "say ${word}"}}],
    "out": "${out}",
    "then": [{"publish": {"repo": "me/${name}", "table": "${jobs.tokenizer}/t.json"}}],
}


def parse(raw=FLOW, **params):
    return parse_flow(raw, params, "flow.yaml")


def test_parameters_keep_their_type_and_fill_text() -> None:
    flow = parse(source="data/x.hdf5", word="two", limit="7")
    assert flow.sources[0].limit == 7 and Path(flow.sources[0].path) == Path.cwd() / "data/x.hdf5"
    assert flow.out == Path.cwd() / "here/store"
    assert flow.stages[1].params == {"prompt": "say two"}
    assert flow.then[0].params == {"repo": "me/curate", "table": "${jobs.tokenizer}/t.json"}


def test_a_value_cannot_add_keys_to_the_flow() -> None:
    flow = parse(source="x", word="a\nthen:\n  - evil")
    assert flow.stages[1].params["prompt"].startswith("say a\nthen") and len(flow.then) == 1


@pytest.mark.parametrize(
    ("raw", "params", "said"),
    [
        ({**FLOW, "stagse": []}, {"source": "x", "word": "y"}, "unknown key 'stagse'; did you mean 'stages'?"),
        (FLOW, {"source": "x", "word": "y", "sourc": 1}, "no parameter 'sourc'; did you mean 'source'?"),
        (FLOW, {"source": "x"}, "${word} has no value"),
        (FLOW, {"word": "x"}, "'path' is missing"),
        ({"source": {"path": "a", "limt": 2}, "out": "b"}, {}, "did you mean 'limit'?"),
        ({"source": {"path": "a", "limit": 0}, "out": "b"}, {}, "at least 1"),
        ({"source": "a"}, {}, "'out' is missing"),
        ({"params": {"in": None}, "source": "${in}", "out": "b"}, {}, "give it with --set in=…"),
        ({"source": "a", "out": ["b"]}, {}, "one store"),
        ({"source": "a", "out": "b", "stages": [{"x": 1, "y": 2}]}, {}, "an entry is a name"),
        ({"source": "a", "out": "b", "stages": [{"x": 3}]}, {}, "an entry is a name"),
        ({"source": "a", "out": "b", "timeout": 0}, {}, "'timeout' is seconds for one episode"),
        ([1], {}, "a flow is a mapping"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(raw, params, said) -> None:
    with pytest.raises(ConfigError) as error:
        parse_flow(raw, params, "flow.yaml")
    assert said in str(error.value) and "flow.yaml" in str(error.value)


def test_a_dollar_can_be_written() -> None:
    flow = parse_flow({"source": "a", "out": "b", "stages": [{"s": {"x": "$${kept}"}}]}, {}, "f")
    assert flow.stages[0].params == {"x": "${kept}"}


def test_several_sources_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("source: [a, {path: b, episodes: [0, '2:4', demo_1]}]\nout: store\n")
    flow = load_flow(path)
    assert [Path(s.path).name for s in flow.sources] == ["a", "b"]
    assert flow.sources[1].episodes == (0, "2:4", "demo_1")
    assert flow.name == "store"


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("source: a\nout: [b\n")
    with pytest.raises(Exception, match=r"flow\.yaml"):
        load_flow(path)
    with pytest.raises(ConfigError, match="no flow file"):
        load_flow(tmp_path / "absent.yaml")
