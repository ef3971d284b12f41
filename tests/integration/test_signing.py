"""Does every way to sign give what verifies without us? The judge is the independent verifier, or openssl."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from independent.verifier import verify as independent_verify
from kit.checkers import check_log
from kit.node import DIRECT, PROOF, PROOF_P256, Node
from sealpress.client import Signed, StreamItem, load_client
from sealpress.client.tls import credentials
from sealpress.core.merkle import verify_inclusion
from sealpress.core.proof import parse_note
from sealpress.errors import Conflict, Invalid, NotPermitted
from sealpress.v1 import signing_pb2, signing_pb2_grpc, types_pb2
from sealpress.values import Artifact, DigestAlgorithm
from sealpress.verify.proof import verify_proof
from sealpress.wiring import dev
from sealpress.wiring.dev import PREFIX

SHA256 = DigestAlgorithm.SHA256
LINES = [PROOF, PROOF_P256]
RETRIED = {
    "methodConfig": [
        {
            "name": [{"service": "sealpress.v1.SigningService"}],
            "waitForReady": True,
            "retryPolicy": {
                "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}  # fmt: skip


@asynccontextmanager
async def away(address: str, way_s: float) -> AsyncIterator[str]:
    """Where the same daemon is to be had so far away."""
    ends: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while part := await reader.read(1 << 16):
                loop.call_later(way_s, writer.write, part)
        loop.call_later(way_s, writer.close)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        host, _, port = address.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # it has stopped
            writer.close()
            return
        ends.append(far_writer)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as door:
        yield f"127.0.0.1:{door.sockets[0].getsockname()[1]}"
        await asyncio.sleep(2 * way_s)
        for end in ends:
            end.close()
            with suppress(OSError):
                await end.wait_closed()


def judge(node: Node, line: str, algorithm: DigestAlgorithm, digest: bytes, proof: bytes) -> int:
    """Both verifiers accept; the leaf's index."""
    said = independent_verify(node.trust_file(line).read_text(), algorithm.label, digest, proof)
    assert verify_proof(node.trust(line), algorithm, digest, proof).index == said["index"]
    return int(said["index"])


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
@pytest.mark.parametrize("line", LINES)
def test_every_way_to_sign_gives_a_proof(node: Node, line: str, algorithm: DigestAlgorithm) -> None:
    """Sign, SignBatch compact and expanded (byte-identical), SignStream, SignContent."""
    contents = [f"{line} {algorithm.label} {number}".encode() for number in range(25)]
    digests = [hashlib.new(algorithm.label, content).digest() for content in contents]
    with node.client() as client:
        one = client.sign(digests[0], algorithm, line=line, artifact=Artifact("a", "1", 3, "text/plain"))
        compact = client.sign_batch(
            b"".join(digests), algorithm, line=line, request_id=f"batch-{line[-4:]}-{algorithm}"
        )
        expanded = client.sign_batch(
            b"".join(digests), algorithm, line=line, request_id=f"batch-{line[-4:]}-{algorithm}", expand=True
        )
        named = client.sign_batch(
            b"".join(digests), algorithm, line=line, names=tuple(map(str, range(25))), sizes=tuple(range(25))
        )
        streamed = list(client.sign_stream([StreamItem(digest, algorithm) for digest in digests], line=line))
        content = client.sign_content(contents[:1], algorithm, line=line, expected=digests[0])

    judge(node, line, algorithm, digests[0], one.proof)
    judge(node, line, algorithm, digests[0], content.proof)
    assert compact.documents == expanded.documents  # the client compared the server's expansion with its own
    for batch in (compact, named):
        indices = [judge(node, line, algorithm, *pair) for pair in zip(digests, batch.documents, strict=True)]
        assert indices == list(range(batch.first_leaf_index, batch.first_leaf_index + 25))
    assert {answer.item.digest for answer in streamed} == set(digests)
    for answer in streamed:
        assert answer.signed is not None
        judge(node, line, algorithm, answer.item.digest, answer.signed.proof)


def openssl(node: Node, line: str, algorithm: str, file: Path, signature: bytes, *options: str) -> bool:
    """What `openssl dgst -verify` says."""
    path = file.with_suffix(".sig")
    path.write_bytes(signature)
    command = ["openssl", "dgst", f"-{algorithm}", "-verify", str(node.public_key(line)), *options]
    done = subprocess.run([*command, "-signature", str(path), str(file)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize(
    ("purpose", "algorithm", "options"),
    [
        ("direct-p256", SHA256, ()),
        ("direct-p384", DigestAlgorithm.SHA384, ()),
        ("direct-rsa3072", SHA256, ()),
        ("direct-pss3072", SHA256, ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")),
    ],
)
def test_openssl_accepts_direct_signatures(
    node: Node, tmp_path: Path, purpose: str, algorithm: DigestAlgorithm, options: tuple[str, ...]
) -> None:
    """ECDSA, PKCS#1 v1.5 and PSS: by Sign and by SignBatch; over another file refused."""
    line, files = PREFIX + purpose, [tmp_path / str(number) for number in range(5)]
    for file in files:
        file.write_bytes(f"firmware {file.name}".encode())
    digests = [hashlib.new(algorithm.label, file.read_bytes()).digest() for file in files]
    with node.client() as client:
        one = client.sign(digests[0], algorithm, line=line)
        batch = client.sign_batch(b"".join(digests), algorithm, line=line)

    assert openssl(node, line, algorithm.label, files[0], one.signature, *options)
    assert not openssl(node, line, algorithm.label, files[1], one.signature, *options)
    for file, signature in zip(files, batch.documents, strict=True):
        assert openssl(node, line, algorithm.label, file, signature, *options)


@pytest.mark.parametrize("line", [PROOF, DIRECT])
def test_the_same_id_is_the_same_act(node: Node, line: str) -> None:
    """Asked again, at the same time, and after a restart: same leaf, same event, direct also the same bytes."""
    digest, request_id = hashlib.sha256(line.encode()).digest(), f"again-{line[-4:]}"
    with node.client() as client:
        with ThreadPoolExecutor(16) as pool:
            joined = list(pool.map(lambda _: client.sign(digest, line=line, request_id=request_id), range(16)))
        first = joined[0]
        batch = client.sign_batch(digest * 3, line=line, request_id=request_id + "-batch")
        with pytest.raises(Conflict) as other:
            client.sign(hashlib.sha256(b"other").digest(), line=line, request_id=request_id)
        with pytest.raises(Conflict):
            client.sign(digest, line=line, request_id=request_id, security_version=1)
    assert other.value.reason == "REQUEST_ID_REUSED"
    assert {(one.leaf_index, one.event_id) for one in joined} == {(first.leaf_index, first.event_id)}
    node.stop("serve")
    node.start("serve")
    with node.client() as client:
        again = client.sign(digest, line=line, request_id=request_id)
        batch_again = client.sign_batch(digest * 3, line=line, request_id=request_id + "-batch")
    assert (again.leaf_index, again.event_id, again.signature) == (first.leaf_index, first.event_id, first.signature)
    assert batch_again.first_leaf_index == batch.first_leaf_index
    if line == DIRECT:
        assert batch_again.documents == batch.documents


def test_only_permitted_lines_are_shown(node: Node) -> None:
    """A stranger sees no line; the builder all of them, each with what verifies it."""
    with node.client() as client, node.client("stranger") as stranger:
        keys = client.keys()
        assert stranger.keys() == []
        with pytest.raises(NotPermitted):
            stranger.key(PROOF)
    assert len(keys) == 6
    policy = next(key for key in keys if key.line == PROOF).trust_text
    assert policy == node.trust_file(PROOF).read_text()


def test_auditors_see_the_log_but_no_lines_signature(node: Node) -> None:
    """Checkpoint, proof, consistency, explain, tail; strangers none of them."""
    digest = hashlib.sha256(b"audited").digest()
    with node.client() as client:
        signed = client.sign(digest, line=PROOF, artifact=Artifact("na\x1b[31mme\n", "1"))
        time.sleep(0.2)
        note = parse_note(client.get_checkpoint())
        assert [line.name for line in note.lines] == ["dev.localhost/ci-1/1"]
        assert note.size > signed.leaf_index
        proof = client.get_proof(signed.leaf_index)
        assert verify_inclusion(proof.leaf_hash, signed.leaf_index, proof.tree_size, proof.path, note.root)
        assert client.get_consistency(1).new_size == note.size
        raw_line = signed.proof.split(b"\n\n")[2].splitlines()[1].decode().split(" ")[2]
        assert raw_line
        by_digest = client.explain(digest=(SHA256, digest))
        by_event = client.explain(event_id=signed.event_id)
        assert [event.type for event in by_digest] == ["request", "outcome"]
        assert [event.seq for event in by_event] == [event.seq for event in by_digest]
        assert "\x1b" not in by_digest[0].json
        assert json.loads(by_digest[0].json)["event"]["identity"] == "uri:spiffe://dev.localhost/ci/builder"
        tailed = list(client.tail())
        assert [event.seq for event in tailed] == sorted(event.seq for event in tailed)
        assert tailed[0].type == "governance"
    with node.client("stranger") as stranger:
        for ask in (stranger.get_checkpoint, stranger.get_status, lambda: list(stranger.tail())):
            with pytest.raises(NotPermitted):
                ask()
        assert stranger.explain(digest=(SHA256, digest)) == []


def test_a_direct_signature_explains_itself(node: Node) -> None:
    """By the SHA-256 of the signature one finds who asked for it."""
    with node.client() as client:
        signed = client.sign(hashlib.sha256(b"direct").digest(), line=DIRECT)
        time.sleep(0.2)
        events = client.explain(signature_sha256=hashlib.sha256(signed.signature).digest())
    assert "request" in [event.type for event in events]


def test_status_tells_how_the_node_is(node: Node) -> None:
    """Slots, lines, log."""
    with node.client() as client:
        status = client.get_status()
    assert status.signer_up
    assert [slot.slot for slot in status.slots] == ["soft"]
    assert all(line.ready for line in status.lines)
    assert status.logs[0].origin == "dev.localhost/ci-1/1"


def test_a_wrong_answer_is_not_handed_out(node: Node) -> None:
    """An answer is checked against the caller's own digest: another's proof raises Invalid."""
    with node.client() as client:
        signed: Signed = client.sign(hashlib.sha256(b"mine").digest(), line=PROOF)
        with pytest.raises(Invalid):
            verify_proof(node.trust(), SHA256, hashlib.sha256(b"yours").digest(), signed.proof)


def test_a_reload_during_the_start_ends_nothing() -> None:
    """SIGHUP before the daemon is ready is heeded once it is: a service manager would not start it again."""
    with Node(start=False) as node:
        node.start("signer")
        command = [sys.executable, "-m", "sealpress", "serve", "--config", str(node.config), "--json"]
        environment = dev.environment(node.directory)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as serve:
            assert serve.stdout is not None
            assert serve.stderr is not None
            while b"tls_loaded" not in (line := serve.stderr.readline()):
                assert line
            policy = node.directory / "policy.toml"
            policy.write_text(policy.read_text() + "surprise = 1\n")
            serve.send_signal(signal.SIGHUP)
            assert b'"ready":' in serve.stdout.readline()
            while b"policy_refused" not in (line := serve.stderr.readline()):
                assert line
            serve.terminate()
            assert serve.wait(30) == 0


def test_a_reload_ends_neither_the_signer_nor_its_workers() -> None:
    """SIGHUP is no end for any process of a node: what has nothing to re-read goes on."""
    with Node() as node, node.client() as client:
        workers = node.workers()
        for process in (node.children["signer"].process.pid, *workers):
            os.kill(process, signal.SIGHUP)
        time.sleep(0.5)
        client.sign(hashlib.sha256(b"reload").digest(), line=PROOF)

        assert node.workers() == workers
        assert node.stop("serve") == 0
        assert node.stop("signer") == 0


@pytest.mark.parametrize(("callers_count", "way_s"), [(300, 0.0), (100, 0.08)], ids=["here", "far away"])
def test_callers_hear_that_the_daemon_stops(callers_count: int, way_s: float) -> None:
    """Of hundreds who are at it when it gets SIGTERM each hears UNAVAILABLE and its reason, none that he cancelled."""

    async def ask(channel: grpc.aio.Channel, number: int) -> tuple[str, str]:
        stub: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
        digest = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, value=bytes(32))
        for turn in range(10_000):
            try:
                await stub.Sign(signing_pb2.SignRequest(request_id=f"{number}-{turn}", key=PROOF, digest=digest))
            except grpc.aio.AioRpcError as error:
                return error.code().name, str(error.details())
        return "", ""

    async def scenario(node: Node) -> Counter[tuple[str, str]]:
        trust = credentials(load_client(node.directory / "client.toml"))
        async with away(node.ready["signing"], way_s) as address, grpc.aio.secure_channel(address, trust) as channel:
            await channel.channel_ready()
            callers = [asyncio.create_task(ask(channel, number)) for number in range(callers_count)]
            await asyncio.sleep(1)
            assert await asyncio.to_thread(node.stop, "serve") == 0
            return Counter(await asyncio.gather(*callers))

    with Node() as node:
        assert asyncio.run(scenario(node)) == {("UNAVAILABLE", "the daemon is stopping"): callers_count}


def test_a_retry_policy_is_enough_for_a_restart() -> None:
    """Callers whose service config tries UNAVAILABLE again, four times in a second, notice no stop and start."""

    async def scenario(node: Node) -> Counter[str]:
        ended = asyncio.Event()
        heard: Counter[str] = Counter()

        async def ask(stub: Any, number: int) -> None:
            digest = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, value=bytes(32))
            turn = 0
            while not ended.is_set():
                turn += 1
                request = signing_pb2.SignRequest(request_id=f"{number}-{turn}", key=PROOF, digest=digest)
                try:
                    await stub.Sign(request, timeout=60)
                    heard["signed"] += 1
                except grpc.aio.AioRpcError as error:
                    heard[f"{error.code().name} {error.details()}"] += 1
                    await asyncio.sleep(1)

        trust = credentials(load_client(node.directory / "client.toml"))
        options = (("grpc.service_config", json.dumps(RETRIED)),)
        async with grpc.aio.secure_channel(node.ready["signing"], trust, options=options) as channel:
            stub: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
            callers = [asyncio.create_task(ask(stub, number)) for number in range(32)]
            await asyncio.sleep(1)
            await asyncio.to_thread(node.stop, "serve")
            await asyncio.to_thread(node.start, "serve")
            ended.set()  # each has a call under way, from the time of the stop
            await asyncio.gather(*callers)
        return heard

    with Node() as node:
        mine = {"address": node.ready["signing"], "services": ["signing", "audit"], "auth": "mtls"}
        node.configure({"listen": [mine]})  # the same again after its restart
        assert list(asyncio.run(scenario(node))) == ["signed"]


def test_reload_and_end() -> None:
    """SIGHUP adopts a changed policy and records it; a wrong one is refused; SIGTERM drains and exits with 0."""
    digest = hashlib.sha256(b"policy").digest()
    with Node() as node:
        policy = node.directory / "policy.toml"
        with node.client() as client, node.client("stranger") as stranger:
            with pytest.raises(NotPermitted):
                stranger.sign(digest, line=PROOF)
            before = policy.read_text()
            policy.write_text(before.replace("spiffe://dev.localhost/ci/builder", "spiffe://dev.localhost/ci/stranger"))
            os.kill(node.children["serve"].process.pid, signal.SIGHUP)
            time.sleep(0.5)
            stranger.sign(digest, line=PROOF)
            with pytest.raises(NotPermitted):
                client.sign(digest, line=PROOF)
            policy.write_text(before + "surprise = 1\n")
            os.kill(node.children["serve"].process.pid, signal.SIGHUP)
            time.sleep(0.5)
            stranger.sign(digest, line=PROOF)
        assert "policy_refused" in node.words
        assert node.stop("serve") == 0
        assert node.stop("signer") == 0
        report = check_log(node.log_directory)
        assert report.records["governance"] == 3  # log.created and two policies
