"""Rooms with a pattern on everything, filmed in MuJoCo by a camera whose every pose is known."""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
import cv2
import mujoco
import numpy as np

from collectors.egocentric.camera import Camera

WIDTH, HEIGHT, FOV = 320, 240, 50.0
FOCAL = HEIGHT / 2 / np.tan(np.deg2rad(FOV / 2))
CAMERA = Camera(width=WIDTH, height=HEIGHT, fx=FOCAL, fy=FOCAL, cx=(WIDTH - 1) / 2, cy=(HEIGHT - 1) / 2)


def room(seed: int = 0, *, bare: bool = False) -> mujoco.MjModel:
    """Floor, walls and eight boxes, or the floor alone; x to the right, y ahead, z up [m]."""
    rng = np.random.default_rng(seed)
    boxes = ""
    for n in range(8):
        x, y, wide, high = rng.uniform((-1, 0.3, 0.05, 0.05), (1, 1.5, 0.15, 0.3))
        boxes += f'<geom type="box" size="{wide} {wide} {high}" pos="{x} {y} {high}" material="m{1 + n % 2}"/>'
    kinds = ("2d", "cube", "cube")
    looks = "".join(
        f'<texture name="t{n}" type="{kind}" builtin="flat" width="256" height="256"/>'
        f'<material name="m{n}" texture="t{n}" texrepeat="2 2" texuniform="{str(kind == "2d").lower()}"/>'
        for n, kind in enumerate(kinds)
    )
    model = mujoco.MjModel.from_xml_string(f"""
        <mujoco>
          <visual><quality shadowsize="0"/><map znear="0.01"/>
            <headlight ambient=".7 .7 .7" diffuse=".3 .3 .3" specular="0 0 0"/></visual>
          <asset>{looks}</asset>
          <worldbody>
            <geom type="plane" size="3 3 .1" material="m0"/>
            <geom type="box" size="3 .05 2" pos="0 2 1" material="m1"/>
            <geom type="box" size=".05 3 2" pos="-1.8 0 1" material="m2"/>
            <geom type="box" size=".05 3 2" pos="1.8 0 1" material="m2"/>{boxes}
            <body name="head" mocap="true"><camera name="eye" fovy="{FOV}"/></body>
          </worldbody>
        </mujoco>""")
    if bare:
        model.geom_pos[1:] = [0.0, 0.0, -50.0]
    for n in range(model.ntex):
        high, wide, depth = model.tex_height[n], model.tex_width[n], model.tex_nchannel[n]
        grain = np.kron(rng.uniform(40, 220, (high // 8, wide // 8)), np.ones((8, 8)))
        soft = cv2.GaussianBlur(grain, (0, 0), 2.0).astype(np.uint8)
        start = model.tex_adr[n]
        model.tex_data[start : start + soft.size * depth] = np.repeat(soft.ravel(), depth)
    return model


def looking(place: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`(3, 3)` axes of a camera (x right, y down, z forward) that looks from a place at a target."""
    ahead = (target - place) / np.linalg.norm(target - place)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead], 1)


def film(model: mujoco.MjModel, places: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """`(T, HEIGHT, WIDTH, 3)` uint8 of a camera at `(T, 3)` turned as `(T, 3, 3)`."""
    data = mujoco.MjData(model)
    pictures = []
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for place, turn in zip(places, turns, strict=True):
            data.mocap_pos[0] = place
            # MuJoCo's cameras look along -z with y up.
            mujoco.mju_mat2Quat(data.mocap_quat[0], np.ascontiguousarray(turn * [1.0, -1.0, -1.0]).ravel())
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera="eye")
            pictures.append(renderer.render().copy())
    return np.stack(pictures)
