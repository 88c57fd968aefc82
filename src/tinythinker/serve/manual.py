"""A page about a service's paths, written from its OpenAPI description; it needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import cast

from tinythinker.core.files import Json

_STYLE = """:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.3rem; } code, pre { font-family: ui-monospace, monospace; }
pre, .wide { overflow-x: auto; } pre { border: 1px solid #8888; border-radius: 0.4rem; padding: 0.6rem; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; }"""
_TRY = """curl http://localhost:8000/v1/answer -H 'content-type: application/json' \\
    -d '{"question": "Which is heavier?", "options": ["cow", "fox"]}'"""


def manual(described: Json) -> str:
    """The page.

    Args:
        described: the OpenAPI description.
    """
    body = "\n".join(_body(described))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>tinythinker: paths</title>'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def _body(described: Json) -> Iterator[str]:
    yield "<h1>tinythinker</h1>"
    yield '<p>The <a href="/">playground</a> asks by hand. Programs use the paths below; <a href="/openapi.json">'
    yield "openapi.json</a> describes them for tools. If the service has a key, send it as <code>Authorization: Bearer"
    yield f"KEY</code>.</p><pre tabindex='0'>{escape(_TRY)}</pre>"
    for path, methods in _of(described, "paths").items():
        for method, about in cast(Json, methods).items():
            operation = cast(Json, about)
            yield f"<h2><code>{method.upper()} {escape(path)}</code>: {escape(str(operation['summary']))}</h2>"
            yield f"<p>{_prose(operation)}</p>"
            if "requestBody" in operation:
                content = _of(_of(_of(operation, "requestBody"), "content"), "application/json")
                yield from _fields("takes", _named(described, content))
            content = _of(_of(_of(_of(operation, "responses"), "200"), "content"), "application/json")
            if "$ref" in _of(content, "schema"):
                yield from _fields("gives", _named(described, content))


def _of(tree: Json, key: str) -> Json:
    found = tree.get(key, {})
    return found if isinstance(found, dict) else {}


def _named(described: Json, content: Json) -> Json:
    """The schema that a body refers to."""
    name = str(_of(content, "schema").get("$ref", "")).rpartition("/")[2]
    return _of(_of(_of(described, "components"), "schemas"), name)


def _fields(does: str, schema: Json) -> Iterator[str]:
    yield f'<p>{_prose(schema)} It {does}:</p><div class="wide" tabindex="0" role="region" aria-label="Fields"><table>'
    required = schema.get("required", [])
    for name, about in _of(schema, "properties").items():
        must = "Required. " if does == "takes" and isinstance(required, list) and name in required else ""
        yield f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{must}{_prose(cast(Json, about))}</td></tr>"
    yield "</table></div>"


def _prose(about: Json) -> str:
    """A description, with what stands in backquotes as code."""
    parts = escape(str(about.get("description", ""))).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
