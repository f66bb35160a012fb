"""What the benchmark has on either side: a step that is over when its time is taken."""

from __future__ import annotations

import jax
import pytest

from uniopt.cli.bench import optimizers
from uniopt.cli.bench.by_hand import ByHand
from uniopt.cli.bench.peers import library
from uniopt.cli.bench.sides import Update
from uniopt.cli.bench.sizes import Size


@pytest.mark.parametrize("by_hand", [False, True])
def test_no_part_of_a_step_is_left_to_the_other_side(by_hand: bool) -> None:
    arrays, size = library("jax"), Size("1e6", {"leaf0": (1000, 1000)})  # JAX computes while Python goes on
    side: ByHand | Update = (
        ByHand(arrays, "lion", size.params())
        if by_hand
        else Update(arrays, optimizers.transformation("lion"), size.params())
    )
    side.give(size.gradients(1))
    side.step()
    assert all(x.is_ready() for x in jax.tree.leaves((side._updates, side._state)))
