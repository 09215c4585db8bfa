from __future__ import annotations

import pytest

from espnet_topdown.trainer.fast.threads import do_not_spin


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, {"GOMP_SPINCOUNT": "300"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_what_the_user_has_set_stays(before, after):
    do_not_spin(before)
    assert before == after
