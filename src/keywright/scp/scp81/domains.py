"""Which security domain a script runs in, and who answers for it (Amd B 3.3.3.2, 3.4.2): the card end behind HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import msgspec

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW
from keywright.scp.scp80.profile import STRICT, Profile
from keywright.scp.scp80.remote_management import Executor, RemoteManagement
from keywright.scp.scp81.administration import Script, ScriptResult, ScriptStatus, Trust, trust
from keywright.scp.transport import TransportSession

_OPENING: Final = frozenset({0x50, 0x82, 0x88, 0x2A})
"""INITIALIZE UPDATE, EXTERNAL and INTERNAL AUTHENTICATE, PERFORM SECURITY OPERATION: they begin a secure channel."""


class Target(msgspec.Struct, frozen=True):
    """An application that scripts may be for. `associated`: whether its security domain is that of the TLS session."""

    executor: Executor
    is_security_domain: bool = True
    has_keys: bool = False
    associated: bool = True


@final
class ScriptDomains:
    """The domain of the TLS session and the targets it reaches, by AID. `session`: what the connection is worth."""

    def __init__(
        self,
        own: Executor,
        session: TransportSession,
        targets: Mapping[bytes, Target] | None = None,
        *,
        limit: int = 0x7FFF,
        profile: Profile = STRICT,
    ) -> None:
        self._own = Target(own, has_keys=True)
        self._session = session
        self._targets = dict(targets or {})
        self._limit = limit
        self._profile = profile

    def run(self, script: Script, *, new_session: bool) -> ScriptResult:
        """Run a script; secure channels inside a target live as long as the command session does."""
        target = self._own if script.target is None else self._targets.get(script.target)
        if target is None:
            return ScriptResult(ScriptStatus.UNKNOWN_APPLICATION)
        if not target.is_security_domain:
            return ScriptResult(ScriptStatus.NOT_A_SECURITY_DOMAIN)
        if new_session:
            target.executor.start()
        rule = trust(
            is_session_domain=target is self._own,
            has_keys=target.has_keys,
            associated_is_session_domain=target.associated,
        )
        session = self._session if rule is Trust.TRUSTED else TransportSession(self._session.scp)
        runner = RemoteManagement(
            _Inside(target.executor, refuses_channels=target is self._own),
            compact=False,
            chaining=False,
            limit=self._limit,
            profile=self._profile,
        )
        return ScriptResult(ScriptStatus.OK, runner.run_script(script.body, session))


class _Inside:
    """An executor for one script of a command session: it does not start anew, and the own domain opens no channel."""

    def __init__(self, executor: Executor, *, refuses_channels: bool) -> None:
        self._executor = executor
        self._refuses = refuses_channels

    def start(self) -> None:
        pass

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        if self._refuses and command.ins in _OPENING:
            return Response(b"", SW.CONDITIONS_NOT_SATISFIED)
        return self._executor.execute(command, session)
