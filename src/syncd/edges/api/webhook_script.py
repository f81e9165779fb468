"""The ServiceNow business rule that tells us about changes, ready to paste (contract section 9, "Secrets").

One script for insert, update and delete, in global and scoped applications, in ECMAScript 5, which every instance runs.
It carries no secret: that is read from a system property, and base64-encoded by the script because ``generateMac``
wants its key so (docs/servicenow.md, "HMAC"). The script announces; values in its body are never applied here.
What it sends, and how a deployed rule is told from this one, is ``core/rule.py``. Columns that people have mapped go
along, so a change of the mappings is a change of the script.
"""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from syncd.core.model import Integration
from syncd.core.rule import RULE_VERSION, mapped_columns


class ScriptView(Struct, frozen=True):
    """The script as JSON."""

    script: str
    version: str


def property_name(integration: Integration) -> str:
    """The system property that holds the webhook secret; named by id, since a handle may be renamed."""
    return f"syncd.webhook_secret.{integration.id}"


def webhook_script(integration: Integration, public_url: str) -> str:
    """The script of one integration. ``public_url``: where the instance reaches us, no trailing slash."""
    return (
        _TEMPLATE.replace("@NAME@", integration.settings.handle)
        .replace("@URL@", f"{public_url}/api/v1/webhooks/{integration.id}")
        .replace("@HOST@", urlsplit(public_url).netloc)
        .replace("@PROPERTY@", property_name(integration))
        .replace("@VERSION@", RULE_VERSION)
        .replace("@MAPPED@", ", ".join(f"'{column}'" for column in mapped_columns(integration.settings)))
    )


_TEMPLATE: Final = """\
// syncd webhook for the integration @NAME@, version @VERSION@.
//
// 1. System property @PROPERTY@, type password2: the webhook secret, exactly as it was shown once
//    (a new one: im integration rotate-secret @NAME@). In a scoped application give the property the scope's prefix
//    and write that name below.
// 2. System Definition > Business Rules, table incident, Active, Advanced, this script, twice:
//    when async for Insert and Update; when after for Delete (an async rule would find the row gone).
//    One rule, when after, for all three works as well; it hands its requests to the instance's own queue.
// 3. Condition: none. What the sync wrote itself is recognised when it comes back, and a condition on the user would
//    hide what other rules did to the record in the same transaction.
// 4. The instance must be able to reach @HOST@: open it in the firewall, and let its certificate be one the instance
//    trusts. Whether it works: im integration sync-status @NAME@ shows when the last webhook came.
(function executeRule(current, previous) {
  var URL = '@URL@';
  var SECRET_PROPERTY = '@PROPERTY@';
  var VERSION = '@VERSION@';
  var MAPPED = [@MAPPED@]; // of im integration field-mapping list @NAME@; after a change there, paste this anew
  var LOG = 'syncd webhook: ';
  var WAIT_MS = 10000;

  // Raw values out of the row at hand: nothing is read again, so this serves for a row that has just gone.
  function text(field) {
    var value = current.getValue(field);
    return value === null || value === undefined ? '' : String(value);
  }

  function isNoted() {
    var notes = current.work_notes;
    return !!notes && !!notes.changes && !!notes.changes();
  }

  function sign(secret, signed) {
    // generateMac takes its key in base64 and answers in base64. The classes differ between global and scoped.
    var isGlobal = typeof GlideCertificateEncryption !== 'undefined';
    var key = typeof GlideStringUtil !== 'undefined' ? GlideStringUtil.base64Encode(secret) : gs.base64Encode(secret);
    var encryption = isGlobal ? new GlideCertificateEncryption() : new CertificateEncryption();
    return encryption.generateMac(String(key), 'HmacSHA256', signed);
  }

  function requestFor(body, secret) {
    var timestamp = String(Math.floor(new GlideDateTime().getNumericValue() / 1000));
    var signature = sign(secret, timestamp + '.' + body);
    if (!signature) {
      throw 'no signature could be made; check the property ' + SECRET_PROPERTY;
    }
    var request = new sn_ws.RESTMessageV2();
    request.setEndpoint(URL);
    request.setHttpMethod('POST');
    request.setHttpTimeout(WAIT_MS);
    request.setRequestHeader('Content-Type', 'application/json; charset=utf-8');
    request.setRequestHeader('X-ServiceNow-Timestamp', timestamp);
    request.setRequestHeader('X-ServiceNow-Signature', String(signature));
    request.setRequestBody(body);
    return request;
  }

  // True when the request has been answered for good. False: it met something that passes.
  function isAnswered(body, secret) {
    try {
      var status = Number(requestFor(body, secret).execute().getStatusCode());
      if (status < 200 || status >= 300) {
        gs.error(LOG + 'HTTP ' + status + ' for ' + text('number'));
      }
      return status >= 200 && status < 500 && status !== 408 && status !== 429;
    } catch (error) {
      gs.error(LOG + error + ' for ' + text('number'));
      return false;
    }
  }

  try {
    var operation = String(current.operation() || '');
    var secret = String(gs.getProperty(SECRET_PROPERTY) || '');
    if (!secret) {
      gs.error(LOG + 'the property ' + SECRET_PROPERTY + ' is missing or empty');
      return;
    }
    var payload = {
      sys_id: String(current.getUniqueValue()),
      operation: operation,
      number: text('number'),
      sys_mod_count: text('sys_mod_count'),
      updated_on: text('sys_updated_on'),
      updated_by: text('sys_updated_by'),
      correlation_id: text('correlation_id'),
      instance_name: String(gs.getProperty('instance_name') || ''),
      script_version: VERSION
    };
    if (operation !== 'delete') {
      payload.short_description = text('short_description');
      payload.state = text('state');
      payload.priority = text('priority');
      payload.impact = text('impact');
      payload.urgency = text('urgency');
      payload.assigned_to = text('assigned_to');
      for (var i = 0; i < MAPPED.length; i += 1) {
        payload[MAPPED[i]] = payload.hasOwnProperty(MAPPED[i]) ? payload[MAPPED[i]] : text(MAPPED[i]);
      }
    }
    if (operation === 'update' && isNoted()) {
      // That there is a new note, never what it says: notes are read from the journal table.
      payload.work_notes = [{ author: payload.updated_by, created_on: payload.updated_on }];
    }
    // Signed and sent are the same text, and plain ASCII, so that no character set can come between.
    var body = JSON.stringify(payload).replace(/[\\u007f-\\uffff]/g, function (letter) {
      return '\\\\u' + ('0000' + letter.charCodeAt(0).toString(16)).slice(-4);
    });
    // An async rule has no previous, and nobody waits for it. Else, and after a failure, the instance's queue sends.
    var isInBackground = operation !== 'delete' && !previous;
    if (!isInBackground || !isAnswered(body, secret)) {
      requestFor(body, secret).executeAsync();
    }
  } catch (error) {
    gs.error(LOG + error); // a rule that throws would show its error to the user who saves the record
  }
})(current, previous);
"""
