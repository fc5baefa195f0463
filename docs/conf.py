"""Sphinx configuration; tables of settings and of conventions are made here from the code itself."""

from vitrify import __version__
from vitrify.settings import Study
from vitrify.transition import CONVENTIONS

project = "vitrify"
author = "The vitrify developers"
copyright = "2026, The vitrify developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"vitrify {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "model_config, model_post_init"}
napoleon_numpy_docstring = False


def _limits(schema):
    words = {
        "exclusiveMinimum": "> {}",
        "minimum": "≥ {}",
        "exclusiveMaximum": "< {}",
        "maximum": "≤ {}",
        "minItems": "at least {} entries",
        "maxItems": "at most {} entries",
    }
    return [text.format(schema[key]) for key, text in words.items() if key in schema]


def _kind(schema):
    """Return the type of one setting in words, with its limits."""
    if "const" in schema:
        return f'`"{schema["const"]}"`'
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        inner = schema.get("items") or schema["prefixItems"][0]
        fixed = f"{schema['maxItems']} × " if schema.get("minItems") == schema.get("maxItems") is not None else ""
        limits = [] if fixed else _limits(schema)
        return ", ".join([f"{fixed}{_kind(inner)}" if fixed else f"list of {_kind(inner)}", *limits])
    return ", ".join([schema.get("type", "any").replace("null", "none"), *_limits(schema)])


def _value(default):
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{list(default) if isinstance(default, tuple) else default!r}`".replace("'", '"')


def _tables(schema, path, definitions):
    """Return the Markdown table of one table of a study file, then those nested in it."""
    rows, nested = [], []
    for name, setting in schema["properties"].items():
        inner = f"{path}.{name}" if path else name
        table = next((choice for choice in [setting, *setting.get("anyOf", [])] if "$ref" in choice), None)
        if table:
            nested.append((inner, definitions[table["$ref"].rpartition("/")[2]]))
        elif "$ref" in setting.get("items", {}):
            nested.append((f"[{inner}]", definitions[setting["items"]["$ref"].rpartition("/")[2]]))
        elif "discriminator" in (one := setting.get("items", setting)):
            nested += [
                (f'{inner}, kind = "{kind}"', definitions[ref.rpartition("/")[2]])
                for kind, ref in one["discriminator"]["mapping"].items()
            ]
        else:
            default = _value(setting.get("default")) if name not in schema.get("required", ()) else "to be named"
            rows.append(f"| `{name}` | {_kind(setting)} | {default} | {setting['description']} |")
    title = f"### `[{path}]`" if path else "### The top of the file"
    if "kind = " in path:
        table, _, rest = path.partition(", ")
        kind, dot, view = rest.partition(".")
        brackets = f"[[{table}]]" if table == "models" else f"[{table}]"
        title = f"### `{brackets}` with `{kind}`" + (f": `{view}`" if dot else "")
    first_line = schema.get("description", "").partition("\n")[0]
    yield "\n".join([title, "", first_line, "", "| key | type | default | meaning |", "|---|---|---|---|", *rows])
    for inner, definition in nested:
        yield from _tables(definition, inner, definitions)


def _settings():
    schema = Study.model_json_schema()
    return "\n\n".join(_tables(schema, "", schema["$defs"]))


def _conventions():
    rows = [
        f"| {c.how} | {c.glass[0]} to {c.glass[1]} | {c.liquid[0]} to {c.liquid[1]} | {c.source} |"
        for c in CONVENTIONS.values()
    ]
    return "\n".join(["| how | glass window | liquid window | used by |", "|---|---|---|---|", *rows])


def _insert_tables(_app, _docname, source):
    for marker, table in (("<!-- settings -->", _settings), ("<!-- conventions -->", _conventions)):
        if marker in source[0]:
            source[0] = source[0].replace(marker, table())


def setup(app):
    app.connect("source-read", _insert_tables)
