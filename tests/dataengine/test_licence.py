from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataengine.errors import ConfigError
from dataengine.licence import PERMISSIVE, kind_of, merge_licences


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Apache-2.0", "permissive"),
        ("cc-by-4.0", "permissive"),
        ("CC0-1.0", "permissive"),
        ("cc-by-nc-4.0", "non-commercial"),
        ("cc-by-nc-sa-4.0", "non-commercial"),
        ("cc-by-nd-4.0", "no derivatives"),
        ("cc-by-nc-nd-4.0", "no derivatives"),
        ("cc-by-sa-4.0", "share-alike"),
        ("gpl-3.0", "share-alike"),
        ("odbl", "share-alike"),
        ("openrail", "unknown"),
        ("other", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_kinds(name: str | None, kind: str) -> None:
    assert kind_of(name) == kind


def test_nobody_says_then_nobody_says() -> None:
    assert merge_licences({"a": None, "b": "unknown"}) is None


def test_one_that_forbids_derivatives_is_not_merged_even_with_its_own_kind() -> None:
    assert merge_licences({"a": "cc-by-nd-4.0"}) == "cc-by-nd-4.0"
    with pytest.raises(ConfigError, match="must not be built upon"):
        merge_licences({"a": "cc-by-nd-4.0", "b": "cc-by-nd-4.0"})


def test_the_message_names_every_source() -> None:
    with pytest.raises(ConfigError, match=r"a: mit, b: cc-by-sa-4.0, c: apache-2.0.*share-alike"):
        merge_licences({"a": "mit", "b": "cc-by-sa-4.0", "c": "apache-2.0"})
    with pytest.raises(ConfigError, match=r"a: mit, b: says none"):
        merge_licences({"a": "mit", "b": None})


@given(st.lists(st.sampled_from(sorted(PERMISSIVE)), min_size=1, max_size=6))
def test_permissive_ones_merge_in_any_order(names: list[str]) -> None:
    there = merge_licences({str(i): name for i, name in enumerate(names)})
    back = merge_licences({str(i): name.upper() for i, name in enumerate(reversed(names))})
    assert there is not None and back is not None and there.lower() == back.lower()
