"""The dataset as Croissant 1.0 metadata (mlcommons.org/croissant): files, and the table of frames with its columns."""

from __future__ import annotations

from typing import Any

from dataengine.store import Store

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def make_croissant(store: Store, repo_id: str, url: str, *, licence: str | None) -> dict[str, Any]:
    """Croissant JSON-LD of a store published at `url`."""
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": "repo",
            "name": "repo",
            "description": "The repository.",
            "contentUrl": url,
            "encodingFormat": "git+https",
            "sha256": "https://github.com/mlcommons/croissant/issues/80",
        },
        _files("frames-files", "application/x-parquet", "data/*/*.parquet", "A row per frame."),
        _files("episodes-files", "application/x-parquet", "meta/episodes/*/*.parquet", "A row per episode."),
    ]
    if any(f.is_camera for f in store.features.values()):
        distribution.append(_files("videos", "video/mp4", "videos/*/*/*.mp4", "Episodes' pictures, by camera."))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": repo_id.split("/")[-1],
        "description": f"{len(store)} robot episodes at {store.fps:g} Hz in LeRobotDataset v3.0.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licence or "unknown",
        "url": url,
        "version": "3.0.0",
        "distribution": distribution,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "frames",
                "name": "frames",
                "description": "One row per frame.",
                "field": [_field(key, dtype, size) for key, dtype, size in _columns(store)],
            }
        ],
    }


def _columns(store: Store) -> list[tuple[str, str, int]]:
    position = [("timestamp", "float32", 1)] + [
        (k, "int64", 1) for k in ("frame_index", "episode_index", "index", "task_index")
    ]
    return [
        (k, f.dtype, f.size) for k, f in store.features.items() if not f.is_camera and f.dtype != "language"
    ] + position


def _field(key: str, dtype: str, size: int) -> dict[str, Any]:
    kind = {"f": "sc:Float", "i": "sc:Integer", "u": "sc:Integer", "b": "sc:Boolean", "s": "sc:Text"}[dtype[0]]
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"frames/{key}",
        "name": key,
        "description": f"Column {key}.",
        "dataType": kind,
        "source": {"fileSet": {"@id": "frames-files"}, "extract": {"column": key}},
    }
    return field | ({"repeated": True} if size > 1 else {})


def _files(name: str, kind: str, pattern: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "containedIn": {"@id": "repo"},
        "encodingFormat": kind,
        "includes": pattern,
    }
