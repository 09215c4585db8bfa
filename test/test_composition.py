from __future__ import annotations

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.search.composition import Composition


def every(n: int) -> list[Composition]:
    found = [Composition((n,))]
    for node in found:
        found += [c for c in node.children if c not in found]
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_tree_holds_every_composition_once(n):
    nodes = every(n)
    assert len(nodes) == 2 ** (n - 1) == len(set(nodes))
    assert all(c.n == n for c in nodes)
    assert sorted(c.rank for c in nodes) == list(range(2 ** (n - 1)))


@pytest.mark.parametrize(
    "text, n_frozen, parent, math",
    [
        ("m5", 0, None, "M_{5}"),
        ("m1.4", 1, "m5", "M_{1,4}"),
        ("m1.1.3", 2, "m1.4", "M_{1,1,3}"),
        ("m2.3", 2, "m5", "M_{2,3}"),
        ("m1.1.1.1.1", 4, "m1.1.1.2", "M_{1,1,1,1,1}"),
    ],
)
def test_words_of_the_paper(text, n_frozen, parent, math):
    node = Composition.parse(text)
    assert str(node) == text
    assert node.n_frozen == n_frozen
    assert (str(node.parent) if node.parent else None) == parent
    assert node.math == math


def test_parent_of_every_child_is_the_node():
    for node in every(6):
        assert all(child.parent == node for child in node.children)


def test_ancestry_starts_at_joint_training():
    node = Composition.parse("m1.1.3")
    assert [str(c) for c in node.ancestry] == ["m5", "m1.4", "m1.1.3"]


@pytest.mark.parametrize(
    "text", ["", "m", "5", "m0.5", "m1..4", "m1.4 ", "m-1", "m1/4"]
)
def test_text_that_is_no_composition(text):
    with pytest.raises(TopDownError, match="E_COMPOSITION"):
        Composition.parse(text)


@pytest.mark.parametrize("parts", [(), (0,), (1, -1)])
def test_parts_are_positive(parts):
    with pytest.raises(ValueError):
        Composition(parts)
