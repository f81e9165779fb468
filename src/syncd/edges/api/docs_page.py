"""The API's description as a page for people: one HTML file, no script, nothing from elsewhere.

It owns how the OpenAPI document looks, and knows nothing that is not in it. Every word of it is escaped.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.875rem; }
pre { overflow-x: auto; padding: 0.75rem; background: color-mix(in srgb, currentColor 8%, transparent); }
article { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; }
th { font-weight: 600; }
"""
# No page of ours needs more: nothing is loaded, run, framed or sent from here.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Json = Mapping[str, object]
_CODE: Final = re.compile(r"`([^`]+)`")


def page(document: Json) -> str:
    """The page of an OpenAPI document as ``openapi.py`` writes it."""
    info = _object(document["info"])
    topics = [str(_object(tag)["name"]) for tag in _list(document["tags"])]
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{_text(info["title"])} API</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{_text(info['title'])} {_text(info['version'])}: the API</h1>",
        *(f"<p>{_prose(line)}</p>" for line in str(info["description"]).split("\n") if line),
        '<p>The same for programs: <a href="/api/v1/openapi.json"><code>/api/v1/openapi.json</code></a>.</p>',
        "<nav><ul>",
        *(f'<li><a href="#{_anchor(topic)}">{_text(topic)}</a></li>' for topic in topics),
        '<li><a href="#refusals">Refusals</a></li><li><a href="#schemas">Schemas</a></li></ul></nav>',
    ]
    for topic in topics:
        parts += [
            f'<section id="{_anchor(topic)}"><h2>{_text(topic)}</h2>',
            *_operations(document, topic),
            "</section>",
        ]
    components = _object(document["components"])
    parts += ['<section id="refusals"><h2>Refusals</h2>', _refusals(_object(components["responses"])), "</section>"]
    parts += ['<section id="schemas"><h2>Schemas</h2>', *_schemas(_object(components["schemas"])), "</section>"]
    return "\n".join([*parts, "</body></html>", ""])


def _operations(document: Json, topic: str) -> Iterator[str]:
    for path, methods in _object(document["paths"]).items():
        for method, told in _object(methods).items():
            operation = _object(told)
            if topic in _list(operation["tags"]):
                yield from _operation(method.upper(), path, operation)


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    yield f'<article id="{_text(operation["operationId"])}">'
    yield f"<h3><code>{method} {_text(path)}</code></h3>"
    yield f"<p><strong>{_text(operation['summary'])}.</strong> {_prose(operation['description'])}</p>"
    if parameters := [_object(one) for one in _list(operation["parameters"])]:
        yield "<table><tr><th>parameter</th><th>in</th><th></th></tr>"
        for one in parameters:
            name, place = _text(one["name"]), _text(one["in"])
            yield f"<tr><td><code>{name}</code></td><td>{place}</td><td>{_parameter(one)}</td></tr>"
        yield "</table>"
    body = _content(operation.get("requestBody"))
    for media, content in body.items():
        yield f"<details><summary>Body, {_text(media)}</summary>{_pre(_object(content)['schema'])}</details>"
    yield f"<pre>{_text(_curl(method, path, operation, body))}</pre>"
    yield "<table><tr><th>answer</th><th></th></tr>"
    refusals = []
    for status, answer in _object(operation["responses"]).items():
        if "$ref" in _object(answer):
            refusals.append(f'<a href="#refusal-{_text(status)}">{_text(status)}</a>')
        else:
            yield f"<tr><td>{_text(status)}</td><td>{_success(_object(answer))}</td></tr>"
    yield f"<tr><td>refusals</td><td>{', '.join(refusals)}</td></tr></table></article>"


def _parameter(one: Json) -> str:
    needed = "required. " if one["required"] else ""
    return f"{needed}{_prose(one['description'])} <code>{_text(_compact(one['schema']))}</code>"


def _success(answer: Json) -> str:
    parts = [_prose(answer["description"])]
    for name, header in _object(answer.get("headers", {})).items():
        parts.append(f"<br>header <code>{_text(name)}</code>: {_prose(_object(header)['description'])}")
    for media, told in _content(answer).items():
        content = _object(told)
        parts.append(f"<br>{_text(media)}: {_schema(content['schema'])}")
        if "example" in content:
            parts.append(f"<details><summary>Example</summary>{_pre(content['example'])}</details>")
    return "".join(parts)


def _schema(form: object) -> str:
    """A schema in a line: a link to a named one, a list of them, or what it is."""
    schema = _object(form)
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f'<a href="#schema-{_text(name)}">{_text(name)}</a>'
    if schema.get("type") == "array":
        return f"list of {_schema(schema['items'])}"
    return f"<code>{_text(_compact(schema))}</code>"


def _refusals(responses: Json) -> str:
    rows = [
        f'<tr id="refusal-{_text(status)}"><td>{_text(status)}</td><td>{_success(_object(answer))}</td></tr>'
        for status, answer in responses.items()
    ]
    return f"<table><tr><th>status</th><th></th></tr>{''.join(rows)}</table>"


def _schemas(schemas: Json) -> Iterator[str]:
    for name, form in schemas.items():
        about = _prose(_object(form).get("description", ""))
        yield f'<article id="schema-{_text(name)}"><h3>{_text(name)}</h3><p>{about}</p>{_pre(form)}</article>'


def _curl(method: str, path: str, operation: Json, body: Json) -> str:
    """How to try it from a shell."""
    words = ["curl"] if method == "GET" else [f"curl -X {method}"]
    for one in _list(operation["security"]):
        is_token = "token" in _object(one)
        words.append('-H "Authorization: Bearer $TOKEN"' if is_token else '-H "X-ServiceNow-Signature: $SIGNATURE"')
    for media, content in body.items():
        if (example := _object(content).get("example")) is not None:
            quoted = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
            words += [f"-H 'Content-Type: {media}'", f"-d '{quoted}'"]
    return " ".join([*words, f"http://127.0.0.1:8080{path}"])


def _content(holder: object) -> Json:
    return _object(_object(holder or {}).get("content", {}))


def _prose(words: object) -> str:
    """Escaped, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", _text(words))


def _pre(value: object) -> str:
    return f"<pre>{_text(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _anchor(topic: str) -> str:
    return re.sub(r"[^a-z]+", "-", topic.lower())


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _object(value: object) -> Json:
    if not isinstance(value, Mapping):
        raise TypeError(f"not an object: {value!r}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"not a list: {value!r}")
    return value
