"""A provisioned development node made a governed one, before its first start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from msgspec import structs

from kit.acme import CI, DEPLOYMENT, policy_text
from kit.entropy import SeededEntropy
from kit.governed import Governed
from sealpress.core import leaf
from sealpress.governance import facts as f
from sealpress.tlog.log import Log
from sealpress.tlog.settings import LogSettings
from sealpress.values import KeyClass, RecordType
from sealpress.verify import note
from sealpress.verify.anchors import NAMESPACE
from sealpress.verify.change import encode


def govern(node: Any, line: str, name: str, uses: int) -> str:
    """Make a provisioned, unstarted kit.node.Node a governed one: its log begins as if all had been approved.

    `name` may have `line` signed, and holds a grant of so many uses; its id.
    """
    from sealpress.clock import SystemClock
    from sealpress.config import load
    from sealpress.governance.state import State
    from sealpress.steps._acts import events_of
    from sealpress.wiring import dev

    maker = Governed(node.directory / "unused", lines={line: KeyClass.TEST}, clock=SystemClock())
    document = structs.replace(maker.document(), log=dev.LOG_NAME)
    raw = encode(document)
    (node.directory / "anchors.json").write_bytes(raw)
    armors = tuple(key.sign(raw, NAMESPACE) for key in maker.officers)
    (node.directory / "anchors.sig").write_text("".join(armors))
    keys = {key: {"state": "governed"} for key in load(node.config).key}
    node.configure({"governance": {"deployment": DEPLOYMENT, "signatures": ["anchors.sig"]}, "key": keys})
    id_, section = next((id_, key) for id_, key in load(node.config).key.items() if key.line == line)
    public = note.canonical_spki((node.directory / section.public_key).read_bytes())
    of_line = SimpleNamespace(
        key=id_, name=line, section=section, mode=section.mode, spki=public, key_id=leaf.key_id(public)
    )
    maker.office = SimpleNamespace(state=State(), desk=lambda: SimpleNamespace(new_id=lambda: "G" * 26))  # type: ignore[assignment]
    facts = [
        f.AnchorsAdopted(document=raw.decode(), signatures=armors),
        f.PolicyInForce(body=policy_text({line: KeyClass.TEST}).replace(CI, name)),
        maker.enrolled("workload:builder", name),
        *maker.key_facts(of_line, max_signatures=max(uses, 100_000_000)),  # type: ignore[arg-type]
        maker.moved(id_, "activate"),
        grant := maker.grant(line, uses, identity=name, policy_sha256="0" * 64),
    ]
    log = Log.open(
        LogSettings(node.log_directory, dev.LOG_NAME, 1, write="auto", governance=True), maker.clock, SeededEntropy()
    )
    log.start(None)
    draft = log.draft()
    for event in events_of(facts, document.profile):
        draft.event(RecordType.GOVERNANCE, event)
    log.commit_now(draft)
    log.close()
    return grant.grant
