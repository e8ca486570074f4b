"""Make the unit a node of the lot's mesh network.

Address, device key (sealed) and NetKey index are durable before the provisioning data leave. A unit that was cut after
that is asked: a node answers Composition Data Get under its device key, a device that took nothing sends its beacon.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from keywright.codec.hexa import unhex
from keywright.crypto.aead import GCM_NONCE_BYTES
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import DecodeError, KeywrightError, LinkError, PolicyError
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.conversation import Conversation
from keywright.mesh.database.cdb import NodeEntry, uuid_text
from keywright.mesh.ends import CURVE
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed, RetrievalWanted
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.models.composition import Composition
from keywright.mesh.models.configuration_client import Target, read_composition
from keywright.mesh.oob import Method
from keywright.mesh.policy import Choice, Policy
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.retrieval import HttpGet
from keywright.mesh.session import ProvisionerSession
from keywright.production.fetching import read_answer
from keywright.production.job import Facts, Fetch, Job, MismatchError, RejectedError, StepDialogue, Verdict
from keywright.production.mesh_lot import GIVE, LotNetwork
from keywright.production.mesh_network import timestamp
from keywright.production.mesh_ways import Asked, way_of
from keywright.production.on_air import AirClock
from keywright.production.order_names import PUBLIC_KEY, STATIC_OOB, UUID
from keywright.production.parameters import MeshProvision

STEP: Final = "mesh.provision"
ASK: Final = "mesh.provision.ask"
AUTHENTICATION: Final = "mesh_authentication"
"""Column of the order: how this device proves itself; without it, static where there is a value, else none."""
_CERTIFIED: Final = "certified"
"""Company and product that the device's certificate names, which its composition has to say too."""
_SESSION_S: Final = 400.0
_UUID_OCTETS: Final = 16
_ALGORITHMS: Final = {"best": None, "cmac": CMAC, "hmac": HMAC}


def run(job: Job, p: MeshProvision) -> StepDialogue[None]:
    """Provision, then read the composition data under the device key: the proof that the unit is the node."""
    if job.is_settled(STEP):
        return
    network = job.network
    if network is None:
        raise PolicyError("this lot has no mesh network", hint="begin it anew: keywright campaign run")
    uuid = _uuid(job)
    given = yield from job.took_effect(GIVE, lambda facts: _probe(job, network, uuid, facts))
    if not given:
        yield from _give(job, p, network, uuid)
    facts = job.facts(GIVE)
    composition = (yield from _composition(job, network, facts, uuid, probes=False)).composition
    if composition is None:
        raise LinkError("the new node does not answer Composition Data Get", delivered=None)
    _check_product(p, composition)
    found, certified = _product(composition.cid, composition.pid), facts.get(_CERTIFIED, "")
    if certified and certified != found:
        raise MismatchError(f"the node says it is product {found}, its certificate says {certified} (MshPRT 5.5)")
    job.record(
        "done",
        STEP,
        {
            "address": facts["address"],
            "elements": len(composition.elements),
            "net_index": network.net_index,
            "company": f"{composition.cid:04X}",
            "product": f"{composition.pid:04X}",
        },
    )


# ---- what the order says of the unit


def candidate(
    job: Job, network: LotNetwork, uuid: bytes, p: MeshProvision
) -> tuple[Candidate, Policy, CertificatePolicy | None]:
    """What is known of the unit's device, and what it has to prove. Raises RejectedError for what is not allowed."""
    extra = job.unit.extra
    sealed = extra.get(STATIC_OOB, "")
    static_oob = network.open_oob(extra.get(UUID, ""), sealed) if sealed else b""
    how = extra.get(AUTHENTICATION, "") or ("static" if static_oob else "none")
    if how not in p.authentication:
        raise RejectedError(
            f"the order has this device prove itself by {how!r}, which the recipe does not allow",
            hint=f"the recipe allows {', '.join(p.authentication)}; see the column {AUTHENTICATION}",
        )
    public_key = None
    if how == "key":
        try:
            public_key = EcPublicKey.from_point(CURVE, _hex(job, PUBLIC_KEY))
        except DecodeError as error:
            raise RejectedError(f"the order has no public key for this device: {error}") from error
    certificates = None
    methods: tuple[int, ...] = (Method.STATIC,)
    if how == "certificate":
        hosts = tuple(host.lower() for host in p.certificate_servers)
        certificates = CertificatePolicy(roots=p.roots, needs_method=not p.certificate_alone, hosts=hosts)
        methods = (Method.STATIC,) if static_oob or not p.certificate_alone else (Method.NONE,)
    elif how != "static":
        methods = (Method.STATIC,) if static_oob and how == "key" else (Method.NONE,)
    policy = Policy(methods=methods, algorithm=_ALGORITHMS[p.algorithm], needs_oob_key=how == "key")
    return Candidate(uuid, job.unit.serial, static_oob, public_key, attention_s=0), policy, certificates


def _uuid(job: Job) -> bytes:
    uuid = _hex(job, UUID)
    if len(uuid) != _UUID_OCTETS:
        raise RejectedError(f"the order has no Device UUID in the column {UUID}", hint="16 octets in hex")
    return uuid


def _hex(job: Job, column: str) -> bytes:
    text = job.unit.extra.get(column, "").replace("-", "")
    try:
        return unhex(text, column) if text else b""
    except DecodeError:
        # "from None": what it says may repeat the value.
        raise RejectedError(f"the column {column} holds no hex") from None


# ---- giving


class _Promised(NamedTuple):
    """What a unit is about to be given. certified: company and product that its certificate names."""

    elements: int
    device_key: bytes
    certified: tuple[int, int] | None

    def __repr__(self) -> str:
        return f"<_Promised to a device of {self.elements} elements>"


@final
class _Ledger:
    """What `Enrolment` writes to: the address of the unit, and what is to be durable before the data leave."""

    def __init__(self, network: LotNetwork, unit: int) -> None:
        self._network = network
        self._unit = unit
        self.promised: _Promised | None = None
        """What is not written yet."""

    def promise(
        self,
        uuid: bytes,
        elements: int,
        device_key: bytes,
        net_index: int = 0,
        *,
        certified: tuple[int, int] | None = None,
    ) -> ProvisioningData:
        """Raises PolicyError for a device with more elements than the recipe says."""
        del uuid, net_index  # the unit has one address and one network, whatever it calls itself
        if elements > self._network.elements:
            raise PolicyError(
                f"the device has {elements} elements, the recipe allows {self._network.elements}",
                hint="set elements in the recipe of a new lot",
            )
        data = self._network.data_for(self._unit)
        self.promised = _Promised(elements, device_key, certified)
        return data

    def complete(self, uuid: bytes, *, name: str, timestamp: str, is_secure: bool) -> NodeEntry:
        """The node as a database would have it; the step writes it."""
        del timestamp
        address = f"{self._network.address_of(self._unit):04X}"
        security = "secure" if is_secure else "insecure"
        return NodeEntry(uuid=uuid_text(uuid), name=name, unicast_address=address, security=security)

    def give_up(self, uuid: bytes) -> None:
        """Nothing to free: the address is this unit's, and will be when it is tried again."""


def _give(job: Job, p: MeshProvision, network: LotNetwork, uuid: bytes) -> StepDialogue[None]:
    known, policy, certificates = candidate(job, network, uuid, p)
    way, ledger = way_of(job), _Ledger(network, job.unit.n)
    clock, bearer = yield from way.link(job, uuid)
    session = ProvisionerSession(Provisioner(EcPrivateKey.draw(CURVE, job.rng), job.rng), bearer)
    enrolment = Enrolment(
        session,
        ledger,
        known,
        policy=policy,
        timestamp=timestamp(job.clock()),
        net_index=network.net_index,
        certificates=certificates,
    )
    told = _Told(enrolment)

    def before_sending() -> StepDialogue[None]:
        yield from told.retrieve(p, clock)
        if ledger.promised is None:
            return
        promised, ledger.promised = ledger.promised, None
        yield from job.intend(GIVE, _intent(job, network, uuid, promised, session.provisioner.choice))

    yield from clock.carry(enrolment, _SESSION_S, told.is_over, before_sending=before_sending)
    if not told.ends:
        raise LinkError(f"no end of the session after {_SESSION_S:.0f} s", delivered=None)
    end = told.ends[0]
    if isinstance(end, Failed):
        yield from way.leave(clock, enrolment)
        if job.is_open(GIVE) and not end.may_be_node:
            job.record("failed", GIVE, {"text": str(end.error)})
        raise end.error
    job.record("done", GIVE, job.intent(GIVE))
    yield from job.commit()
    yield from way.leave(clock, enrolment)


@final
class _Told:
    """What an enrolment tells: that it has ended, and what its device's vendor has to be asked for."""

    def __init__(self, enrolment: Enrolment) -> None:
        self.ends: list[Enrolled | Failed] = []
        self._enrolment = enrolment
        self._wanted: list[HttpGet] = []

    def is_over(self) -> bool:
        """Whether it has ended."""
        for event in self._enrolment.events():
            if isinstance(event, Enrolled | Failed):
                self.ends.append(event)
            elif isinstance(event, RetrievalWanted):
                self._wanted.append(event.request)
        return bool(self.ends)

    def retrieve(self, p: MeshProvision, clock: AirClock) -> StepDialogue[None]:
        """Ask the vendor's server, which the recipe has to allow, for the certificates that are wanted (MshPRT 5.6)."""
        self.is_over()
        while self._wanted:
            request = self._wanted.pop()
            try:
                answer = read_answer((yield Fetch(request.uri, request.accept, p.certificate_server_ca)).data)
            except KeywrightError as error:
                self._enrolment.not_retrieved(error, clock.now)
            else:
                self._enrolment.retrieved(answer, clock.now)
            self.is_over()


def _intent(job: Job, network: LotNetwork, uuid: bytes, promised: _Promised, choice: Choice | None) -> Facts:
    """What is durable before the data leave; the device key sealed."""
    facts: dict[str, str | int] = {
        "uuid": uuid.hex(),
        "address": f"{network.address_of(job.unit.n):04X}",
        "elements": promised.elements,
        "net_index": network.net_index,
        "iv_index": network.iv_index,
        "device_key": network.seal(job.unit.n, promised.device_key, job.rng(GCM_NONCE_BYTES)),
        "security": "secure" if _is_authenticated(choice) else "insecure",
    }
    return facts if promised.certified is None else {**facts, _CERTIFIED: _product(*promised.certified)}


def _is_authenticated(choice: Choice | None) -> bool:
    return choice is not None and (choice.uses_oob_key or choice.authentication.method != Method.NONE)


# ---- asking


def _probe(job: Job, network: LotNetwork, uuid: bytes, intent: Facts) -> StepDialogue[tuple[Verdict, Facts]]:
    """A node answers under the device key, a device sends its beacon. Raises LinkError if nothing is heard at all."""
    asked = yield from _composition(job, network, intent, uuid, probes=True)
    if asked.composition is not None:
        return Verdict.APPLIED, {**intent, "probe": "answers under its device key"}
    if asked.is_device:
        return Verdict.NOT_APPLIED, {"probe": "sends the beacon of an unprovisioned device"}
    raise LinkError(
        "neither a beacon nor an answer under the device key was heard",
        delivered=None,
        hint="see that the unit is on and in reach; its address and device key are kept",
    )


def _composition(job: Job, network: LotNetwork, facts: Facts, uuid: bytes, *, probes: bool) -> StepDialogue[Asked]:
    """What the node says it is made of; without an answer, whether a beacon says that it is no node."""
    device_key = network.open(job.unit.n, facts["device_key"])
    if job.is_open(ASK):
        job.record("failed", ASK, {"probe": "no answer is known; asked again, with other sequence numbers"})
    # Durable, so that no sequence number of this turn is ever used again.
    yield from job.intend(ASK, {"address": facts["address"]})
    stack = network.stack(job.unit.n, job.attempts(ASK), device_key)
    target = Target(network.address_of(job.unit.n), network.net_index)
    asked = yield from way_of(job).ask(Conversation(stack, read_composition(target), 0.0), uuid, probes=probes)
    if asked.composition is None:
        job.record("failed", ASK, {"probe": "a device's beacon" if asked.is_device else "no answer"})
    else:
        job.record("done", ASK, {"address": facts["address"]})
    return asked


def _product(company: int, product: int) -> str:
    return f"{company:04X}:{product:04X}"


def _check_product(p: MeshProvision, composition: Composition) -> None:
    for what, wanted, found in (("company", p.company, composition.cid), ("product", p.product, composition.pid)):
        if wanted is not None and wanted != found:
            raise MismatchError(f"the node says {what} {found:04X}, the recipe {wanted:04X}")
