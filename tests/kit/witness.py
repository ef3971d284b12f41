"""A witness of C2SP tlog-witness, written from its text: shares no code with the client, the log or the signer.

    with Witness("w1", {vkey of the log}) as one: … one.url, one.vkey
    one.stall()  one.lie("size")  one.wake()

It keeps for each origin the head that it cosigned last, checks the log's signature and the RFC 9162 consistency proof,
and answers 200, 400, 403, 404, 409, 422 as the text says.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """RFC 9162, 2.1.4.2: the tree of `new` leaves begins with the one of `old`."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0 or old > new or (not proof and old & (old - 1)):
        return old == 0 and not proof
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path.pop(0)
    for c in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = sha(b"\x01" + c + fr), sha(b"\x01" + c + sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha(b"\x01" + sr + c)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == new_root and sn == 0


class Answer(Exception):
    """An HTTP answer."""

    def __init__(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        """`kind` is the Content-Type."""
        super().__init__(status)
        self.status, self.body, self.kind = status, body, kind


class Witness:
    """One witness on a port of this machine."""

    def __init__(self, name: str, logs: set[str] | None = None, port: int = 0) -> None:
        """`logs`: vkeys of the logs it knows; `know` adds more."""
        self.name = f"{name}.example/witness"
        self._private = Ed25519PrivateKey.generate()
        self._key = b"\x04" + self._private.public_key().public_bytes_raw()
        self.logs: dict[str, tuple[bytes, Ed25519PublicKey]] = {}
        for vkey in logs or ():
            self.know(vkey)
        self.heads: dict[str, tuple[int, bytes]] = {}  # cosigned last, by origin
        self.seen: list[tuple[str, int, bytes]] = []  # every head that it cosigned
        self.asked = 0
        self.mood = ""
        self._awake = threading.Event()
        self._awake.set()
        self._atomic = threading.Lock()
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                witness.serve(self)

            def log_message(self, *args: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    # ---- for the test ----

    @property
    def url(self) -> str:
        """The submission prefix."""
        return f"http://127.0.0.1:{self.port}/sub"

    @property
    def key_id(self) -> bytes:
        """Of the cosigner's key."""
        return sha(self.name.encode() + b"\n" + self._key)[:4]

    @property
    def vkey(self) -> str:
        """As a policy file wants it."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._key).decode()}"

    def know(self, vkey: str) -> None:
        """Witness this log."""
        origin, key_id, material = vkey.split("+", 2)
        raw = base64.b64decode(material)
        assert raw[0] == 1
        self.logs[origin] = bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])

    def stall(self) -> None:
        """Take requests and do not answer."""
        self._awake.clear()

    def wake(self) -> None:
        """Answer again, and truly."""
        self.mood = ""
        self._awake.set()

    def lie(self, mood: str) -> None:
        """`text`, `time`, `name`, `key`, `garbage`: a wrong cosignature; `503`, `302`, `huge`, `409`, `422`, `size`."""
        self.mood = mood

    def signature(self, text: bytes, at: int) -> bytes:
        """Time and cosignature of a checkpoint's text."""
        return at.to_bytes(8, "big") + self._private.sign(b"cosignature/v1\ntime %d\n" % at + text)

    def close(self) -> None:
        """No longer there."""
        self._awake.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Witness:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gone."""
        self.close()

    # ---- the protocol ----

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """One POST."""
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        self.asked += 1
        self._awake.wait()
        try:
            if request.path != "/sub/add-checkpoint":
                raise Answer(404)
            self._moody()
            with self._atomic:
                answer = self._add(body)
        except Answer as refusal:
            answer = refusal
        except (ValueError, IndexError, UnicodeDecodeError):
            answer = Answer(400)
        try:
            request.send_response(answer.status)
            request.send_header("Content-Type", answer.kind)
            request.send_header("Content-Length", str(len(answer.body)))
            if answer.status == 302:
                request.send_header("Location", f"{self.url}/elsewhere")
            request.end_headers()
            request.wfile.write(answer.body)
        except OSError:
            return  # the client went away

    def _moody(self) -> None:
        if self.mood in ("503", "302"):
            raise Answer(int(self.mood))
        if self.mood == "409":
            raise Answer(409)
        if self.mood == "422":
            raise Answer(422)
        if self.mood == "size":
            raise Answer(409, b"1000000\n", "text/x.tlog.size")
        if self.mood == "huge":
            raise Answer(200, b"\xe2\x80\x94 x AAAA\n" * 10_000)

    def _add(self, body: bytes) -> Answer:
        header, text, signatures = body.split(b"\n\n", 2)
        text += b"\n"
        first, *hashes = header.split(b"\n")
        word, digits = first.split(b" ")
        if word != b"old" or str(int(digits)).encode() != digits or len(hashes) > 63:
            raise Answer(400)
        old, proof = int(digits), [base64.b64decode(line, validate=True) for line in hashes]
        origin, size_text, root_text, rest = text.split(b"\n", 3)
        size, root = int(size_text), base64.b64decode(root_text, validate=True)
        if rest or str(size).encode() != size_text or len(root) != 32 or any(len(one) != 32 for one in proof):
            raise Answer(400)
        log = self.logs.get(origin.decode())
        if log is None:
            raise Answer(404)
        self._verify(origin.decode(), log, text, signatures)
        if old > size:
            raise Answer(400)
        known, known_root = self.heads.get(origin.decode(), (0, sha(b"")))
        if old != known:
            raise Answer(409, b"%d\n" % known, "text/x.tlog.size")
        if old == size and root != known_root:
            raise Answer(409, b"%d\n" % known, "text/x.tlog.size")
        if not consistent(old, size, known_root, root, proof):
            raise Answer(422)
        self.heads[origin.decode()] = size, root
        self.seen.append((origin.decode(), size, root))
        return Answer(200, self._line(text))

    def _verify(self, origin: str, log: tuple[bytes, Ed25519PublicKey], text: bytes, signatures: bytes) -> None:
        good = False
        for line in signatures.decode().splitlines():
            dash, name, value = line.split(" ")
            blob = base64.b64decode(value, validate=True)
            if dash == "\u2014" and name == origin and blob[:4] == log[0]:
                try:
                    log[1].verify(blob[4:], text)
                except InvalidSignature:
                    raise Answer(403) from None
                good = True
        if not good:
            raise Answer(403)

    def _line(self, text: bytes) -> bytes:
        at = int(time.time()) + (3_600 if self.mood == "time" else 0)
        signed = self.signature(text + (b"x" if self.mood == "text" else b""), at)
        name = "another.example/witness" if self.mood == "name" else self.name
        key_id = b"none" if self.mood == "key" else self.key_id
        if self.mood == "garbage":
            return b"\xff\n\n\xe2\x80\x94\n"
        stranger = "\u2014 stranger.example/w AAAAAAAA\n"  # to be ignored
        return f"{stranger}\u2014 {name} {base64.b64encode(key_id + signed).decode()}\n".encode()


def policy(log_vkeys: list[str], witnesses: list[Witness], threshold: int) -> str:
    """A node's tlog-policy: so many of these."""
    lines = [f"log {vkey}" for vkey in log_vkeys]
    lines += [f"witness w{i} {one.vkey} {one.url}" for i, one in enumerate(witnesses)]
    lines += [f"group enough {threshold} {' '.join(f'w{i}' for i in range(len(witnesses)))}", "quorum enough"]
    return "\n".join(lines) + "\n"
