"""The ServiceNow business rule that tells us about changes, ready to paste (contract section 9, "Secrets").

One script for insert, update and delete, in global and scoped applications, in ECMAScript 5, which every instance runs.
It carries no secret: that is read from a system property, and base64-encoded by the script because ``generateMac``
wants its key so (docs/servicenow.md, "HMAC"). The script announces; values in its body are never applied here.
"""

from typing import Final

from msgspec import Struct

from syncd.core.model import Integration

VERSION: Final = "1"


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
        .replace("@PROPERTY@", property_name(integration))
        .replace("@VERSION@", VERSION)
    )


_TEMPLATE: Final = """\
// syncd webhook for the integration @NAME@, version @VERSION@.
//
// 1. System property @PROPERTY@, type password2: the webhook secret, exactly as it was shown once
//    (a new one: im integration rotate-secret @NAME@). In a scoped application give the property the scope's prefix
//    and write that name below.
// 2. System Definition > Business Rules, table incident, Advanced, this script, twice:
//    when async for insert and update; when after for delete (an async rule would find the row gone).
// No condition is needed: what the sync wrote itself is recognised when it comes back.
(function executeRule(current, previous) {
  var URL = '@URL@';
  var SECRET_PROPERTY = '@PROPERTY@';
  var TRIES = 3;
  var LOG = 'syncd webhook: ';

  function text(field) {
    var value = current.getValue(field);
    return value === null || value === undefined ? '' : String(value);
  }

  function sign(secret, signed) {
    // generateMac takes its key in base64 and answers in base64. The classes differ between global and scoped.
    var isGlobal = typeof GlideCertificateEncryption !== 'undefined';
    var key = typeof GlideStringUtil !== 'undefined' ? GlideStringUtil.base64Encode(secret) : gs.base64Encode(secret);
    var encryption = isGlobal ? new GlideCertificateEncryption() : new CertificateEncryption();
    return encryption.generateMac(String(key), 'HmacSHA256', signed);
  }

  function send(operation, body, secret) {
    var request = new sn_ws.RESTMessageV2();
    var timestamp = String(Math.floor(new GlideDateTime().getNumericValue() / 1000));
    var signature = sign(secret, timestamp + '.' + body);
    if (!signature) {
      gs.error(LOG + 'no signature could be made; check the property ' + SECRET_PROPERTY);
      return true;
    }
    request.setEndpoint(URL);
    request.setHttpMethod('POST');
    request.setHttpTimeout(10000);
    request.setRequestHeader('Content-Type', 'application/json; charset=utf-8');
    request.setRequestHeader('X-ServiceNow-Timestamp', timestamp);
    request.setRequestHeader('X-ServiceNow-Signature', String(signature));
    request.setRequestBody(body);
    if (operation === 'delete') {
      request.executeAsync(); // this rule runs inside a user's transaction, which must not wait for us
      return true;
    }
    var response = request.execute();
    var status = Number(response.getStatusCode());
    if (status >= 200 && status < 300) {
      return true;
    }
    var isPassing = status === 0 || status === 408 || status === 429 || status >= 500;
    gs.warn(LOG + 'HTTP ' + status + ' for ' + text('number') + ' ' + (response.getErrorMessage() || ''));
    return !isPassing;
  }

  try {
    var operation = String(current.operation());
    var secret = gs.getProperty(SECRET_PROPERTY);
    if (!secret) {
      gs.error(LOG + 'the property ' + SECRET_PROPERTY + ' is missing or empty');
      return;
    }
    var payload = {
      sys_id: String(current.getUniqueValue()),
      operation: operation,
      number: text('number'),
      short_description: text('short_description'),
      state: text('state'),
      priority: text('priority'),
      impact: text('impact'),
      urgency: text('urgency'),
      assigned_to: String(current.assigned_to.getDisplayValue() || ''),
      correlation_id: text('correlation_id'),
      sys_mod_count: text('sys_mod_count'),
      updated_on: text('sys_updated_on'),
      updated_by: text('sys_updated_by'),
      instance_name: String(gs.getProperty('instance_name') || '')
    };
    // Signed and sent are the same text, and plain ASCII, so that no character set can come between.
    var body = JSON.stringify(payload).replace(/[\\u007f-\\uffff]/g, function (letter) {
      return '\\\\u' + ('0000' + letter.charCodeAt(0).toString(16)).slice(-4);
    });
    for (var tried = 0; tried < TRIES; tried++) {
      try {
        if (send(operation, body, String(secret))) {
          return;
        }
      } catch (error) {
        gs.warn(LOG + 'attempt ' + (tried + 1) + ' failed: ' + error);
      }
    }
    gs.error(LOG + 'gave up on ' + payload.number + '; the next reconcile will find the change');
  } catch (error) {
    gs.error(LOG + error); // a rule that throws would show its error to the user who saves the record
  }
})(current, previous);
"""
