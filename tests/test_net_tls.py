"""TLS on the way out: always verified, never older than 1.2, and nothing from the environment."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from syncd.errors import BadConfig
from syncd.net import SystemNet, tls_context
from tests.network import answers_all
from tests.simulator.ports import write_certificate
from tests.test_net import client, fails

A_DAY: Final = dt.timedelta(days=1)


def trusting(certificate: Path) -> ssl.SSLContext:
    """The context of the daemon, which for this test trusts one more authority."""
    context = tls_context()
    context.load_verify_locations(certificate)
    return context


@asynccontextmanager
async def tls_server(certificate: Path, version: ssl.TLSVersion | None = None) -> AsyncIterator[str]:
    """An instance behind TLS on localhost; yields its URL. ``version``: the only one that it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if version is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with stream:
                await answers_all(stream)
        except (trio.BrokenResourceError, ssl.SSLError):
            return  # the client did not want us

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", https_compatible=True)
        port = listeners[0].transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined] # of a TCP listener
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield f"https://localhost:{port}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("host", "ends_in", "is_trusted", "words"),
    [
        ("localhost", A_DAY, True, ""),
        ("localhost", -A_DAY, True, "certificate has expired"),
        ("other.example", A_DAY, True, "Hostname mismatch"),
        ("localhost", A_DAY, False, "self-signed certificate"),
    ],
    ids=["good", "expired", "wrong name", "self-signed"],
)
async def test_only_a_certificate_of_a_trusted_authority_for_that_name_and_time_is_accepted(
    tmp_path: Path, host: str, ends_in: dt.timedelta, is_trusted: bool, words: str
) -> None:
    certificate = tmp_path / "server.pem"
    write_certificate(certificate, host, ends_in)
    async with tls_server(certificate) as url:
        external = client(SystemNet(trusting(certificate) if is_trusted else tls_context(), ()), url)
        if not words:
            assert await external.read(["a" * 32]) == []
            await external.aclose()
            return
        failed = await fails(external)
    assert failed.outcome == "unavailable"
    assert words in failed.message


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_before_1_2_is_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    certificate = tmp_path / "server.pem"
    write_certificate(certificate, "localhost")
    async with tls_server(certificate, version) as url:
        failed = await fails(client(SystemNet(trusting(certificate), ()), url))
        assert failed.outcome == "unavailable"
        assert "protocol" in failed.message
        assert tls_context().minimum_version == ssl.TLSVersion.TLSv1_2
        lax = trusting(certificate)  # the same server, asked by somebody who does not mind
        lax.set_ciphers("DEFAULT:@SECLEVEL=0")
        lax.minimum_version = ssl.TLSVersion.TLSv1
        external = client(SystemNet(lax, ()), url)
        assert await external.read(["a" * 32]) == []
        await external.aclose()


# -- the environment ---------------------------------------------------------------------------------------------------


async def test_the_environment_names_no_proxy_no_authority_and_no_key_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key_log, folder = tmp_path / "server.pem", tmp_path / "keys.log", tmp_path / "authorities"
    write_certificate(certificate, "localhost")
    folder.mkdir()
    (folder / "0.pem").write_bytes(certificate.read_bytes())
    asked: list[bytes] = []

    async def proxy(stream: trio.SocketStream) -> None:
        asked.append(bytes(await stream.receive_some()))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy, 0)
        address = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, address)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        monkeypatch.setenv("SSLKEYLOGFILE", str(key_log))
        assert ssl.create_default_context().get_ca_certs()[0]["subject"] == (
            (("commonName", "localhost"),),
        )  # it could
        assert key_log.exists()
        key_log.unlink()
        async with tls_server(certificate) as url:
            failed = await fails(client(SystemNet(tls_context(), ()), url))
            assert "self-signed certificate" in failed.message
            external = client(SystemNet(trusting(certificate), ()), url)
            assert await external.read(["a" * 32]) == []
            await external.aclose()
        nursery.cancel_scope.cancel()
    assert asked == []
    assert not key_log.exists()


def test_the_machines_own_authorities_are_trusted_and_mozillas_where_it_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ssl.get_default_verify_paths()
    certificate = tmp_path / "own.pem"
    write_certificate(certificate, "ca.corp.example")

    def machine(bundle: Path) -> None:
        paths = found._replace(openssl_cafile=str(bundle), openssl_capath=str(tmp_path / "none"))
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)

    machine(certificate)
    assert [one["subject"] for one in tls_context().get_ca_certs()] == [((("commonName", "ca.corp.example"),),)]
    machine(tmp_path / "missing.pem")
    assert len(tls_context().get_ca_certs()) > 50
    (tmp_path / "broken.pem").write_text("no certificate")
    machine(tmp_path / "broken.pem")
    with pytest.raises(BadConfig, match=r"broken\.pem cannot be read"):
        tls_context()
