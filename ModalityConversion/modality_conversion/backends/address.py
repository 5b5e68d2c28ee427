"""Where a served model is: `grpc://host:8001`, `grpcs://host:8001` for TLS, each with the model's name where that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ..errors import ConversionError

_PORT = 8001  # Triton's own for gRPC
_SCHEMES = ("grpc", "grpcs")


def is_server(device: str) -> bool:
    """Whether a device is a server. Says nothing of whether its address is right."""
    return "://" in device


@dataclass(frozen=True)
class Address:
    """A server, and a model on it."""

    scheme: str
    """`grpc`, or `grpcs` for TLS."""
    host: str
    port: int
    name: str | None = None
    """The served model's name; None: the model's own id."""

    @classmethod
    def parse(cls, device: str) -> Address:
        """Raises ConversionError where `device` is no such address."""
        try:
            parts = urlsplit(device.strip())
            host, port = parts.hostname, parts.port or _PORT
        except ValueError:
            raise _refusal(device) from None
        name = parts.path.strip("/")
        if (
            parts.scheme not in _SCHEMES
            or not host
            or "@" in parts.netloc
            or parts.query
            or parts.fragment
            or "/" in name
        ):
            raise _refusal(device)
        return cls(parts.scheme, host, port, name or None)

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "grpcs"

    @property
    def target(self) -> str:
        """Host and port as gRPC takes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server(self) -> str:
        """The address without the model's name."""
        return f"{self.scheme}://{self.target}"

    def __str__(self) -> str:
        return f"{self.server}/{self.name}" if self.name else self.server

    def of(self, id: str, number: int, count: int) -> Address:
        """Where weight file `number` of `count` of the model `id` is served."""
        return replace(self, name=served_name(self.name or id, number, count))


def served_name(name: str, number: int, count: int) -> str:
    """The name on a server of weight file `number` of `count`: the model's own, for an ensemble with the number."""
    return name if count == 1 else f"{name}-{number}"


def served_version(sha256: str) -> int:
    """The version number on a server of a weight file: the first 48 bits of its SHA-256.

    Every request names it, so a server whose model was exchanged meanwhile answers with an error, not with other numbers.
    48 bits pass unchanged through whatever counts in double precision.
    """
    return int(sha256[:12], 16) or 1


def _refusal(device: str) -> ConversionError:
    return ConversionError(
        f"{device!r} is no address of a server. Write grpc://HOST:8001, or grpcs://HOST:8001 for an encrypted connection."
    )
