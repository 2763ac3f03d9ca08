"""BullMQ over TLS: a proxy with a certificate of the test's own stands before the server, which has no TLS itself."""

import asyncio
import datetime
import ipaddress
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from footfall.errors import Misconfigured
from footfall.queue.bullmq import BullmqQueue
from footfall.queue.bullmq_connection import RedisAddress
from tests.servers import valkey


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "footfall's test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
async def tls_port(certificate: Path) -> AsyncIterator[int]:
    """A port that speaks TLS, and passes on to the server what is in it."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", valkey().port)
        await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def opened(port: int) -> BullmqQueue:
    address = RedisAddress("127.0.0.1", port, tls=True)
    return await BullmqQueue.open(address, f"tls-{secrets.token_hex(6)}", attempts=5, backoff_ms=1_000)


async def test_a_server_behind_tls_is_used_when_its_certificate_is_trusted(
    tls_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    queue = await opened(tls_port)
    await queue.put([b"1", b"2"])
    (delivery,) = await queue.reserve(1, 60)
    assert delivery.payloads == (b"1", b"2")
    await queue.ack([delivery])
    assert (await queue.depth()).unfinished_events == 0
    await queue.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused_by_name(tls_port: int) -> None:
    with pytest.raises(Misconfigured, match=r"REDIS_TLS: the certificate of 127\.0\.0\.1:\d+ is not trusted"):
        await opened(tls_port)
