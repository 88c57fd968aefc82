"""Templates to pages: one self-contained file each."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader


def render(template: str, **values: object) -> str:
    """The text of a page.

    Args:
        template: its path in the package, such as `report/page.jinja`.
        values: what the template shows; texts are escaped.
    """
    loader = PackageLoader("tinythinker", ".")
    return (
        Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .get_template(template)
        .render(**values)
    )
