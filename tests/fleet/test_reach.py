"""What a machine says of a scheduler that it cannot use."""

import asyncio
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bench.errors import UnavailableError
from bench.fleet import certificates, dask
from bench.fleet.reach import NotThereError, reach


@contextlib.asynccontextmanager
async def listening(folder, role="scheduler"):
    """A server that says hello to whom it accepts; without a folder, to everybody."""

    async def hello(reader, writer):
        with contextlib.suppress(OSError):
            writer.write(b"hello")
            await writer.drain()
            await reader.read()
        writer.close()

    context = dask.security(folder, role).get_listen_args(role)["ssl_context"] if folder else None
    async with await asyncio.start_server(hello, "127.0.0.1", 0, ssl=context) as server:
        yield f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def refusal(folder, ours):
    """What reach raises with the certificates of `ours` at a server with those of `folder`."""

    async def tried():
        async with listening(folder) as address:
            await reach(address, dask.security(ours, "client"), "client")

    with pytest.raises(UnavailableError) as refused:
        asyncio.run(tried())
    return refused.value


@pytest.fixture
def certs(tmp_path):
    for name in ("ours", "theirs"):
        certificates.make(tmp_path / name)
    return tmp_path


def test_a_scheduler_with_certificates_of_others(certs):
    assert (
        "do not accept each other's certificates"
        in refusal(certs / "theirs", certs / "ours").message
    )


def test_a_scheduler_that_alone_refuses(certs):
    """Our authority is theirs, but our certificate is not: TLS says so after the handshake."""
    mixed = certs / "mixed"
    mixed.mkdir()
    for name, owner in (("ca", "theirs"), ("client", "ours"), ("client-key", "ours")):
        (mixed / f"{name}.pem").write_bytes((certs / owner / f"{name}.pem").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask, "checked", lambda folder, role: files(folder, role))
        assert "do not accept each other's" in refusal(certs / "theirs", mixed).message


def files(folder, role):
    return certificates.Files(*certificates.files_of(folder, role))


def test_a_scheduler_whose_certificate_has_expired_meanwhile(certs, tmp_path):
    key, authority_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificates._signed("ca", authority_key, None, authority_key, 9)
    for folder, role, days in (("old", "scheduler", 0), ("new", "client", 9)):
        (tmp_path / folder).mkdir()
        own = certificates._signed(role, key, authority, authority_key, days)
        certificates._write(tmp_path / folder / "ca.pem", certificates._pem(authority))
        certificates._write(tmp_path / folder / f"{role}.pem", certificates._pem(own))
        certificates._write(tmp_path / folder / f"{role}-key.pem", certificates._pem_of_key(key))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask, "checked", files)
        found = refusal(tmp_path / "old", tmp_path / "new")
    assert "has expired" in found.message
    assert "bench fleet certs NEW_DIR" in found.remedy


def test_a_scheduler_without_certificates(certs):
    assert "is not encrypted" in refusal(None, certs / "ours").message


def test_nobody_there_and_somebody_who_hangs_up(certs):
    async def tried(address):
        await reach(address, dask.security(certs / "ours", "client"), "client")

    async def hung_up():
        async with listening(certs / "ours") as address:
            await tried(address)

    with pytest.raises(NotThereError):
        asyncio.run(tried("tls://127.0.0.1:9"))
    with pytest.raises(NotThereError):
        asyncio.run(hung_up())  # it says hello in no protocol of Dask
