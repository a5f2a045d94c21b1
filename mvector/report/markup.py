"""HTML and SVG built so that nothing user-supplied can become markup: every text is escaped unless it is `Markup`."""

import html
import re
from collections.abc import Iterable

# What HTML cannot hold, and the marks by which a file name could reverse the text around it.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_VOID = frozenset({"br", "hr", "meta"})


class Markup(str):
    """Text that is HTML already; only this module and constants of the package make it."""


def escaped(text: object) -> Markup:
    """`text` as HTML that shows exactly it; characters that cannot be shown become U+FFFD."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", str(text)), quote=True))


def joined(*children: object) -> Markup:
    """The children one after the other; lists among them are laid out, None is left out."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Iterable) and not isinstance(child, str):
            parts.append(joined(*child))
        else:
            parts.append(escaped(child))
    return Markup("".join(parts))


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """`<name …>children</name>`; `class_` and `aria_label` stand for class and aria-label; None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{joined(*children)}</{tag}>")
