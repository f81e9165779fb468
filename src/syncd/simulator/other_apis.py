"""The Batch and the Aggregate API.

Owns their envelopes. A batch runs its requests one after another through the same door as single ones; the count of an
aggregate may include rows that the user cannot see.
"""

import base64
import binascii
from collections.abc import Callable

from syncd.simulator.accounts import Actor
from syncd.simulator.kernel import Kernel
from syncd.simulator.table_api import TableApi, decoded_body
from syncd.simulator.wire import Refusal, Request, Response, json_response

__all__ = ["answer_batch", "answer_stats"]

_TEXTS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}


def answer_batch(kernel: Kernel, request: Request, serve: Callable[[Request], Response]) -> Response:
    """Run the requests of a batch; always 200 once the envelope is readable. What does not fit the time is listed."""
    body = decoded_body(request)
    items = body.get("rest_requests")
    if not isinstance(items, list):
        raise Refusal(400, "Exception while reading request", "rest_requests is missing or not a list")
    serviced, unserviced = [], []
    left_ms = kernel.switches.number("batch_ms")
    each_ms = max(1.0, kernel.switches.number("request_ms"))
    for item in items:
        if not isinstance(item, dict):
            continue
        left_ms -= each_ms
        if left_ms < 0:
            unserviced.append(str(item.get("id", "")))
            continue
        serviced.append(_serviced(item, request, serve, each_ms))
    answer = {"batch_request_id": str(body.get("batch_request_id", "")), "serviced_requests": serviced}
    return json_response(200, {**answer, "unserviced_requests": unserviced})


def _serviced(
    item: dict[str, object], request: Request, serve: Callable[[Request], Response], each_ms: float
) -> dict[str, object]:
    given = item.get("headers")
    headers = [
        (str(header.get("name", "")), str(header.get("value", "")))
        for header in (given if isinstance(given, list) else [])
        if isinstance(header, dict)
    ]
    headers.append(("Host", request.header("host")))
    try:
        body = base64.b64decode(str(item.get("body", "")), validate=True)
        inner = Request(str(item.get("method", "GET")).upper(), str(item.get("url", "")), headers, body)
        response = serve(inner)
    except binascii.Error as error:
        response = Refusal(400, "Exception while reading request", f"body is not base64: {error}").response()
    except Refusal as refusal:
        response = refusal.response()
    is_bare = item.get("exclude_response_headers") is True
    return {
        "id": str(item.get("id", "")),
        "status_code": response.status,
        "status_text": _TEXTS.get(response.status, ""),
        "body": base64.b64encode(response.body).decode(),
        "headers": [] if is_bare else [{"name": name, "value": value} for name, value in response.headers],
        "execution_time": int(each_ms),
    }


def answer_stats(kernel: Kernel, api: TableApi, request: Request, actor: Actor) -> Response:
    """``/api/now/stats/{table}?sysparm_count=true``: the count as text."""
    name = request.path.rstrip("/").rpartition("/")[2]
    rows = api.matching(name, request, actor)
    table = kernel.store.tables[name]
    if not kernel.switches.is_on("count_hidden_rows"):
        rows = api.visible(rows, table, actor)
    group = request.parameters.get("sysparm_group_by", "")
    if group and group in table.columns:
        counts: dict[str, int] = {}
        for row in rows:
            counts[row[group]] = counts.get(row[group], 0) + 1
        result: object = [
            {"stats": {"count": str(count)}, "groupby_fields": [{"field": group, "value": value}]}
            for value, count in sorted(counts.items())
        ]
    else:
        result = {"stats": {"count": str(len(rows))}}
    return json_response(200, {"result": result})
