"""The stand-in Hub, talked to by the real huggingface_hub client."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
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
    answer = _put(_upload_address(hub, "0" * 64, 9), b"something")
    assert answer.status == 400


def _upload_address(hub: HfApi, oid: str, size: int) -> str:
    """Where the Hub wants an object, as the client asks for it."""
    hub.create_repo(REPO, repo_type="dataset", exist_ok=True)
    body = json.dumps({"operation": "upload", "objects": [{"oid": oid, "size": size}]})
    (entry,) = json.loads(_post(hub, f"/datasets/{REPO}.git/info/lfs/objects/batch", body).read())["objects"]
    return entry["actions"]["upload"]["href"]


def _put(address: str, content: bytes) -> http.client.HTTPResponse:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("PUT", f"{parts.path}?{parts.query}", content)
    return connection.getresponse()


def _post(hub: HfApi, path: str, body: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
    connection.request("POST", path, body, {"Authorization": "Bearer hf_rehearsal"})
    return connection.getresponse()


def test_objects_are_taken_only_where_the_hub_asked_for_them(hub: HfApi, tmp_path: Path) -> None:
    oid = hashlib.sha256(b"something").hexdigest()
    address = _upload_address(hub, oid, 9)
    for wrong in (address.split("?")[0], address[:-1] + "x", address.replace(oid, "0" * 64)):
        assert _put(wrong, b"something").status == 403
    assert not any((tmp_path / "hub" / "objects").iterdir())
    assert _put(address, b"something").status == 200
    assert [p.name for p in (tmp_path / "hub" / "objects").iterdir()] == [oid]


def test_an_upload_that_breaks_off_leaves_nothing(hub: HfApi, tmp_path: Path) -> None:
    parts = urlsplit(_upload_address(hub, "0" * 64, 10**6))
    with socket.create_connection((parts.hostname, parts.port)) as line:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1000000\r\n\r\n"
        line.sendall(head.encode() + b"x" * 5000)
        _until(lambda: any((tmp_path / "hub" / "objects").iterdir()))
    _until(lambda: not any((tmp_path / "hub" / "objects").iterdir()))


def test_an_object_larger_than_the_disk_is_refused_at_once(hub: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    address = _upload_address(hub, "0" * 64, 10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**5})())
    assert _put(address, b"x" * 10**6).status == 507


BODIES = [
    "{",
    "[]",
    "1",
    '{"key": "file"}',
    '{"key": "lfsFile", "value": {"oid": "../../x", "size": 1, "path": "a"}}',
    "null",
]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_makes_no_sense_is_the_askers_fault(hub: HfApi, published: str, body: str) -> None:
    for path in ("commit/main", "tag/main", "branch/new", "preupload/main", "paths-info/main"):
        assert _post(hub, f"/api/datasets/{REPO}/{path}", body).status < 500, path
    assert _post(hub, f"/datasets/{REPO}.git/info/lfs/objects/batch", body).status == 400
    assert hub.repo_info(REPO, repo_type="dataset").sha == published


def test_of_two_commits_at_once_none_is_lost(hub: HfApi, published: str) -> None:
    """The second one is made while the first one's body is still on its way."""
    head = {"key": "header", "value": {"summary": "slow", "parentCommit": published}}
    body = "\n".join(
        map(json.dumps, [head, {"key": "file", "value": {"path": "slow.txt", "content": "YQ=="}}])
    ).encode()
    parts = urlsplit(hub.endpoint)
    with socket.create_connection((parts.hostname, parts.port)) as line:
        line.sendall(
            f"POST /api/datasets/{REPO}/commit/main HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer hf_rehearsal\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body[:40]
        )
        hub.repo_info(REPO, repo_type="dataset")  # the server has begun with the first by now
        hub.create_commit(REPO, [CommitOperationAdd("quick.txt", b"b")], commit_message="quick", repo_type="dataset")
        line.sendall(body[40:])
        assert b" 412 " in line.recv(200)
    files = hub.list_repo_files(REPO, repo_type="dataset")
    assert "quick.txt" in files and "slow.txt" not in files


def test_two_names_never_share_a_repository(hub: HfApi) -> None:
    hub.create_repo("local/a-b", repo_type="dataset")
    for name in ("local/a--b", "local/a..b"):
        assert _post(hub, "/api/repos/create", json.dumps({"name": name.split("/")[1]})).status == 400


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_client_that_goes_in_the_middle_leaves_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path) as address:
        with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as client:
            head = "POST /api/repos/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
            client.sendall(head.encode() + b"{")
        assert httpx.get(address).status_code == 200
    assert "Traceback" not in capfd.readouterr().err
