"""What the yard derives from its one secret, so that no password of an instance is ever stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime

from gpuyard.domain.ids import InstanceId

MIN_BYTES = 32


@dataclass(frozen=True, slots=True)
class YardSecret:
    """32 random bytes, kept in the data directory and shared by all servers of one yard."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < MIN_BYTES:
            raise ValueError(f"the yard's secret must have at least {MIN_BYTES} bytes, not {len(self.key)}")

    def resident_secret(self, instance_id: InstanceId) -> str:
        """What the server presents to the resident of this instance."""
        return self._derive("resident", instance_id)

    def app_password(self, instance_id: InstanceId) -> str:
        """What a person types to open an application of this instance."""
        return self._derive("password", instance_id)[:16]

    def sign_visit(self, purpose: str, instance_id: InstanceId, until: datetime) -> str:
        """A token that `check_visit` accepts until `until`: a proxy cookie or a one-time ticket."""
        stamp = f"{until.timestamp():.0f}"
        return f"{stamp}.{self._derive('visit', purpose, instance_id, stamp)}"

    def check_visit(self, purpose: str, instance_id: InstanceId, token: str, now: datetime) -> bool:
        stamp, _, signature = token.partition(".")
        good = hmac.compare_digest(signature.encode(), self._derive("visit", purpose, instance_id, stamp).encode())
        return good and stamp.isdigit() and int(stamp) > now.timestamp()

    def _derive(self, *words: str) -> str:
        mac = hmac.new(self.key, "\0".join(words).encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")
