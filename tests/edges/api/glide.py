"""As much of ServiceNow's Glide API as the webhook script may use, on Duktape: an engine of ECMAScript 5.

It keeps the promises of docs/servicenow.md, "HMAC": keys and MACs in base64, null for a key that is none.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

import dukpy
from msgspec import Struct

_GLIDE = """
var requests = [], errors = [], reads = [];
var gs = {
  getProperty: function (name) {
    return Object.prototype.hasOwnProperty.call(dukpy.properties, name) ? dukpy.properties[name] : null;
  },
  error: function (text) { errors.push(String(text)); }
};
function Encryption() {}
Encryption.prototype.generateMac = function (key, algorithm, text) { return call_python('mac', key, algorithm, text); };
function base64Encode(text) { return call_python('base64_encode', text); }
if (dukpy.is_scoped) {
  gs.base64Encode = base64Encode;
  this.CertificateEncryption = Encryption;
} else {
  this.GlideStringUtil = { base64Encode: base64Encode };
  this.GlideCertificateEncryption = Encryption;
}
function GlideDateTime() {}
GlideDateTime.prototype.getNumericValue = function () { return dukpy.now_ms; };
function RESTMessageV2() { this.sent = { headers: {} }; }
RESTMessageV2.prototype = {
  setEndpoint: function (url) { this.sent.url = url; },
  setHttpMethod: function (method) { this.sent.method = method; },
  setHttpTimeout: function (ms) { this.sent.wait_ms = ms; },
  setRequestHeader: function (name, value) { this.sent.headers[name] = value; },
  setRequestBody: function (body) { this.sent.body = body; },
  execute: function () {
    this.sent.waits = true;
    requests.push(this.sent);
    if (dukpy.answers.length === 0) { throw 'Connection refused'; }
    var status = dukpy.answers.shift();
    return { getStatusCode: function () { return status; } };
  },
  executeAsync: function () {
    this.sent.waits = false;
    requests.push(this.sent);
  }
};
var sn_ws = { RESTMessageV2: RESTMessageV2 };
var current = {
  operation: function () { return dukpy.operation; },
  getUniqueValue: function () { return dukpy.row.sys_id; },
  getValue: function (name) {
    reads.push(name);
    return Object.prototype.hasOwnProperty.call(dukpy.row, name) ? dukpy.row[name] : null;
  },
  work_notes: { changes: function () { return dukpy.is_noted; } }
};
var previous = dukpy.has_previous ? {} : null;
"""


class Sent(Struct, frozen=True):
    """A request that the script made. ``waits``: it stayed for the answer."""

    url: str
    method: str
    headers: dict[str, str]
    body: str
    waits: bool
    wait_ms: int


class Ran(Struct, frozen=True):
    """What one run of a business rule did. ``reads``: the columns it looked at."""

    requests: list[Sent]
    errors: list[str]
    reads: list[str]


def run_rule(
    script: str,
    operation: str,
    row: Mapping[str, str],
    properties: Mapping[str, str],
    now_s: float,
    *,
    is_scoped: bool = False,
    is_async: bool = True,
    is_noted: bool = False,
    answers: Sequence[int] = (202,),
) -> Ran:
    """Run a business rule's script for one write. ``answers``: the statuses it gets; refused connections after them."""
    engine = dukpy.JSInterpreter()
    engine.export_function("mac", _mac)
    engine.export_function("base64_encode", lambda text: base64.b64encode(text.encode()).decode())
    told = engine.evaljs(
        [_GLIDE, script, "JSON.stringify({requests: requests, errors: errors, reads: reads})"],
        operation=operation,
        row=dict(row),
        properties=dict(properties),
        now_ms=int(now_s * 1000),
        is_scoped=is_scoped,
        has_previous=not is_async,
        is_noted=is_noted,
        answers=list(answers),
    )
    ran = json.loads(told)
    return Ran([Sent(**one) for one in ran["requests"]], ran["errors"], ran["reads"])


def _mac(key: str, algorithm: str, text: str) -> str | None:
    assert algorithm == "HmacSHA256"
    try:
        secret = base64.b64decode(key, validate=True)
    except binascii.Error:
        return None
    return base64.b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).decode() if secret else None
