"""Do the rules part the duties exactly as GOVERNANCE 3.4 and GR-30 say, whoever does what?

A key comes to life and signs a release by nine acts: propose, approve, approve, generate, activate, request, approve
the digests, approve them, release. Each is done by one person, who gets the role that it needs right before it. The
rules do not know names: two assignments that differ only by who is called what are one case. So the assignments of nine
acts to at most four persons are the partitions of nine acts into at most four blocks, S(9,1) + ... + S(9,4) = 11,051,
written here as restricted growth strings: the first act is by person 0, each next by one who acted before or by the
next new one. Four are too few for anything to go through; so all others are walked too, up to nine persons (21,147).

The strings are walked as a tree: a town is copied where they part, and a refused act prunes all that begin with it. At
each node the rules' answer is compared with the predicate's, so a wrong one shows at the act where it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from kit.town import Town
from kit.townsfolk import FIRMWARE, certificate, person, policy_text, resident
from kit.townsfolk import key_request as key_spec
from sealpress.errors import Invalid, Refusal
from sealpress.governance import access_requests
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.roles import Role

ACTS = (
    "propose", "approve", "approve again", "generate", "activate", "request", "approve digests",
    "approve digests again", "release",
)  # fmt: skip
NEEDS = {
    "propose": ("issuance-operator", ""),
    "approve": ("security-officer", "key-officers"),
    "approve again": ("security-officer", "key-officers"),
    "generate": ("issuance-operator", ""),
    "activate": ("issuance-operator", ""),
    "request": ("requester", ""),
    "approve digests": ("release-approver", "release-approvers"),
    "approve digests again": ("release-approver", "product-security"),
    "release": ("releaser", ""),
}
PERSONS_MAX = len(ACTS)
ASKED_MAX = 4
ADMITTED = 105  # of all assignments


# ---- what GOVERNANCE says --------------------------------------------------------------------------------------------

CROSSES = (  # 3.4, of the roles that these acts need
    ("issuance-operator", "requester"),
    ("issuance-operator", "releaser"),
    ("release-approver", "requester"),
    ("release-approver", "releaser"),
    ("release-approver", "issuance-operator"),
)


def admitted(persons: tuple[int, ...]) -> bool:
    """Whether the first so many acts may be by these persons."""
    who = dict(zip(ACTS, persons, strict=False))

    def doing(*acts: str) -> list[int]:
        return [who[act] for act in acts if act in who]

    # 3.4: nobody holds two roles of the matrix on one line
    holders: dict[str, set[int]] = {}
    for act, by in who.items():
        holders.setdefault(NEEDS[act][0], set()).add(by)
    if any(holders.get(one, set()) & holders.get(other, set()) for one, other in CROSSES):
        return False
    # GR-30: who creates, who approves and who releases are different persons, and approvers differ from one another:
    # first for the key (it is created by proposing, generating, activating), then for the release
    of_key = doing("approve", "approve again")
    of_release = doing("approve digests", "approve digests again")
    if len(set(of_key)) < len(of_key) or len(set(of_release)) < len(of_release):
        return False
    parts = (
        (doing("propose", "generate", "activate"), of_key),
        (doing("request"), of_release, doing("release")),
    )
    return not any(set(one) & set(other) for part in parts for one, other in combinations(part, 2))


# ---- what the rules say ----------------------------------------------------------------------------------------------


def act(town: Town, persons: tuple[int, ...]) -> bool:
    """Let the last of these persons do his act; False if the rules refuse the role or the act."""
    doing, by = ACTS[len(persons) - 1], f"p{persons[-1]}"
    try:
        bind(town, by, *NEEDS[doing])
        _DO[doing](town, by, persons)
    except (Refusal, Invalid):
        return False
    return True


def bind(town: Town, name: str, role: str, group: str) -> None:
    """The role, if the rules allow it; once."""
    if any((b.identity, b.role, b.group) == (person(name), role, group) for b in town.state.bindings.values()):
        return
    asked = c.BindRequest(identity=person(name), role=Role(role), line=FIRMWARE, group=group)
    access_requests.check_binding(town.desk(), asked)
    binding = f"{name} {role} {group}"
    town.declare(
        f.BindingMade(
            binding=binding, identity=person(name), role=role, line=FIRMWARE, group=group, not_after=0, change_id=""
        )
    )


def _newest(town: Town) -> str:
    return next(reversed(town.state.changes))


def _activate(town: Town, by: str, persons: tuple[int, ...]) -> None:
    """Its own change, by who proposed the key and with those who approved it; carried out by this person."""
    change_id = town.propose(f"p{persons[0]}", "key.activate", c.KeyAct(key="k", line=FIRMWARE))
    town.pass_(change_id, f"p{persons[1]}", f"p{persons[2]}")
    town.execute(change_id, by)


def _release(town: Town, by: str, persons: tuple[int, ...]) -> None:
    town.release(town.grant_of(_newest(town)), by)
    town.sign(certificate(f"p{persons[5]}"), FIRMWARE, (1, 2))


def _approve(town: Town, by: str, persons: tuple[int, ...]) -> None:
    town.approve(_newest(town), by)


_DO = {
    "propose": lambda town, by, persons: town.propose(by, "key.issue", key_spec("k", FIRMWARE, town.now)),
    "approve": _approve,
    "approve again": _approve,
    "generate": lambda town, by, persons: town.execute(_newest(town), by),
    "activate": _activate,
    "request": lambda town, by, persons: town.request(certificate(by), FIRMWARE, (1, 2)),
    "approve digests": _approve,
    "approve digests again": _approve,
    "release": _release,
}


def new_town() -> Town:
    """Persons with keys and without roles; a firmware line without a key."""
    town = Town(keys=False, strict=False)
    names = [f"p{number}" for number in range(PERSONS_MAX)]
    town.declare(
        f.PolicyInForce(body=policy_text(lines=(FIRMWARE,), names=names, requesters_max=16)),
        *(fact for name in names for fact in resident(name)),
    )
    return town


def extensions(persons: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The restricted growth strings that are one longer."""
    for by in range(min(max(persons, default=-1) + 2, PERSONS_MAX)):
        yield (*persons, by)


def cases(persons: tuple[int, ...]) -> dict[int, int]:
    """How many whole strings begin so, by how many persons they name."""
    if len(persons) == len(ACTS):
        return {len(set(persons)): 1}
    found: dict[int, int] = {}
    for longer in extensions(persons):
        for number, count in cases(longer).items():
            found[number] = found.get(number, 0) + count
    return found


def test_the_rules_part_duties_as_the_matrix_says() -> None:
    """For all 11,051 assignments to at most four persons (and 10,096 to more) rules and predicate agree at each act."""
    covered: dict[int, int] = {}
    whole: list[tuple[int, ...]] = []
    waiting: list[tuple[Town, tuple[int, ...]]] = [(new_town(), ())]
    while waiting:
        town, so_far = waiting.pop()
        for persons in extensions(so_far):
            branch = town.copy()
            done = act(branch, persons)

            assert admitted(persons) == done, dict(zip(ACTS, persons, strict=False))
            if done and len(persons) < len(ACTS):
                waiting.append((branch, persons))
                continue
            whole += [persons] if done else []
            for number, count in cases(persons).items():
                covered[number] = covered.get(number, 0) + count

    assert sum(count for number, count in covered.items() if number <= ASKED_MAX) == 11_051
    assert sum(covered.values()) == 21_147
    assert len(whole) == ADMITTED
    assert min(len(set(persons)) for persons in whole) == 5
