"""How a set's states follow its actions, as a linear model that one episode can be held against.

    s[t+1] - s[t]  =  W · [a[t+δ], s[t], 1]

Where action and state name the same dimensions (commanded and measured joints) every dimension has its own three
coefficients; otherwise all actions and states explain every state. W and the delay δ are least squares over the
*other* episodes of the set: per-episode sums of products are small, add up, and can be taken out again. Shifting an
episode's actions against this model shows its own delay far more sharply than a cross-correlation of smooth
motions does: the latter's peak moved by ± 3 frames between clean episodes of one set, this one's by ± 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotators.quality.reference import pack, unpack
from annotators.quality.view import Signal, View
from dataengine.runs import runs

DELAYS = range(7)
RIDGE = 1e-3
SHORTEST = 12
WIDEST = 128
# A frame that the model misses by more than this many variances is broken in itself, a jump or an offset; it counts
# no more than this, wherever the actions stand.
WORST = 9.0
# Up to here every episode is tried for leaving out; that costs the square of their number.
SMALL_SET = 32
# A set's model means something when it explains this much in all, in units of one fully explained dimension.
LEAST = 0.8


@dataclass(frozen=True)
class Pairing:
    """An episode's action `(T, A)` and state `(T, S)`. paired: action dimension i commands state dimension i."""

    action: np.ndarray
    state: np.ndarray
    paired: bool

    def reversed(self) -> Pairing:
        return Pairing(self.action[::-1], self.state[::-1], self.paired)


def pairing(view: View, part: Mapping[str, Any] | None = None) -> Pairing | str:
    """Action and state of an episode, or why there is nothing to compare; related as the set's `part` relates them."""
    action, state = view.main("action"), view.main("state")
    if action is None or state is None:
        return "there is no action" if action is None else "there is no state"
    if len(view) < SHORTEST:
        return f"{len(view)} frames are too few"
    if (matched := same_dimensions(action, state)) is not None:
        return Pairing(action.unwrapped[:, matched[0]], state.unwrapped[:, matched[1]], paired=True)
    width = action.values.shape[1]
    leading = part["paired"] if part is not None else _targets(action.values, state.values[:, :width])
    if width < state.values.shape[1] and leading:
        return Pairing(action.values, state.values[:, :width], paired=True)
    if width + state.values.shape[1] >= WIDEST:
        return "action and state are too wide to relate"
    return Pairing(action.values, state.values, paired=False)


def same_dimensions(action: Signal, state: Signal) -> tuple[list[int], list[int]] | None:
    """Dimensions of the action and of the state that are one thing commanded and measured.

    Those of one name, if that is half of either; without names, all of two columns of one width.
    """
    if action.named and state.named:
        where = {name: at for at, name in enumerate(state.names)}
        common = [(at, where[name]) for at, name in enumerate(action.names) if name in where]
        if 2 * len(common) >= min(len(action.names), len(state.names)):
            return [a for a, _ in common], [s for _, s in common]
        return None
    every = list(range(len(action.names)))
    return (every, every) if len(action.names) == len(state.names) else None


def _targets(action: np.ndarray, state: np.ndarray) -> bool:
    """Whether actions look like targets for these states, as a pusher's goal for its leading two of five states.

    They run together (correlation above 0.7) and stay within one deviation of the state, in most dimensions.
    """
    if action.shape != state.shape:
        return False
    close = np.sqrt(((action - state) ** 2).mean(axis=0)) < state.std(axis=0)
    return bool(np.mean(close & (correlation(action, state) > 0.7)) > 0.5)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column of `(n, D)` with its counterpart; 0 where one does not move."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    power = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), power, out=np.zeros_like(power), where=power > 1e-12)


@dataclass(frozen=True)
class Sums:
    """Sums of products of inputs X `(n, B, p)` and outputs Y `(n, B, q)`: B regressions side by side."""

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    n: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy, self.n + other.n)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.xx - other.xx, self.xy - other.xy, self.yy - other.yy, self.n - other.n)

    def solve(self) -> np.ndarray:
        """`(B, p, q)` coefficients, ridge relative to each input's own power."""
        power = np.einsum("bpp->bp", self.xx)
        damped = self.xx + np.eye(self.xx.shape[-1]) * (RIDGE * power + 1e-12)[:, None, :]
        return np.linalg.solve(damped, self.xy)

    def without_actions(self) -> Sums:
        """The same regressions from the state alone; inputs stand as actions, states, one."""
        actions = self.xx.shape[-1] - self.xy.shape[-1] - 1
        return Sums(self.xx[:, actions:, actions:], self.xy[:, actions:], self.yy, self.n)

    def error(self, weights: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """`(B, q)` mean squared error of coefficients on these data, over `variance`."""
        explained = 2 * np.einsum("bpq,bpq->bq", weights, self.xy)
        explained -= np.einsum("bpq,bpr,brq->bq", weights, self.xx, weights)
        return (self.yy - explained) / max(self.n, 1) / variance

    @property
    def variance(self) -> np.ndarray:
        return self.yy / max(self.n, 1) + 1e-12


def _rows(data: Pairing, shift: int, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X `(n, B, p)` and Y `(n, B, q)` with actions taken `shift` frames later; `margin` keeps n equal over shifts.

    Frames in which the state stands still to the last bit, and the step out of them, say nothing: they are a rest or
    a freeze, and a freeze must not hide how the others follow.
    """
    action, state = data.action, data.state
    t = np.arange(max(0, -shift), len(state) - max(1, shift, margin))
    t = t[_moving(state)[t]]
    change = state[t + 1] - state[t]
    one = np.ones((len(t), state.shape[1] if data.paired else 1, 1))
    if data.paired:
        return np.concatenate([action[t + shift, :, None], state[t][..., None], one], axis=-1), change[..., None]
    return np.concatenate([action[t + shift][:, None], state[t][:, None], one], axis=-1), change[:, None]


def _moving(state: np.ndarray) -> np.ndarray:
    """`(T,)` bool: frame t and its successor are no part of a repeat of three frames or more."""
    free = np.ones(len(state), bool)
    repeats = np.concatenate([[False], (state[1:] == state[:-1]).all(axis=1)])
    for start, stop in runs(repeats):
        if stop - start >= 3:
            free[start - 1 : stop] = False
    return free


def sums(data: Pairing, delay: int) -> Sums:
    x, y = _rows(data, delay, margin=DELAYS[-1] if data.paired else 0)
    return Sums(
        np.einsum("nbp,nbr->bpr", x, x), np.einsum("nbp,nbq->bpq", x, y), np.einsum("nbq,nbq->bq", y, y), len(x)
    )


def measure(data: Pairing) -> dict[str, Any]:
    """JSON-able sums of one episode for every delay worth trying."""
    each = [sums(data, delay) for delay in (DELAYS if data.paired else DELAYS[:1])]
    return {
        "paired": data.paired,
        "n": each[0].n,
        "xx": pack(np.stack([s.xx for s in each])),
        "xy": pack(np.stack([s.xy for s in each])),
        "yy": pack(np.stack([s.yy for s in each])),
    }


def _restore(data: Mapping[str, Any]) -> list[Sums]:
    parts = zip(unpack(data["xx"]), unpack(data["xy"]), unpack(data["yy"]), strict=True)
    return [Sums(xx, xy, yy, data["n"]) for xx, xy, yy in parts]


def fit(measures: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The set's model: total sums at the best delay, which episodes are in them, and which outputs it explains.

    Broken episodes must not bend the measure the others are held against: as long as leaving one out makes the
    remaining ones explain each other better by a tenth, it is left out (up to a third of a small set; one among
    hundreds does no harm).
    """
    given = {k: m for k, m in measures.items() if m is not None}
    shapes = [tuple(m["xx"]["shape"]) + tuple(m["yy"]["shape"]) for m in given.values()]
    if not shapes:
        return None
    usual = max(set(shapes), key=shapes.count)
    each = {k: _restore(m) for (k, m), shape in zip(given.items(), shapes, strict=True) if shape == usual}
    delay, kept, explained = _best_delay(each, list(each))
    for _ in range(len(each) // 3 if len(each) <= SMALL_SET else 0):
        tried = [_best_delay(each, [k for k in kept if k != out]) for out in kept]
        best = max(tried, key=lambda found: found[2].sum())
        if best[2].sum() < 1.1 * explained.sum():
            break
        delay, kept, explained = best
    total = _total(each[k][delay] for k in kept)
    return {
        "paired": bool(given[kept[0]]["paired"]),
        "delay": delay,
        "used": kept,
        "n": total.n,
        "explained": pack(np.where(explained < 0.05, 0, explained)),
        "xx": pack(total.xx),
        "xy": pack(total.xy),
        "yy": pack(total.yy),
    }


def _best_delay(each: Mapping[str, list[Sums]], kept: list[str]) -> tuple[int, list[str], np.ndarray]:
    """The delay with the least error over the kept episodes, and what their model explains at it `(B, q)`."""
    totals = [_total(parts) for parts in zip(*(each[k] for k in kept), strict=True)]
    errors = [float(np.mean(total.error(total.solve(), total.variance))) for total in totals]
    delay = int(np.argmin(errors))
    with_actions = _left_out({k: each[k][delay] for k in kept})
    alone = _left_out({k: each[k][delay].without_actions() for k in kept})
    gained = np.clip(np.minimum(alone, 1) - with_actions, -1, 1).mean(axis=0)
    return delay, kept, np.clip(gained, 0, 1)


def _left_out(each: Mapping[str, Sums]) -> np.ndarray:
    """`(N, B, q)` every episode's error under the model of the others."""
    total = _total(each.values())
    alone = len(each) == 1
    return np.stack([own.error((total if alone else total - own).solve(), total.variance) for own in each.values()])


def _total(parts: Iterable[Sums]) -> Sums:
    found: Sums | None = None
    for part in parts:
        found = part if found is None else found + part
    assert found is not None
    return found


@dataclass(frozen=True)
class Model:
    """The model of an episode's peers.

    importance `(B, q)`: the share of each output that the actions explain, beyond the state, in unseen episodes.
    """

    weights: np.ndarray
    variance: np.ndarray
    importance: np.ndarray
    delay: int
    episodes: int

    def errors(self, data: Pairing, shifts: Iterable[int]) -> np.ndarray:
        """`(n,)` error when actions are taken `shift` frames later than usual; NaN where too few frames remain."""
        found = []
        for shift in shifts:
            x, y = _rows(data, self.delay + shift)
            if len(x) < SHORTEST // 2:
                found.append(np.nan)
                continue
            residual = (y - np.einsum("nbp,bpq->nbq", x, self.weights)) ** 2 / self.variance
            error = np.minimum(residual, WORST).mean(axis=0)
            found.append(float((error * self.importance).sum() / self.importance.sum()))
        return np.array(found)


def model_of_peers(part: Mapping[str, Any] | None, episode: str, data: Pairing) -> Model | str:
    """The model fitted without this episode, or why there is none."""
    if part is None or part["paired"] != data.paired:
        return "the set was learned from other columns"
    total = Sums(unpack(part["xx"]), unpack(part["xy"]), unpack(part["yy"]), part["n"])
    others = len(part["used"])
    if episode in part["used"]:
        total, others = total - sums(data, part["delay"]), others - 1
    importance = unpack(part["explained"])
    if others < 1:
        return "there is no other episode"
    if total.xx.shape[-1] != (3 if data.paired else data.action.shape[1] + data.state.shape[1] + 1):
        return "the set was learned from other columns"
    if importance.sum() < LEAST:
        return "in this set the actions do not explain the states"
    return Model(total.solve(), total.variance, importance, part["delay"], others)
