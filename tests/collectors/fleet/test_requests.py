"""What comes over the wire is a stranger's: who may ask, what a request and an offer may say."""

from __future__ import annotations

import copy
import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet_made import TOKEN, local, service
from store_made import FRONT

from collectors.fleet.offer import Limits
from collectors.fleet.packing import Packed
from collectors.fleet.push import Push
from collectors.fleet.service import serving
from collectors.fleet.wire import Wire
from dataengine.errors import ConfigError, StoreError

# -- who may ask -------------------------------------------------------------------------------------------


def test_only_who_has_the_token_and_names_this_host_and_is_no_web_page(tmp_path: Path) -> None:
    with service(tmp_path / "fleet") as fleet:
        for path in ("/v1/store", "/v1/episodes", "/nothing"):
            for token in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer Ã"):
                got = fleet.client.get(path, headers={"Authorization": token.encode("utf-8")})
                assert got.status_code == 401 and "token" in got.json()["error"]
            for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.", "127.0.0.1:80@evil.example"):
                assert fleet.client.get(path, headers={"Host": host}).status_code == 403
            for header in ({"Origin": "http://127.0.0.1:8787"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-origin"}):
                assert fleet.client.get(path, headers=header).status_code == 403
        assert fleet.client.get("/v1/store", headers={"Host": "LOCALHOST:1"}).status_code == 200
        assert fleet.client.get("/v1/store", headers={"Host": "[::1]:1"}).json()["episodes"] == 0


def test_the_recorder_says_what_is_wrong_with_token_or_address(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1])
    with serving(tmp_path / "fleet", TOKEN) as url:
        with pytest.raises(StoreError, match="401 the token is missing or wrong"):
            Push(store.root, Wire(url, "wrong", 0)).once()
        assert Push(store.root, Wire(url, TOKEN, 0)).once().sent
    with pytest.raises(StoreError, match="tried for"):
        Push(store.root, Wire(url, TOKEN, 0)).once()
    for address in ("file:///x", "127.0.0.1", "http://", "http://host/?a=b"):
        with pytest.raises(ConfigError, match="is not the address"):
            Wire(address, TOKEN)


def test_a_body_that_breaks_off_leaves_what_was_there(tmp_path: Path, packed: Packed) -> None:
    """Over a real socket, after every so many bytes of a piece."""
    with serving(tmp_path / "fleet", TOKEN) as url:
        host = url.removeprefix("http://")
        headers = {"Authorization": f"Bearer {TOKEN}"}

        def ask(method: str, path: str, body: bytes, **more: str) -> tuple[int, dict[str, Any]]:
            connection = http.client.HTTPConnection(host)
            connection.request(method, path, body, {**headers, **more})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        _, offered = ask("POST", "/v1/offers", json.dumps(packed.offer.to_json()).encode())
        sha256, data = packed.offer.data.sha256, packed.files[packed.offer.data.sha256].read_bytes()
        path = f"/v1/offers/{offered['key']}/blobs/{sha256}"
        said = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}", "Content-Length": str(len(data))}
        for cut in range(0, len(data), 501):
            connection = http.client.HTTPConnection(host)
            connection.putrequest("PUT", path)
            for name, value in (headers | said).items():
                connection.putheader(name, value)
            connection.endheaders(data[:cut])
            connection.close()
        _, offered = ask("POST", "/v1/offers", json.dumps(packed.offer.to_json()).encode())
        assert offered["missing"][sha256] == 0
        assert ask("PUT", path, data, **{"Content-Range": said["Content-Range"]}) == (200, {"offset": len(data)})


# -- what a request may say ----------------------------------------------------------------------------------


def test_requests_that_are_none(tmp_path: Path, packed: Packed) -> None:
    limits = Limits(piece_bytes=1000, offer_bytes=20_000, waiting_offers=50)
    with service(tmp_path / "fleet", limits) as fleet:
        _, answer = fleet.ask("POST", "/v1/offers", json=packed.offer.to_json())
        key, sha256, size = answer["key"], packed.offer.data.sha256, packed.offer.data.size
        good = f"/v1/offers/{key}/blobs/{sha256}"
        for said in ("", "bytes 0-/9", f"bytes 9-0/{size}", f"bytes 0-9/{size + 1}", f"bytes */{size}", "bytes 0-9"):
            assert fleet.ask("PUT", good, content=b"x" * 10, headers={"Content-Range": said})[0] in (400, 416)
        piece = {"Content-Range": f"bytes 0-1999/{size}"}
        assert fleet.ask("PUT", good, content=b"x" * 2000, headers=piece)[0] == 416
        piece = {"Content-Range": f"bytes 0-99/{size}"}
        assert fleet.ask("PUT", good, content=b"x" * 101, headers=piece)[0] == 413
        assert fleet.ask("PUT", good, content=b"x" * 99, headers=piece)[0] == 400
        far = {"Content-Range": f"bytes 100-199/{size}"}
        assert fleet.ask("PUT", good, content=b"x" * 100, headers=far) == (
            409, {"error": "the next piece begins at byte 0", "offset": 0},
        )  # fmt: skip
        for path in ("../../x", "%2e%2e%2fx", "A" * 64, sha256[:-1], f"{sha256}x", "0" * 64):
            assert fleet.ask("PUT", f"/v1/offers/{key}/blobs/{path}", content=b"x" * 100, headers=piece)[0] in (
                404,
                405,
            )
            assert fleet.client.put(f"/v1/offers/{path}/blobs/{sha256}", content=b"x", headers=piece).status_code == 404
            assert fleet.client.post(f"/v1/offers/{path}/commit", json={}).status_code == 404
        assert fleet.ask("POST", f"/v1/offers/{key}/commit", json={})[0] == 409
        for body in (b"", b"\xff", b"[1", b'{"a": NaN}', b"[" * 10_000, b'{"a": 1e999}'):
            for path in ("/v1/offers", "/v1/episodes"):
                assert fleet.client.post(path, content=body).status_code == 400
        assert fleet.client.post("/v1/offers", content=b" " * 20_001).status_code == 413
        assert fleet.client.post("/v1/episodes", json={str(n): "" for n in range(201)}).status_code == 400
        assert fleet.client.post("/v1/episodes", json={"a\x00b": ""}).status_code == 422
        assert fleet.waiting == [key, f"{key}/offer.json"]


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "protocol": lambda o: o.update(protocol=2),
    "id is a path": lambda o: o.update(episode_id=["../x"]),
    "id of control characters": lambda o: o.update(episode_id="a\x1b[2J"),
    "id too long": lambda o: o.update(episode_id="x" * 201),
    "content": lambda o: o.update(content="../../etc/passwd"),
    "rate": lambda o: o.update(fps=0),
    "rate of text": lambda o: o.update(fps="10"),
    "no frames": lambda o: o.update(length=0),
    "too many frames": lambda o: o.update(length=10**9),
    "frames of truth": lambda o: o.update(length=True),
    "feature is a path": lambda o: o["features"].update({"../x": o["features"]["action"]}),
    "feature is hidden": lambda o: o["features"].update({".x": o["features"]["action"]}),
    "feature of position": lambda o: o["features"].update({"index": o["features"]["action"]}),
    "feature of objects": lambda o: o["features"]["action"].update(dtype="object"),
    "feature of no shape": lambda o: o["features"]["action"].update(shape=[-1]),
    "feature that is huge": lambda o: o["features"]["action"].update(shape=[1 << 40]),
    "feature of no role": lambda o: o["features"]["action"].update(role="owner"),
    "feature is none": lambda o: o["features"].update(action=None),
    "camera is a path": lambda o: o["videos"].update({"../../x": o["data"]}),
    "camera is missing": lambda o: o["videos"].pop(FRONT),
    "label is a path": lambda o: o["labels"].update({"../x": o["data"]}),
    "blob is a path": lambda o: o["data"].update(sha256="../" * 21 + "x"),
    "blob of nothing": lambda o: o["data"].update(size=0),
    "blob that is huge": lambda o: o["data"].update(size=1 << 50),
    "no tasks": lambda o: o["meta"].update(tasks=[]),
    "success is text": lambda o: o["meta"].update(success="yes"),
    "operator is a list": lambda o: o["meta"].update(operator=["a"]),
    "lineage is text": lambda o: o["meta"].update(lineage="x"),
    "meta of more": lambda o: o["meta"].update(more=1),
    "no meta": lambda o: o.pop("meta"),
    "codec": lambda o: o["codec"].update(name="rm"),
    "codec's option": lambda o: o["codec"].update(preset="x:y=/etc/passwd"),
    "codec of more": lambda o: o["codec"].update(more=1),
    "depth": lambda o: o["features"][FRONT].update(info={"is_depth_map": True, "video.depth_min": "x"}),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_offer_that_cannot_be_is_refused_and_leaves_nothing(tmp_path: Path, packed: Packed, what: str) -> None:
    offer = copy.deepcopy(packed.offer.to_json())
    WRONG[what](offer)
    with service(tmp_path / "fleet") as fleet:
        code, answer = fleet.ask("POST", "/v1/offers", json=offer)
        assert code == 422 and "\n" not in answer["error"] and len(answer["error"]) < 3000
        assert not fleet.waiting and not (tmp_path / "fleet").exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == [".fleet.incoming"]
