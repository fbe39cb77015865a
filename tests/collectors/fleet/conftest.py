"""One episode ready to travel, for the tests that spoil it."""

from __future__ import annotations

import pytest
from fleet_made import local

from collectors.fleet.content import content_of
from collectors.fleet.packing import Packed, pack


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("packed")
    store = local(folder / "local", [1], length=30)
    return pack(store, 0, content_of(store, 0), "one", folder / "shard")
