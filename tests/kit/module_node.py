"""A node whose keys are on the token of another maker's PKCS#11 module: `with ModuleNode(Remoting) as node`."""

from __future__ import annotations

import shutil
import tomllib
from contextlib import ExitStack

import tomli_w

from kit.modules import KINDS, LineKind, Module
from kit.node import Node
from sealpress.values import Mode
from sealpress.verify.note import canonical_spki, line_key
from sealpress.wiring import dev


class ModuleNode(Node):
    """A development node whose only slot is a token of another module, with a line for each key on it."""

    def __init__(self, kind: type[Module]) -> None:
        """Signer and daemon run when this returns."""
        self._stack = ExitStack()
        super().__init__(start=False)
        place = self.directory / "token"  # where a development node has its SoftHSM token and SOFTHSM2_CONF points
        shutil.rmtree(place)
        place.mkdir()
        try:
            self.module = self._stack.enter_context(kind(place))
            self._environment |= self.module.env
            self._write()
        except BaseException:
            self.close()
            raise
        self.start_all()

    @property
    def lines(self) -> list[LineKind]:
        """The lines that the module signs for."""
        return [kind for kind in KINDS if kind.name in self.module.keys]

    def close(self) -> None:
        """First who signs, then what they sign with."""
        for command in ("serve", "signer"):
            if command in self.children:
                self.stop(command)
        self._stack.close()
        super().close()

    def _write(self) -> None:
        """Slot, keys, lines and trust of this token, instead of those of the development node."""
        module = self.module
        slot = {"module": module.path(), "label": module.label, "pin_file": "token/pin", "sessions": 4}
        config = tomllib.loads(self.config.read_text())
        config["slot"] = {"token": slot | ({"reserved": module.reserved} if module.reserved else {})}
        config["key"] = {}
        policy = tomllib.loads((self.directory / "policy.toml").read_text())
        (rule, *_) = (line["rule"] for line in policy["line"].values())
        policy["line"] = {}
        for number, kind in enumerate(KINDS, start=1):
            if kind in self.lines:
                self.public_key(kind.line).write_text(module.keys[kind.name])
                signs = {"mode": kind.mode.value, "format": kind.format.value, "class": "test"}
                names = {"cka_id": f"{number:02x}", "cka_label": kind.name}
                where = {"log": "ci", "slots": ["token"], "line": kind.line}
                config["key"][kind.name] = signs | where | names | {"public_key": str(self.public_key(kind.line))}
                policy["line"][kind.line] = signs | {"digest_algs": [kind.digest], "rule": rule}
                self._trust(kind)
        self.config.write_text(tomli_w.dumps(config))
        (self.directory / "policy.toml").write_text(tomli_w.dumps(policy))

    def _trust(self, kind: LineKind) -> None:
        if kind.mode is Mode.PROOF:
            log = self.trust_file().read_text().split()[1]
            spki = canonical_spki(self.module.keys[kind.name].encode())
            line = line_key(f"{dev.LOG_NAME}/{kind.line}", spki)
            self.trust_file(kind.line).write_text(f"log {log}\nwitness line {line.vkey}\nquorum line\n")
