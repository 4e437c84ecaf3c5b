"""How a forest is grown: its settings by the likelihood of rows held out, so that it follows what holds and learns no row by heart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...parts import part
from ...stream import F64, Stream
from ...tables import Table
from .empirical import fit_marginals
from .forest import F32, Classes, Conditional, Forest, code_of
from .marginal import Marginal
from .scaling import order_categories

TREES = 24
SETTINGS = ((0.5, 40), (0.5, 10), (1.0, 5), (0.5, 150))
"""What is tried for each column: the share of columns that a split may choose from, and the rows that a leaf holds at least."""
SHRINKS = (0.25, 4.0, 24.0, 80.0, 240.0)
HELD = 0.2
"""The share of rows that the settings are judged on."""
TRIAL_TREES = 2
_TRIAL_ROWS = 25_000
_DRAWN = 100_000
DEEPEST = 60
"""Levels of a tree at most: thousands of categories in no order would make thousands of levels."""
ROWS = 500_000
"""Rows that trees are grown from at most; the marginals see every row."""
BOOSTED = 3
"""A column of at most so many classes, missing among them, is learnt by boosting where each class has `_BOOSTED_ROWS` rows."""
_BOOSTED_ROWS = 30
COPIES = 2
TARGET_CLASSES = 10
TARGET_COPIES = 6
COPY_LEAF = 4
SLOTS = 128
"""A copied leaf keeps its distribution as this many codes."""


def fit_forest(table: Table, stream: Stream, trees: int = TREES, target: str | None = None, given: int = 0) -> Forest:
    """Learn a table with so many trees for each column. Raises UserError for an empty table or a column of a type that cannot be learnt.

    With a `target`, that column is drawn last, given all others, and by boosting if it has at most `TARGET_CLASSES` classes. The first `given`
    columns are taken to be told whenever rows are drawn: nothing is learnt about how they go together.

    How much each column's trees are held back is settled by the likelihood of rows held out: a column that follows from others gets
    trees that follow every detail, one that hangs on nothing gets few leaves and much shrinkage, so that no row is learnt by heart.
    """
    from threadpoolctl import threadpool_limits

    marginals, codes = encode(table)
    # one thread: sums of floats must not hang on how many there are
    with threadpool_limits(1):
        return _fit(marginals, codes, stream, trees, target, given)


def _fit(
    marginals: tuple[Marginal, ...],
    codes: list[NDArray[np.int64]],
    stream: Stream,
    trees: int,
    wanted: str | None,
    given: int,
) -> Forest:
    # a stable sort: the others keep their order
    order = tuple(sorted(range(len(marginals)), key=lambda n: marginals[n].name == wanted))
    if len(codes[0]) > ROWS:
        kept = np.sort(np.argpartition(stream.child("rows").bits(np.arange(len(codes[0]))), ROWS)[:ROWS])
        codes = [c[kept] for c in codes]
    x = np.stack([codes[n] for n in order], axis=1).astype(np.float32)
    made: list[Conditional] = []
    for k, n in enumerate(order):

        def grow(k: int = k, n: int = n) -> Conditional:
            names = stream.child(marginals[n].name)
            target = Classes.of(marginals[n]).of_codes(codes[n])
            if k == 0 or k < given or (target == target[0]).all():
                return _root(codes[n])
            before = np.ascontiguousarray(x[:, :k])
            counts = np.unique(codes[n], return_counts=True)[1]
            aimed = marginals[n].name == wanted
            if len(counts) <= (TARGET_CLASSES if aimed else BOOSTED) and counts.min() >= _BOOSTED_ROWS:
                # columns that are told are never drawn
                drawn = before[:0] if given else _drawn(made, 2 * len(before), stream.child("drawn", k))
                return _distilled(before, drawn, codes[n], names.child("boost"), TARGET_COPIES if aimed else COPIES)
            share, leaf, shrink = _settled(before, target, names.child("trial"))
            return _join([_grown(before, codes[n], target, names.child(t), share, leaf) for t in range(trees)], shrink)

        made.append(Conditional(*part(f"column {n}", lambda grow=grow: list(vars(grow()).values()))))
    return Forest(marginals, order, tuple(made))


def _drawn(conditionals: Sequence[Conditional], n: int, stream: Stream) -> F32:
    """Rows of the columns learnt so far."""
    x = np.zeros((min(n, _DRAWN), 1 + len(conditionals)), np.float32)
    for k, conditional in enumerate(conditionals):
        x[:, k + 1] = conditional.draw(x, stream.child(k).uniform(np.arange(len(x))))[0]
    return x[:, 1:]


def _distilled(x: F32, drawn: F32, codes: NDArray, stream: Stream, copies: int) -> Conditional:
    """A column of few classes: trees that copy what gradient boosting foretells, over real rows and drawn ones.

    Boosting knows more about a class than a forest of this size but is slow to draw from; a tree that copies its scores is not ("born-again
    trees", as in Vidal and Schiffer 2020, ICML, arXiv:2003.11132).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeRegressor

    booster: Any = HistGradientBoostingClassifier
    boosted = booster(
        max_iter=200, learning_rate=0.08, early_stopping=True, n_iter_no_change=10, random_state=_seed(stream)
    ).fit(x, codes)
    over = np.concatenate((x, drawn))
    p = np.clip(boosted.predict_proba(over), 1e-9, 1.0)
    score = np.log(p[:, 1:] / p[:, :1])
    made = []
    for t in range(copies):
        names = stream.child(t)
        grown = DecisionTreeRegressor(max_depth=DEEPEST, min_samples_leaf=COPY_LEAF, random_state=_seed(names))
        tree: Any = grown.fit(over, score).tree_
        at = tree.apply(over)
        mean = np.stack([np.bincount(at, p[:, c], tree.node_count) for c in range(p.shape[1])], axis=1)
        leaf = tree.children_left < 0
        share = np.cumsum(mean[leaf] / mean[leaf].sum(axis=1, keepdims=True), axis=1)[:, :-1]
        # slots at one random offset for each leaf: right on average over trees
        slot = (np.arange(SLOTS) + names.child("slots").uniform(np.flatnonzero(leaf))[:, None]) / SLOTS
        held = boosted.classes_[(slot[:, :, None] > share[:, None, :]).sum(axis=2)]
        made.append(_part(tree, np.where(leaf, SLOTS, 0), held.ravel()))
    return _join(made, 0.0)


def _settled(x: F32, target: NDArray, stream: Stream) -> tuple[float, int, float]:
    """The share of columns, the leaf size and the shrinkage under which rows held out are likeliest."""
    rank = np.argsort(stream.child("rows").bits(np.arange(len(target))))[:_TRIAL_ROWS]
    held, kept = rank[: int(len(rank) * HELD)], rank[int(len(rank) * HELD) :]
    if not len(held) or (target[kept] == target[kept[0]]).all():
        return (*SETTINGS[0], SHRINKS[-1])
    classes = int(target.max()) + 1
    best, least = (*SETTINGS[0], SHRINKS[-1]), np.inf
    for share, leaf in SETTINGS:
        if 2 * leaf > len(kept):
            continue
        likely = np.zeros((len(SHRINKS), len(held)))
        for t in range(TRIAL_TREES):
            tree = _tree(x[kept], target[kept], stream.child(t), share, leaf)
            counts = np.zeros((tree.tree_.node_count, classes))
            counts[:, tree.classes_] = tree.tree_.value[:, 0] * tree.tree_.n_node_samples[:, None]
            at = tree.tree_.apply(x[held])
            for s, shrink in enumerate(SHRINKS):
                likely[s] += _shrunk(tree.tree_, counts, shrink)[at, target[held]] / TRIAL_TREES
        for shrink, loss in zip(SHRINKS, -np.log(likely).mean(axis=1), strict=True):
            # a tie goes to what holds back more
            if loss < least - 1e-4:
                best, least = (share, leaf, shrink), loss
    return best


def _shrunk(tree: Any, counts: F64, shrink: float) -> F64:
    """The class distribution of each node, shape (nodes, classes), drawn towards its parent's."""
    p = (counts + shrink * (counts[0] + 0.5) / (counts[0] + 0.5).sum()) / (counts.sum(axis=1, keepdims=True) + shrink)
    p[0] = (counts[0] + 0.5) / (counts[0] + 0.5).sum()
    level = np.array([0])
    while len(level := level[tree.children_left[level] >= 0]):
        for children in (tree.children_left[level], tree.children_right[level]):
            n = counts[children].sum(axis=1, keepdims=True)
            p[children] = (counts[children] + shrink * p[level]) / (n + shrink)
        level = np.concatenate((tree.children_left[level], tree.children_right[level]))
    return p


def encode(table: Table) -> tuple[tuple[Marginal, ...], list[NDArray[np.int64]]]:
    """The marginals, with categories in an order that tells about the other columns, and each column's codes."""
    marginals = fit_marginals(table)
    pieces = [m.locate(table[m.name]) for m in marginals]
    marginals = order_categories(marginals, pieces)
    return marginals, [code_of(m, table[m.name]) for m in marginals]


def _seed(stream: Stream) -> int:
    return int(stream.bits(np.zeros(1, np.uint64))[0] >> np.uint64(33))


def _tree(x: F32, target: NDArray, stream: Stream, share: float, leaf: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        criterion="entropy", max_depth=DEEPEST, min_samples_leaf=leaf, max_features=share, random_state=_seed(stream)
    )
    with warnings.catch_warnings():
        # of a few rows, most may be classes of their own
        warnings.filterwarnings("ignore", message="The number of unique classes")
        return tree.fit(x, target)


def _root(codes: NDArray) -> Conditional:
    """No condition: one leaf with all rows."""
    none, start = np.array([-1], np.int32), np.array([0, len(codes)])
    return Conditional(1, 0.0, none, none, none - 1, np.zeros(1, np.float32), start, np.sort(codes).astype(np.int32))


def _grown(x: F32, codes: NDArray, target: NDArray, stream: Stream, share: float, leaf: int) -> Conditional:
    """One tree over all rows."""
    tree = _tree(x, target, stream, share, leaf).tree_
    at = tree.apply(x)
    return _part(tree, np.bincount(at, minlength=tree.node_count), codes[np.lexsort((codes, at))])


def _part(tree: Any, sizes: NDArray, codes: NDArray) -> Conditional:
    """A tree with the codes of its leaves, in order of the nodes."""
    feature = np.where(tree.children_left < 0, -2, tree.feature)
    left, right, feature, codes = (
        a.astype(np.int32) for a in (tree.children_left, tree.children_right, feature, codes)
    )
    start = np.concatenate(([0], np.cumsum(sizes)))
    return Conditional(1, 0.0, left, right, feature, tree.threshold.astype(np.float32), start, codes)


def _join(trees: Sequence[Conditional], shrink: float) -> Conditional:
    """Trees under one root: the levels above them split by the number of the tree, feature 0."""
    parts = [(t.left, t.right, t.feature, t.threshold, np.diff(t.start), t.codes) for t in trees]
    above: list[tuple[int, int, float]] = []
    offsets = np.cumsum([0, *(len(p[0]) for p in parts)]) + len(parts) - 1

    def build(low: int, high: int) -> int:
        if high - low == 1:
            return int(offsets[low])
        middle = (low + high) // 2
        at = len(above)
        above.append((0, 0, 0.0))
        above[at] = (build(low, middle), build(middle, high), middle - 0.5)
        return at

    build(0, len(parts))
    top = np.array(above, dtype=np.float64).reshape(-1, 3)
    left = [np.where(p[0] < 0, -1, p[0] + o) for p, o in zip(parts, offsets, strict=False)]
    right = [np.where(p[1] < 0, -1, p[1] + o) for p, o in zip(parts, offsets, strict=False)]
    feature = [np.where(p[2] < 0, -2, p[2] + 1) for p in parts]
    sizes = np.concatenate([np.zeros(len(top), np.int64), *(p[4] for p in parts)])
    return Conditional(
        len(parts),
        shrink,
        np.concatenate([top[:, 0], *left]).astype(np.int32),
        np.concatenate([top[:, 1], *right]).astype(np.int32),
        np.concatenate([np.zeros(len(top)), *feature]).astype(np.int32),
        np.concatenate([top[:, 2], *(p[3] for p in parts)]).astype(np.float32),
        np.concatenate(([0], np.cumsum(sizes))),
        np.concatenate([p[5] for p in parts]),
    )
