"""What there is to see of governance: is an answer about nothing told from a question about nothing?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.errors import Malformed
from sealpress.rpc import views
from sealpress.v1 import governance_pb2 as pb

DESK: Any = SimpleNamespace(state=SimpleNamespace(changes={}))


@pytest.mark.parametrize("asked", [{"state": "pending"}, {"state": "in-review"}, {"kind": "key.isue"}])
def test_a_filter_that_no_change_can_pass_is_refused(asked: dict[str, str]) -> None:
    """Whoever misspells it is not told that nothing waits; the hint has the words that there are."""
    assert not views.changes(DESK, pb.ListChangesRequest(state="in_review", kind="key.issue")).changes
    with pytest.raises(Malformed) as caught:
        views.changes(DESK, pb.ListChangesRequest(**asked))

    assert "in_review" in caught.value.hint or "key.issue" in caught.value.hint
