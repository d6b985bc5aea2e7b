"""Trains boosted trees in numpy: quantile bins, one depth, leaves shrunk, columns that may only rise or fall."""

from typing import Any

import numpy as np

SHRINK, LEAST, ROWS, COLUMNS, RATE = 5.0, 8.0, 0.7, 0.5, 0.1


def sigmoid(value: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))


def train(x: Any, y: Any, w: Any, *, trees: int, depth: int, direction: Any, seed: int = 0) -> dict[str, Any]:
    """Return the weights of a `Trees`; direction: 1 a column may only raise, -1 only lower, 0 both."""
    dice = np.random.default_rng(seed)
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, 25)[1:-1])) for column in x.T]
    binned = np.stack([np.searchsorted(edge, column, side="right") for edge, column in zip(edges, x.T)], axis=1)
    base = float(np.log((w @ y) / (w @ (1 - y))))
    raw = np.full(len(x), base)
    grown: dict[str, Any] = {"base": base, "columns": [], "limits": [], "leaves": []}
    for _ in range(trees):
        chance = sigmoid(raw)
        slopes = np.stack([w * (y - chance), w * chance * (1 - chance)])
        some = dice.random(len(x)) < ROWS
        usable = np.flatnonzero(dice.random(x.shape[1]) < COLUMNS)
        columns, limits, node = _grow(binned, slopes, some, usable, edges, depth, direction)
        sums = [np.bincount(node[some], slope[some], 2**depth) for slope in slopes]
        leaves = RATE * sums[0] / (sums[1] + SHRINK)
        raw += leaves[node]
        grown["columns"].append(columns)
        grown["limits"].append([round(limit, 6) for limit in limits])
        grown["leaves"].append([round(float(leaf), 5) for leaf in leaves])
    return grown


def _grow(binned: Any, slopes: Any, some: Any, usable: Any, edges: Any, depth: int, direction: Any) -> Any:
    columns: list[int] = []
    limits: list[float] = []
    node = np.zeros(len(binned), dtype=np.int64)
    for level in range(depth):
        count = 2**level
        column, place = _split(binned[some], slopes[:, some], node[some], usable, edges, count, direction)
        columns += column.tolist()
        limits += [float(edges[c][p]) if p < len(edges[c]) else 1e9 for c, p in zip(column, place)]
        node = 2 * node + (binned[np.arange(len(binned)), column[node]] > place[node])
    return columns, limits, node


def _split(binned: Any, slopes: Any, node: Any, usable: Any, edges: Any, count: int, direction: Any) -> Any:
    """Return the best column and bin of every node of a level; a node that nothing splits sends all to the left."""
    width = 25
    best, column, place = np.zeros(count), np.zeros(count, dtype=np.int64), np.full(count, 10**6)
    for number in usable:
        at = node * width + binned[:, number]
        first, second = (np.bincount(at, slope, count * width).reshape(count, width).cumsum(1) for slope in slopes)
        gain = _gain(first, second, direction[number])[:, : len(edges[number])]
        if not gain.shape[1]:
            continue
        top = gain.argmax(1)
        value = gain[np.arange(count), top]
        better = value > best
        best[better], column[better], place[better] = value[better], number, top[better]
    return column, place


def _gain(first: Any, second: Any, direction: int) -> Any:
    whole, heavy = first[:, -1:], second[:, -1:]
    left, right = first / (second + SHRINK), (whole - first) / (heavy - second + SHRINK)
    gain = left * first + right * (whole - first) - whole**2 / (heavy + SHRINK)
    bad = (second < LEAST) | (heavy - second < LEAST)
    if direction:
        bad |= direction * (right - left) < 0
    gain[bad] = 0
    return gain
