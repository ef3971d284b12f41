"""Is a policy judged, before anybody proposes it, as it would be when it is proposed?"""

from __future__ import annotations

from pathlib import Path

from kit.acme import OLGA_NAME, RELEASE, caller, policy_text
from kit.governed import Governed
from sealpress.rpc.policy import PolicyService
from sealpress.steps._request import Caller
from sealpress.v1.policy_pb2 import DiffPolicyRequest, ValidatePolicyRequest
from sealpress.values import KeyClass


class Olga:
    """Finds that an officer calls."""

    def caller(self, context: object) -> Caller:
        """She does."""
        return caller(OLGA_NAME)


async def test_the_profile_of_the_deployment_is_the_measure(tmp_path: Path) -> None:
    """Where it is `regulated` its floors are errors, and the policy in force differs from itself in nothing."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, profile="regulated") as node:
        await node.begin()
        service = PolicyService(node.flow, node.office, Olga(), node.shared.telemetry)  # type: ignore[arg-type]
        good = policy_text(node.lines)
        low = good.replace("signing    = { quorum = 2", "signing    = { quorum = 1").replace(", min_groups = 2", "")
        same = await service.DiffPolicy(DiffPolicyRequest(policy=good.encode()), None)
        found = await service.ValidatePolicy(ValidatePolicyRequest(policy=low.encode()), None)

        assert [one.text for one in same.differences] == []
        assert [one.code for one in found.findings if one.level == "error"] == ["POLICY"]
