"""OpenCV's detectors: boxes where OpenCV has them, in RGB and at any size; a file that is no model is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_made import other_network, red_network

from collectors.egocentric.opencv_faces import Haar, YuNet
from conftest import shared_data
from dataengine import plugins
from dataengine.errors import ConfigError, SourceError

cv2 = pytest.importorskip("cv2")
CASCADE = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
HEAD = '<?xml version="1.0"?><opencv_storage><cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType>'
ONE_STAGE = (
    "<featureType>HAAR</featureType><height>24</height><width>24</width><stageParams><maxWeakCount>1</maxWeakCount>"
    "</stageParams><featureParams><maxCatCount>0</maxCatCount></featureParams><stageNum>1</stageNum><stages><_>"
    "<maxWeakCount>1</maxWeakCount><stageThreshold>-5.</stageThreshold><weakClassifiers><_><internalNodes>0 -1"
    " {feature} 0.</internalNodes><leafValues>1. -1.</leafValues></_></weakClassifiers></_></stages><features>"
    "<_><rects><_>"
    "{rect} -1.</_><_>0 0 12 24 2.</_></rects></_></features></cascade></opencv_storage>"
)


def test_yunet_sees_red_where_red_is(tmp_path: Path) -> None:
    model = tmp_path / "red.onnx"
    model.write_bytes(red_network())
    picture = np.full((200, 300, 3), 90, np.uint8)
    picture[64:96, 128:160] = (255, 0, 0)
    picture[0:64, 0:64] = (0, 0, 255)
    detector = YuNet(model=model)
    np.testing.assert_allclose(detector.find(picture), [[128, 64, 160, 96, 1]], atol=0.01)
    np.testing.assert_allclose(detector.find(picture[32:]), [[128, 32, 160, 64, 1]], atol=0.01)  # another size
    larger = picture.repeat(3, 0).repeat(3, 1)
    np.testing.assert_allclose(YuNet(model=model, longest=300).find(larger), [[384, 192, 480, 288, 1]], atol=0.01)
    assert YuNet(model=model, score=0.1).find(np.zeros((50, 40, 3), np.uint8)).shape == (0, 5)
    assert detector.version == YuNet(model=model).version != YuNet(model=model, score=0.7).version


def test_haar_finds_what_opencv_finds() -> None:
    picture = cv2.imread(str(shared_data("hands/hamer_test1.jpg")))
    detector = Haar(model=CASCADE, neighbours=3)
    found = detector.find(picture[..., ::-1])
    grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    theirs = cv2.CascadeClassifier(str(CASCADE)).detectMultiScale(grey, 1.1, 3, minSize=(20, 20))
    assert len(found) == len(theirs) >= 1
    edges = np.column_stack([theirs[:, :2], theirs[:, :2] + theirs[:, 2:]])
    assert sorted(found[:, :4].tolist()) == sorted(edges.astype(float).tolist())
    left, top, right, bottom, score = found[found[:, 4].argmax()]
    assert 340 < left < right < 540 and 80 < top < bottom < 280 and score >= 3  # the woman who looks at the camera
    half = Haar(model=CASCADE, longest=424).find(picture[..., ::-1])
    best = half[half[:, 4].argmax()]
    np.testing.assert_allclose(best[:4], [left, top, right, bottom], atol=30)
    assert Haar(model=CASCADE).find(np.zeros((20, 30, 3), np.uint8)).shape == (0, 5)


def test_a_model_is_asked_for_with_where_it_is_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"face_detection_yunet.*faces\.model"):
        _ = YuNet().version
    with pytest.raises(ConfigError, match=r"cv2\.data\.haarcascades.*faces\.model"):
        _ = Haar().version
    with pytest.raises(ConfigError, match=r"nothing\.onnx is not there"):
        _ = YuNet(model=tmp_path / "nothing.onnx").version


@pytest.mark.parametrize(
    ("detector", "content"),
    [
        (YuNet, b""),
        (YuNet, b"no network" * 50),
        (YuNet, other_network()),
        (YuNet, red_network()[:900]),
        (YuNet, CASCADE.read_bytes()[:5000]),
        (Haar, b""),
        (Haar, b"\xff\xfe\x00 no text"),
        (Haar, b"<?xml version='1.0'?><opencv_storage><a>1</a></opencv_storage>"),
        (Haar, CASCADE.read_bytes()[:5000]),
        (Haar, red_network()),
        (Haar, (HEAD + ONE_STAGE.format(feature=900_000_000, rect="0 0 24 24")).encode()),
        (Haar, (HEAD + ONE_STAGE.format(feature=0, rect="0 0 2000000 2000000")).encode()),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, detector: type, content: bytes) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"model\.bin: is no model that (yunet|haar) of OpenCV can use: \S+"):
        _ = detector(model=path).version


@pytest.mark.parametrize(
    ("name", "params"),
    [("haar", {"scale": 1.0}), ("haar", {"neighbours": 0}), ("yunet", {"score": 1.5}), ("yunet", {"longest": 10})],
)
def test_parameters_that_make_no_sense(name: str, params: dict) -> None:
    with pytest.raises(ConfigError, match=name):
        plugins.build({"haar": Haar, "yunet": YuNet}[name], params, name, name)
