"""The stand-in Hub, talked to by the real huggingface_hub client."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dataengine.hub.publish import plain_uploads
from dataengine.hub.server import serving

REPO = "local/cubes"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HfApi]:
    with serving(tmp_path / "hub", token="hf_rehearsal") as address, plain_uploads(address):
        yield HfApi(endpoint=address, token="hf_rehearsal")


@pytest.fixture
def published(hub: HfApi) -> str:
    hub.create_repo(REPO, repo_type="dataset", private=True)
    big = bytes(range(256)) * 400
    operations = [
        CommitOperationAdd("meta/info.json", b"{}"),
        CommitOperationAdd("videos/front/file-000.mp4", big),
        CommitOperationAdd("README.md", b"---\nlicense: mit\n---\nA card"),
    ]
    info = hub.create_commit(REPO, operations, commit_message="first", repo_type="dataset")
    assert info.oid
    return info.oid


def test_what_goes_in_comes_out_by_every_way_of_reading(hub: HfApi, published: str, tmp_path: Path) -> None:
    folder = snapshot_download(REPO, repo_type="dataset", endpoint=hub.endpoint, token=hub.token, cache_dir=tmp_path)
    video = (Path(folder) / "videos/front/file-000.mp4").read_bytes()
    assert hashlib.sha256(video).digest() == hashlib.sha256(bytes(range(256)) * 400).digest()
    one = hf_hub_download(
        REPO,
        "meta/info.json",
        repo_type="dataset",
        revision=published,
        endpoint=hub.endpoint,
        token=hub.token,
        cache_dir=tmp_path / "other",
    )
    assert Path(one).read_text() == "{}"
    tree = {entry.path: entry for entry in hub.list_repo_tree(REPO, repo_type="dataset", recursive=True)}
    assert {"README.md", "meta", "meta/info.json", "videos/front/file-000.mp4"} <= set(tree)
    assert tree["videos/front/file-000.mp4"].lfs is not None
    assert hub.repo_info(REPO, repo_type="dataset").sha == published
    assert [c.title for c in hub.list_repo_commits(REPO, repo_type="dataset")] == ["first", "initial commit"]
    assert hub.get_paths_info(REPO, ["README.md"], repo_type="dataset")[0].size == len("---\nlicense: mit\n---\nA card")


def test_a_range_of_a_file_can_be_read(hub: HfApi, published: str) -> None:
    host = hub.endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    headers = {"Range": "bytes=256-511", "Authorization": "Bearer hf_rehearsal"}
    connection.request("GET", f"/datasets/{REPO}/resolve/{published}/videos/front/file-000.mp4", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 206 and answer.read() == bytes(range(256))


def test_tags_point_at_commits_and_can_be_moved(hub: HfApi, published: str) -> None:
    hub.create_tag(REPO, tag="v3.0", repo_type="dataset")
    with pytest.raises(HfHubHTTPError):
        hub.create_tag(REPO, tag="v3.0", repo_type="dataset")
    second = hub.create_commit(
        REPO, [CommitOperationDelete("README.md")], commit_message="second", repo_type="dataset"
    ).oid
    assert {t.name: t.target_commit for t in hub.list_repo_refs(REPO, repo_type="dataset").tags} == {"v3.0": published}
    hub.delete_tag(REPO, tag="v3.0", repo_type="dataset")
    hub.create_tag(REPO, tag="v3.0", revision=second, repo_type="dataset")
    assert hub.repo_info(REPO, repo_type="dataset", revision="v3.0").sha == second
    assert not hub.file_exists(REPO, "README.md", repo_type="dataset", revision="v3.0")
    assert hub.file_exists(REPO, "README.md", repo_type="dataset", revision=published)


def test_a_commit_on_an_old_parent_is_refused(hub: HfApi, published: str) -> None:
    add = [CommitOperationAdd("a.txt", b"a")]
    hub.create_commit(REPO, add, commit_message="second", repo_type="dataset", parent_commit=published)
    with pytest.raises(HfHubHTTPError, match="412"):
        hub.create_commit(
            REPO,
            [CommitOperationAdd("b.txt", b"b")],
            commit_message="late",
            repo_type="dataset",
            parent_commit=published,
        )
    assert not hub.file_exists(REPO, "b.txt", repo_type="dataset")


def test_errors_are_those_the_client_knows(hub: HfApi, published: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        hub.repo_info("local/nothing", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        hub.repo_info(REPO, repo_type="dataset", revision="v9")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(REPO, "none.txt", repo_type="dataset", endpoint=hub.endpoint, token=hub.token)


def test_a_private_repository_needs_the_token(hub: HfApi, published: str) -> None:
    stranger = HfApi(endpoint=hub.endpoint, token="hf_other")
    with pytest.raises(RepositoryNotFoundError):
        stranger.repo_info(REPO, repo_type="dataset")
    with pytest.raises(HfHubHTTPError):
        stranger.create_repo("local/mine", repo_type="dataset")


@pytest.mark.parametrize("path", ["../out.txt", "/etc/passwd", "a//b", "a/../../b"])
def test_no_path_leaves_the_repository(hub: HfApi, published: str, path: str) -> None:
    import json

    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
    lines = [{"key": "header", "value": {"summary": "x"}}, {"key": "file", "value": {"path": path, "content": "YQ=="}}]
    body = "\n".join(json.dumps(line) for line in lines)
    connection.request("POST", f"/api/datasets/{REPO}/commit/main", body, {"Authorization": "Bearer hf_rehearsal"})
    assert connection.getresponse().status == 400


def test_another_host_name_is_not_answered(hub: HfApi, published: str) -> None:
    """A page of another site whose name was rebound to this address must get nothing."""
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
    connection.request("GET", "/", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 403


def test_an_object_that_is_not_its_hash_is_refused(hub: HfApi) -> None:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
    connection.request("PUT", f"/lfs/{'0' * 64}", b"something")
    assert connection.getresponse().status == 400
