"""A provider's settings, checked before the first connection."""

import ipaddress
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from postman.errors import ConfigError
from postman.ports.opening import ProviderSpec

__all__ = ["Account", "Place", "check_account", "check_place"]

_METADATA_HOSTS: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_ADDRESSES: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")))
_ODD_ADDRESS: Final = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}\.?")
_KEY: Final = re.compile(r"[\x21-\x7e]+")
_LONGEST: Final = 3_600.0

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Account:
    """What a `ProviderSpec` says, checked and complete."""

    name: str
    api_key: SecretStr = field(repr=False)
    base_url: str
    """With no slash at its end."""
    timeout: float
    look_up_after: float
    cluster: str = ""
    """Goes with every mail and comes back in its events."""
    webhook_key: SecretStr | None = field(default=None, repr=False)
    """Checks the signatures of this provider's events; None where none is set."""
    proxy: str = ""
    """Where to send instead, with no slash at its end; empty: to the provider itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider is, and how long a request to it may take."""

    base_url: str
    """With no slash at its end."""
    timeout: float


def check_account(spec: ProviderSpec, *, base_url: str, look_up_after: float, options: Collection[str] = ()) -> Account:
    """Return the account that *spec* describes; *base_url* and *look_up_after* are this kind's defaults.

    Raises `ConfigError` for a wrong setting, and for an option that is neither ``webhook_key`` nor among *options*.
    """
    for option in spec.options:
        if option != "webhook_key" and option not in options:
            raise ConfigError(f"provider {spec.name}: unknown option {option}")
    if not _KEY.fullmatch(spec.api_key.get_secret_value()):
        raise ConfigError(f"provider {spec.name}: api_key is empty, or has spaces or characters that no key has")
    window = look_up_after if spec.look_up_after is None else spec.look_up_after
    place = check_place(spec, base_url=base_url)
    webhook_key = spec.options.get("webhook_key")
    return Account(
        name=spec.name,
        api_key=spec.api_key,
        base_url=place.base_url,
        timeout=place.timeout,
        cluster=spec.cluster,
        look_up_after=_seconds(window, f"provider {spec.name}: look_up_after", above_zero=False),
        webhook_key=None if webhook_key is None else SecretStr(webhook_key),
        proxy=_checked_url(spec.proxy, "POSTMAN_PROXY") if spec.proxy else "",
    )


def check_place(spec: ProviderSpec, *, base_url: str) -> Place:
    """Return where *spec*'s provider is, by default at *base_url*; raises `ConfigError` for a wrong setting."""
    return Place(
        _checked_url(spec.base_url or base_url, f"provider {spec.name}: base_url"),
        _seconds(spec.timeout, f"provider {spec.name}: timeout", above_zero=True),
    )


def _seconds(value: float, where: str, *, above_zero: bool) -> float:
    lowest = "above 0" if above_zero else "at least 0"
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        raise ConfigError(f"{where} must be {lowest} seconds")
    if above_zero and value > _LONGEST:
        raise ConfigError(f"{where} must be at most {_LONGEST:.0f} seconds")
    return value


def _checked_url(url: str, where: str) -> str:
    """Return *url* without a slash at its end. Its text is in no error: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise ConfigError(f"{where} is not a URL") from error
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or re.search(r"[\s\\]", url):
        raise ConfigError(f"{where} must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(f"{where} must not hold a user, a password, a query or a fragment")
    _check_host(host, where, is_encrypted=parts.scheme == "https")
    return url.rstrip("/")


def _check_host(host: str, where: str, *, is_encrypted: bool) -> None:
    address = _address(host)
    if address is None and _ODD_ADDRESS.fullmatch(host):
        raise ConfigError(f"{where} writes an address in a form that hides it")
    if host in _METADATA_HOSTS or (address is not None and _is_forbidden(address)):
        raise ConfigError(f"{where} must not be a link-local, unspecified, multicast or metadata address")
    is_loopback = host == "localhost" or (address is not None and address.is_loopback)
    if not is_encrypted and not is_loopback:
        raise ConfigError(f"{where} must be https unless it is this machine's own")


def _address(host: str) -> _IPAddress | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_forbidden(address: _IPAddress) -> bool:
    return address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA_ADDRESSES
