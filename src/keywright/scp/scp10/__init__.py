"""SCP10 (GlobalPlatform Card Specification, Appendix F): RSA and certificates, triple DES, both ends. Experimental."""

from keywright.scp.scp10.card import Initiation, Outcome
from keywright.scp.scp10.card_channel import CardChannel
from keywright.scp.scp10.certificates import Certificate, Holder, issue_certificate, verify_certificate
from keywright.scp.scp10.host import HostIdentity, Request, open_channel
from keywright.scp.scp10.host_channel import HostChannel
from keywright.scp.scp10.profile import Profile
from keywright.scp.scp10.security_domain import SecurityDomain, get_data

__all__ = [
    "CardChannel",
    "Certificate",
    "Holder",
    "HostChannel",
    "HostIdentity",
    "Initiation",
    "Outcome",
    "Profile",
    "Request",
    "SecurityDomain",
    "get_data",
    "issue_certificate",
    "open_channel",
    "verify_certificate",
]
