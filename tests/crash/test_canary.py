"""No secret gets out: canaries go in at every door, and are looked for in everything that comes out, in every dress.

The real daemon at debug level with the sync trace on, through errors, a crash of an actor, a kill and a replay.
"""

import base64
import hmac
import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from tests.crash.buggy_daemon import MENDED, MERGING_FAILS
from tests.crash.installation import IM, Installation, started, until

# Each is of a length of its own, so that none is a part of another.
CANARIES: Final = {
    "password": "canary-Password/1+x",
    "wrong password": "canary-wrong-pass/2+x",
    "api key": "canary-api-key/3+xyz",
    "client secret": "canary-client-secret/4",
    "webhook secret": "canary-webhook-secret/5",
    "token": "canary-token-of-nobody/6",
    "base_url user": "canary-user-of-the-url-7",
    "query": "canary-query-of-a-request8",
    "signature": "canary-signature-of-a-hook9",
    "basic": "canary-basic-authorization10",
    "argv": "canary-argv-of-a-wrong-line11",
    "config": "canary-value-in-the-config-12",
    "environment": "canary-value-in-environment13",
    "cookie": "canary-cookie-of-a-request-14-x",
    "password in argv": "canary-password-in-argv-15-xy",
    "server user": "canary-user-of-the-server-16-x",
    "idempotency key": "canary-idempotency-key-17-xyz1",
    "instance's cookie": "canary-cookie-of-an-instance-18",
    "instance's redirect": "canary-redirect-of-an-instance19",
}


def dresses(secret: bytes) -> set[bytes]:
    """The forms in which a secret may be written down."""
    # In base64 what stands before and behind it changes the first and last letters: what is between never changes.
    cores = {base64.b64encode(bytes(n) + secret)[first:].rstrip(b"=")[:-2] for n, first in ((0, 0), (1, 2), (2, 3))}
    text = secret.decode("latin-1")
    written = {secret, secret.hex().encode(), secret.hex().upper().encode(), secret[::-1], *cores}
    return written | {quote(text, safe="").encode(), json.dumps(text)[1:-1].encode()}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    one = Installation(tmp_path)
    one.daemon.module = "tests.crash.buggy_daemon"
    one.daemon.environ |= {
        "INCIDENTS_LOG_LEVEL": "debug",
        "INCIDENTS_SYNC_TRACE": "true",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        MENDED: str(tmp_path / "mended"),
    }
    try:
        one.start()
        yield one
    finally:
        one.stop()


class Odd(BaseHTTPRequestHandler):
    """An instance that gives everybody a session, and sends them away with it."""

    def do_GET(self) -> None:
        """Any request."""
        self.send_response(302)
        session, place = CANARIES["instance's cookie"], CANARIES["instance's redirect"]
        self.send_header("Set-Cookie", f"JSESSIONID={session}; Path=/; HttpOnly")
        self.send_header("Location", f"https://u:{place}@elsewhere.service-now.com/{place}?session={place}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PATCH = do_GET  # noqa: N815 the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name that http.server gives it
        """It says nothing itself."""


@pytest.fixture
def odd_instance() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(5)
    server.server_close()


class Ear:
    """Everything that came out, by where."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.heard: list[tuple[str, bytes]] = []

    def im(self, *words: str, stdin: bytes = b"", **environ: str) -> bytes:
        """One run of `im`, whatever its end."""
        environment = self.installation.im.environ | environ
        done = subprocess.run([IM, *words], env=environment, input=stdin, capture_output=True, timeout=30, check=False)
        self.heard.append((f"im {' '.join(words)[:60]}", done.stdout + done.stderr))
        return done.stdout

    def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        """One request over TCP, whatever its end."""
        answer = self.installation.client.request(method, f"{self.installation.daemon.url}{path}", **more)  # type: ignore[arg-type]
        self.heard.append((f"{method} {path[:60]}", answer.content + repr(answer.headers).encode()))
        return answer

    def look(self) -> None:
        """The files, and what the machine shows of the daemon's process."""
        process = self.installation.daemon.process
        assert process is not None
        for name in ("cmdline", "environ"):
            self.heard.append((name, Path(f"/proc/{process.pid}/{name}").read_bytes()))
        folder = self.installation.folder
        kept = {"password", "client", "hook", "master.key", "syncd.toml"}  # where we put them ourselves
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in kept:
                self.heard.append((str(path.relative_to(folder)), path.read_bytes()))


def test_no_canary_is_found_in_anything_that_comes_out(installation: Installation, odd_instance: str) -> None:
    ear, folder, made = Ear(installation), installation.folder, installation.simulator_url
    installation.control("POST", "/users", {"user": "bird", "password": CANARIES["password"]})
    (folder / "password").write_text(CANARIES["password"])
    (folder / "hook").write_text(CANARIES["webhook secret"])
    (folder / "client").write_text(CANARIES["client secret"])
    base = ("--name", "Bird", "--base-url", made, "--username", "bird")
    ear.im(
        *("integration", "configure", "bird", *base, "--password-file", str(folder / "password")),
        *("--webhook-secret-file", str(folder / "hook"), "--no-create-platform"),
    )
    assert CANARIES["webhook secret"].encode() in ear.heard.pop()[1]  # shown this once, and so is a token
    token = json.loads(ear.im("token", "create", "--scope", "admin", "--format", "json"))["token"]
    ear.heard.pop()
    headers = {"Authorization": f"Bearer {token}"}

    ear.im("declare", "--title", "It works", "--sev", "2")
    until(lambda: b"active" in ear.im("integration", "links", "bird"), "the record is made")
    incident_id = json.loads(ear.im("incident", "list", "--format", "json"))[0]["id"]

    # Through the CLI, right and wrong.
    ear.im("integration", "configure", "bird", "--client-id", "c", "--client-secret-file", str(folder / "client"))
    ear.im("integration", "configure", "bird", "--api-key-file", "-", stdin=CANARIES["api key"].encode())
    ear.im(
        "integration",
        "configure",
        "bird",
        "--username",
        "bird",
        "--password-stdin",
        stdin=CANARIES["wrong password"].encode(),
    )
    ear.im("incident", "update", incident_id, "--title", "It is written with the wrong password")
    until(lambda: b"paused" in ear.im("integration", "sync-status", "bird"), "the wrong password is refused")
    ear.im("integration", "test", "bird")
    ear.im("integration", "configure", "bird", "--username", "bird", "--password-file", str(folder / "password"))
    for words in (
        ("integration", "configure", "bird", "--base-url", f"https://u:{CANARIES['base_url user']}@x.service-now.com"),
        ("integration", "list", "--token", CANARIES["token"], "--server", installation.daemon.url),
        ("integration", "list", "--server", f"http://u:{CANARIES['server user']}@127.0.0.1:1"),
        ("integration", "configure", "bird", "--pasword", CANARIES["argv"]),
        (
            *("integration", "configure", "odd", "--name", "Odd", "--base-url", odd_instance, "--username", "u"),
            *("--password", CANARIES["password in argv"]),
        ),
        ("integration", "test", "odd"),
    ):
        ear.im(*words)
    for title in ("Once", "Once", "Another"):
        ear.im("declare", "--title", title, "--sev", "3", "--idempotency-key", CANARIES["idempotency key"])
    ear.im("incident", "list", "--server", installation.daemon.url, INCIDENTS_TOKEN=CANARIES["environment"])
    refusing = {**installation.daemon.environ, "INCIDENTS_PUBLIC_URL": f"https://u:{CANARIES['environment']}@host"}
    (folder / "syncd.toml").write_text(f'listen = "u:{CANARIES["config"]}@host:1"\n')
    for environ in (
        refusing,
        {key: one for key, one in installation.daemon.environ.items() if key != "INCIDENTS_LISTEN"},
    ):
        command = [str(Path(IM).parent / "syncd"), "serve"]
        done = subprocess.run(command, env=environ, capture_output=True, timeout=30, check=False)
        assert done.returncode == 78
        ear.heard.append(("a refused start", done.stdout + done.stderr))
    (folder / "syncd.toml").write_text("")

    # Through the API and the webhook door, right and wrong.
    name = CANARIES["password"]
    ear.ask("POST", "/api/v1/integrations", headers=headers, json={"name": "X", "credentials": {"pass": name}})
    ear.ask("PATCH", "/api/v1/integrations/bird", headers=headers, json={"webhook_secret": ["x", name]})
    ear.ask("GET", f"/api/v1/incidents?nonsense={CANARIES['query']}", headers=headers)
    ear.ask("GET", "/api/v1/incidents", headers={"Authorization": f"Bearer {CANARIES['token']}"})
    ear.ask("GET", "/api/v1/incidents", auth=("u", CANARIES["basic"]))
    ear.ask("GET", "/api/v1/incidents", headers={**headers, "Cookie": f"session={CANARIES['cookie']}"})
    hook = "/api/v1/webhooks/bird"
    ear.ask("POST", hook, json={"sys_id": "1" * 32}, headers={"X-ServiceNow-Signature": CANARIES["signature"]})
    ear.ask(
        "POST", f"{hook}?{CANARIES['query']}", content=b"{", headers={"X-ServiceNow-Signature": CANARIES["signature"]}
    )

    rotated = json.loads(ear.im("integration", "rotate-secret", "bird", "--format", "json"))["webhook_secret"]
    ear.heard.pop()
    body = b'{"sys_id": "11111111111111111111111111111111"}'
    signatures = {}
    for what, secret in (("old", CANARIES["webhook secret"]), ("new", rotated)):
        digest = hmac.digest(secret.encode(), body, "sha256")
        signatures[f"signature by the {what} secret"] = signature = base64.b64encode(digest).decode()
        sent = {"X-ServiceNow-Signature": signature, "Content-Type": "application/json"}
        assert ear.ask("POST", hook, content=body, headers=sent).status_code == 202

    # A crash of an actor, a kill, a replay, and everything that can be read.
    ear.im("incident", "update", incident_id, "--title", f"It {MERGING_FAILS}")
    until(lambda: "Traceback" in installation.daemon.log() or "traceback=" in installation.daemon.log(), "it crashes")
    ear.im("keys", "rotate")
    ear.im("support-bundle", "--output", str(folder / "bundle-of-a-live-one"))
    ear.im("support-bundle", "--output", str(folder / "bundle-with-text"), "--include-text")
    ear.look()
    assert installation.daemon.process is not None
    installation.daemon.process.kill()
    installation.daemon.process.wait(5)
    ear.im("support-bundle", "--output", str(folder / "bundle-of-a-dead-one"), "--include-text")
    started(installation.daemon)
    described = ear.ask("GET", "/api/v1/openapi.json", headers=headers).json()["paths"]
    for path in described:
        if "{" not in path and "get" in described[path] and path != "/api/v1/events":
            ear.ask("GET", path, headers=headers)
        elif (
            path.startswith("/api/v1/integrations/{integration}") and path.count("{") == 1 and "get" in described[path]
        ):
            ear.ask("GET", path.replace("{integration}", "bird"), headers=headers)
    lines: list[tuple[str, ...]] = [
        *(("integration", word, "bird") for word in ("get", "sync-status", "links", "dlq", "webhook-script", "test")),
        *(("incident", word, incident_id) for word in ("show", "timeline", "explain")),
        *(("journal", word) for word in ("info", "verify", "tail")),
        *((("token", "list")), ("keys", "list"), ("status",), ("conflict", "list", "--status", "all")),
        *(("journal", "show", str(position)) for position in range(1, 4)),
    ]
    for line in lines:
        ear.im(*line)
    ear.look()

    secrets = {**CANARIES, **signatures, "the real token": token, "the new webhook secret": rotated}
    secrets["master key"] = (folder / "master.key").read_text().strip()
    found = [
        f"{what}: {where}"
        for what, secret in secrets.items()
        for where, came_out in ear.heard
        for dress in dresses(secret.encode())
        if dress in came_out
    ]
    raw_key = base64.b64decode(secrets["master key"])
    found += [f"master key, raw: {where}" for where, came_out in ear.heard if raw_key in came_out]
    assert not found, "\n".join(sorted(set(found)))
    assert len(ear.heard) > 60
    bundles = [json.loads(came_out) for where, came_out in ear.heard if where.startswith("bundle-")]
    assert {(one["text_included"], one["daemon"] is None) for one in bundles} == {
        (False, False),
        (True, False),
        (True, True),
    }
    assert sum(len(came_out) for _, came_out in ear.heard) > 100_000


@pytest.mark.parametrize("canary", CANARIES.values())
def test_a_canary_would_be_found_in_any_dress(canary: str) -> None:
    secret = canary.encode()
    forms = {secret, secret.hex().encode(), secret[::-1], quote(canary, safe="").encode(), json.dumps(canary).encode()}
    forms |= {base64.b64encode(b"behind"[:offset] + secret + b"before") for offset in range(3)}
    for form in forms:
        assert any(dress in b"before " + form + b" behind" for dress in dresses(secret)), form
    assert not any(dress in b"before and behind " + secret[:-1] for dress in dresses(secret))
