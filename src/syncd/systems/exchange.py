"""One HTTP exchange with an instance: a request, and its answer, bounded in bytes and time.

Follows no redirect, holds no cookie, accepts no compression. What an answer means is ``answers.py``'s part.
"""

from collections.abc import Callable, Mapping
from typing import Final

import httpx
import trio

from syncd.errors import ExternalFailed, ExternalUnreadable, Outcome
from syncd.systems.answers import HEADERS_READ, TEXT_SHOWN, Answer

CONNECT_S_MAX: Final = 10.0
READ_S_MAX: Final = 30.0
# Longer than the usual 60 s transaction quota: "no answer" should rarely mean "still running".
WRITE_S_MAX: Final = 70.0


def request_of(
    method: str, target: str, signed: Mapping[str, str], content: bytes | None, kind: str | None
) -> httpx.Request:
    """A request with the headers that sign it; ``kind``: the media type of its content."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **signed}
    if kind is not None:
        headers["Content-Type"] = kind
    timeout = {"connect": CONNECT_S_MAX, "pool": CONNECT_S_MAX, "read": None, "write": None}
    return httpx.Request(method, target, headers=headers, content=content, extensions={"timeout": timeout})


async def ask(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    bytes_max: int,
    hide: Callable[[str], str],
    *,
    writes: bool,
    heard: Callable[[int, Mapping[str, str]], None] = lambda _status, _headers: None,
) -> Answer:
    """The whole answer, whatever it says; ``ExternalFailed`` when there is none.

    ``writes``: the request may change something. ``hide`` takes secrets out of what is told of the answer. ``heard`` is
    told of status and headers as soon as they are there: the body may take its time.
    """
    unclear: Outcome = "ambiguous" if writes else "unavailable"
    deadline_s = WRITE_S_MAX if writes else READ_S_MAX
    try:
        with trio.fail_after(deadline_s):
            response = await transport.handle_async_request(request)
            headers = {name: response.headers[name] for name in HEADERS_READ if name in response.headers}
            try:
                heard(response.status_code, headers)
                body = await _bounded(response, bytes_max, unclear)
            finally:
                with trio.move_on_after(1, shield=True):
                    await response.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise ExternalFailed("unavailable", f"cannot be reached: {_words(error)}") from error
    except httpx.LocalProtocolError as error:
        # Nothing has left the machine; the error's own words may hold a header, and so a secret.
        words = "the request cannot be made: the credentials hold a character that HTTP cannot carry"
        raise ExternalFailed("paused", words) from error
    except httpx.TransportError as error:
        # Behind the colon stands what came, a header as well as any other line.
        raise ExternalFailed(unclear, f"the connection broke: {_words(error).partition(':')[0]}") from error
    except trio.TooSlowError as error:
        raise ExternalFailed(unclear, f"no answer within {deadline_s:g} s") from error
    return Answer(response.status_code, headers, body, hide)


async def _bounded(response: httpx.Response, bytes_max: int, unclear: Outcome) -> bytearray:
    """The raw body, refused when it is compressed or endless: bytes from ServiceNow are hostile input too."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        message = f"a compressed answer ({encoding[:TEXT_SHOWN]}) that was not asked for"
        raise ExternalFailed(unclear, message, status=response.status_code)
    body = bytearray()
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 for mypy: the transport is asynchronous
    # Nothing may raise in the body of this loop: the library's generators, one inside the other, would be left behind
    # for the garbage collector. A cancellation ends them from within.
    with trio.CancelScope() as scope:
        async for chunk in response.stream:
            if len(body) + len(chunk) > bytes_max:
                scope.cancel()
            else:
                body += chunk
                await trio.lowlevel.cancel_shielded_checkpoint()  # tiny chunks by the thousand: others have their turn
    if scope.cancel_called:
        message = f"an answer of more than {bytes_max} bytes"
        raise ExternalUnreadable(unclear, message, status=response.status_code)
    return body


def _words(error: BaseException) -> str:
    """What an error says; when that is nothing, what the one behind it says, such as a certificate's fault."""
    at: BaseException | None = error
    while at is not None and not str(at):
        at = at.__cause__ or at.__context__
    return str(at) if at is not None else type(error).__name__
