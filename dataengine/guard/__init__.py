"""Reading what strangers wrote. Whatever comes from outside passes here before a library trusts it.

One file per danger: names and paths (`paths`), text formats (`text`), HDF5 (`hdf5`), zip archives (`archive`),
code that may crash (`process`). Outside of this room stands what a format means: that is its converter's job.
"""

from dataengine.guard.archive import check_zip
from dataengine.guard.arrays import check_allocation, load_npz, reject_objects
from dataengine.guard.hdf5 import open_hdf5
from dataengine.guard.paths import regular_files, safe_join, safe_name, sha256_file, tree_sha256
from dataengine.guard.process import run_guarded
from dataengine.guard.text import parse_json, parse_yaml, read_json, read_jsonl, read_text, read_yaml, whole_text

__all__ = [
    "check_allocation",
    "check_zip",
    "load_npz",
    "open_hdf5",
    "parse_json",
    "parse_yaml",
    "read_json",
    "read_jsonl",
    "read_text",
    "read_yaml",
    "regular_files",
    "reject_objects",
    "run_guarded",
    "safe_join",
    "safe_name",
    "sha256_file",
    "tree_sha256",
    "whole_text",
]
