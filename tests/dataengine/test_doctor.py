"""What is missing comes with the line that installs it."""

from __future__ import annotations

import importlib.util

import pytest

from dataengine import doctor
from dataengine.errors import DataEngineError


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else find(name))


def test_a_missing_module_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "safetensors")
    with pytest.raises(DataEngineError, match=r"safetensors\. Install with:  pip install 'vla-dataengine\[train\]'$"):
        doctor.require("train")


def test_mediapipe_is_installed_without_the_opencv_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "mediapipe")
    with pytest.raises(DataEngineError, match=r"\[hands\]' && pip install --no-deps mediapipe$"):
        doctor.require("hands")
