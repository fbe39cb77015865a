"""A network with YuNet's inputs and outputs, written by hand as ONNX: red is a face."""

from __future__ import annotations

import struct

import numpy as np

FLOAT, INT64 = 1, 7


def red_network() -> bytes:
    """Score: how red a cell of 32 pixels is, pure red 1. Box: as large as the cell. Blue and green count against it: in
    a picture whose colours are the wrong way round blue is a face."""
    nodes, constants, outputs = [], [_tensor("cells", [1, -1, 1], INT64)], []
    for stride in (8, 16, 32):
        colours = np.array([-1.0, -1.0, 1.0]) / 255 * (stride == 32)  # as OpenCV has them: blue, green, red
        constants.append(_tensor(f"colours{stride}", colours.reshape(1, 3, 1, 1).tolist(), FLOAT))
        nodes.append(_node("Conv", ["input", f"colours{stride}"], [f"red{stride}"], _ints("kernel_shape", [1, 1])))
        size = [_ints("kernel_shape", [stride] * 2), _ints("strides", [stride] * 2)]
        nodes.append(_node("AveragePool", [f"red{stride}"], [f"mean{stride}"], *size))
        for name, values in (("cls", None), ("obj", None), ("bbox", [0.5, 0.5, 0.0, 0.0]), ("kps", [0.0] * 10)):
            out = f"{name}_{stride}"
            outputs.append(_value(out))
            if values is None:
                nodes.append(_node("Reshape", [f"mean{stride}", "cells"], [out]))
                continue
            wide = len(values)
            constants += [
                _tensor(f"w_{out}", np.zeros((wide, 1, 1, 1)).tolist(), FLOAT),
                _tensor(f"b_{out}", values, FLOAT),
                _tensor(f"s_{out}", [1, -1, wide], INT64),
            ]
            inputs = [f"mean{stride}", f"w_{out}", f"b_{out}"]
            nodes.append(_node("Conv", inputs, [f"c_{out}"], _ints("kernel_shape", [1, 1])))
            nodes.append(_node("Transpose", [f"c_{out}"], [f"t_{out}"], _ints("perm", [0, 2, 3, 1])))
            nodes.append(_node("Reshape", [f"t_{out}", f"s_{out}"], [out]))
    return _model(nodes, constants, outputs)


def other_network() -> bytes:
    """A network that gives its picture back."""
    return _model([_node("Identity", ["input"], ["output"])], [], [_value("output")])


def _model(nodes: list[bytes], constants: list[bytes], outputs: list[bytes]) -> bytes:
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"red")
    graph += b"".join(_field(5, constant) for constant in constants) + _field(11, _value("input", [1, 3, 96, 128]))
    graph += b"".join(_field(12, output) for output in outputs)
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _node(kind: str, inputs: list[str], outputs: list[str], *attributes: bytes) -> bytes:
    named = b"".join(_field(1, name.encode()) for name in inputs) + b"".join(_field(2, n.encode()) for n in outputs)
    return (
        named + _field(3, outputs[0].encode()) + _field(4, kind.encode()) + b"".join(_field(5, a) for a in attributes)
    )


def _ints(name: str, values: list[int]) -> bytes:
    return _field(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, 7)


def _tensor(name: str, values: object, kind: int) -> bytes:
    array = np.array(values, np.float32 if kind == FLOAT else np.int64)
    dims = b"".join(_number(1, size) for size in array.shape)
    return dims + _number(2, kind) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, shape: list[int] | None = None) -> bytes:
    dims = b"".join(_field(1, _number(1, size)) for size in shape or [])
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, FLOAT) + _field(2, dims)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + struct.pack("B", value)
