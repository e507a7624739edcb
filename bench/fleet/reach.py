"""Whether a scheduler answers, accepts our certificate, and has our version of Dask."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

from bench.errors import BenchError, UnavailableError
from bench.fleet.extra import VERSION

REACH_S = 30.0  # a busy machine may be slow; where nothing listens, the answer comes at once
AGAIN_S = 1.0
EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL
OTHERS = "WRONG_VERSION_NUMBER"  # what answers does not speak TLS


class NotThereError(BenchError):
    """No scheduler answers at the address."""

    exit_code = UnavailableError.exit_code

    def __init__(self, address: str) -> None:
        super().__init__(
            f"no scheduler answers at {address}",
            "Start `bench fleet scheduler --certs DIR` there, and look at the address, its port "
            "and the firewall.",
        )


async def reach(address: str, security: Any, role: str) -> None:
    """Return if the scheduler accepts this role.

    Raises NotThereError if none answers. Raises UnavailableError if one end does not accept the
    certificate of the other, or if the scheduler has another version of Dask.
    """
    arguments = security.get_connection_args(role)
    place = urlsplit(address)
    try:
        for is_last in (False, True):
            shaken = _shake_hands(place.hostname, place.port, arguments["ssl_context"])
            if await asyncio.wait_for(shaken, REACH_S):
                break
            if is_last:
                raise _not_accepted(address)
            await asyncio.sleep(AGAIN_S)  # it may have been ended just then
        version = await asyncio.wait_for(_version(address, arguments), REACH_S)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # it has ended meanwhile
        raise NotThereError(address) from None
    except ssl.SSLError as error:
        raise _not_accepted(address, error) from None
    except (OSError, EOFError, asyncio.TimeoutError):
        raise NotThereError(address) from None
    if version != VERSION:
        raise UnavailableError(
            f"the scheduler has distributed {version}, and this machine has {VERSION}",
            f"Install it there: pip install distributed=={VERSION}",
        )


async def _shake_hands(host: str | None, port: int | None, context: ssl.SSLContext) -> bool:
    """Connect, and read a byte; False if the other end hangs up after the handshake.

    In TLS 1.3, a scheduler refuses our certificate only then, and its reason may be lost.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        return bool(await reader.read(1))
    except ConnectionError:
        return False
    finally:
        writer.close()


async def _version(address: str, arguments: dict[str, Any]) -> str:
    from distributed.core import rpc

    make: Any = rpc
    async with make(address, connection_args=arguments, timeout=REACH_S) as scheduler:
        found = await scheduler.versions()
    return str(found["packages"]["distributed"])


def _not_accepted(address: str, error: ssl.SSLError | None = None) -> UnavailableError:
    renew = "Make new ones with `bench fleet certs NEW_DIR`, for all machines of the fleet."
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == EXPIRED:
        return UnavailableError(f"the certificate of the scheduler at {address} has expired", renew)
    if error is not None and error.reason == OTHERS:
        return UnavailableError(
            f"what answers at {address} is not encrypted",
            "Start the scheduler with `bench fleet scheduler --certs DIR`.",
        )
    return UnavailableError(
        f"the scheduler at {address} and this machine do not accept each other's certificates",
        "Copy the files of one `bench fleet certs DIR` to all machines of the fleet.",
    )
