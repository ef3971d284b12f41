"""The witnesses of a node put together, and what they are asked before anything is signed.

Guarantees: a held key has a quorum to wait for, or the node does not start; at a start every witness that answers is
shown the head at the signer's mark, before the log is touched: one that has seen more leaves, or others, ends the start
with Damaged (3). Does not: wait for witnesses that do not answer: they are asked again while the node runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sealpress.config import HELD, Config
from sealpress.errors import CannotStart, ConfigError, Refusal
from sealpress.governance.snapshot import Snapshot
from sealpress.hsm.signers import Signers
from sealpress.hsm.status import Mark
from sealpress.ports import Clock
from sealpress.rpc.witness import HttpWitnesses
from sealpress.steps._witnesses import Witnesses
from sealpress.telemetry import Telemetry
from sealpress.tlog.log import Log
from sealpress.verify.note import checkpoint_text
from sealpress.verify.policy import load_witnesses


class NodeWitnesses:
    """Those of [witness], and the way to them."""

    def __init__(self, config: Config, path_of: Callable[[str], Path], clock: Clock, telemetry: Telemetry) -> None:
        """ConfigError if policy and keys do not go together."""
        section = config.witness
        assert section is not None
        policy = load_witnesses(path_of(section.policy))
        for id_, key in config.key.items():
            log = config.log.get(key.log)
            if key.hold == HELD and log is not None and not policy.covers(f"{log.name}/{log.number}"):
                raise ConfigError(f"[key.{id_}] is held, and the witness policy does not name its log")
            if key.hold == HELD and policy.satisfied(()):
                raise ConfigError(
                    f"[key.{id_}] is held, and the witness policy's quorum is `none`", hint="name a witness or a group"
                )
        self._port = HttpWitnesses(policy, section.timeout_ms)
        self.of_logs = Witnesses(policy, self._port, clock, telemetry, section.clock_ahead_s_max)

    async def compare(self, logs: Mapping[str, Log], link: Signers, marks: Mapping[str, Mark]) -> None:
        """Show them the head at each log's mark; Damaged WITNESS_AHEAD or WITNESS_DISAGREES."""
        for id_, log in logs.items():
            mark = marks[log.origin]
            if not mark.size or not self.of_logs.policy.covers(log.origin):
                continue
            try:
                # The guard accepted this very head before: its log key says nothing new.
                sealed = await link.seal(log.origin, mark.size, [])
            except Refusal as error:
                if error.reason == "STOPPED":
                    continue  # it signs nothing at all
                raise CannotStart(error.message, reason="SIGNER_UNREACHABLE", hint=error.hint) from error
            text = checkpoint_text(log.origin, mark.size, mark.root)
            await self.of_logs.compare(log, id_, mark.size, text + b"\n" + sealed.log_signature_line)

    async def close(self) -> None:
        """Ask nobody any more."""
        await self.of_logs.close()
        await self._port.close()


def check(config: Config, snapshot: Snapshot) -> None:
    """Held keys and lines have witnesses, and lines that the policy file holds have held keys; ConfigError."""
    held = {key.line for key in config.key.values() if key.hold == HELD}
    for id_, key in config.key.items():
        if key.hold == HELD and config.witness is None:
            raise ConfigError(
                f'[key.{id_}] hold = "{HELD}" needs [witness]', hint="[witness] policy = a tlog-policy file"
            )
    for line, rules in snapshot.lines.items():
        if rules.held and line not in held:
            raise ConfigError(
                f'policy: [line."{line}"] has hold = "{HELD}", and its key has not',
                hint=f'[key.<id>] hold = "{HELD}", here and in the signer\'s configuration, which enforces it',
            )
