"""Names of people: any text, and never a path. They are compared as Unicode's NFC form, upper and lower case differ."""

import unicodedata

from mvector.errors import StoreError

MAX_LENGTH = 300  # characters; a name is shown in lists and sent in addresses
_UNSHOWABLE = {
    "Cc": "a control character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
    "Cs": "half of a surrogate pair",
}


def clean_name(name: str) -> str:
    """`name` without white space around it, in NFC: "é" typed as one character or as two is one name.

    Raises StoreError for what cannot be a name: nothing, more than 300 characters, control characters.
    """
    if not isinstance(name, str):
        raise StoreError(f"a name must be text, found {type(name).__name__}.")
    cleaned = unicodedata.normalize("NFC", name).strip()
    for character in cleaned:
        kind = _UNSHOWABLE.get(unicodedata.category(character))
        if kind is not None:
            raise StoreError(f"the name {shown(cleaned)} has {kind} (U+{ord(character):04X}) in it; leave it out.")
    if not cleaned:
        raise StoreError("a name must have at least one character that can be seen.")
    if len(cleaned) > MAX_LENGTH:
        raise StoreError(f"the name {shown(cleaned)} has {len(cleaned)} characters; at most {MAX_LENGTH} are allowed.")
    return cleaned


def shown(name: str) -> str:
    """A name in quotes for a message, shortened, and with nothing in it that could disturb a terminal."""
    text = name if len(name) <= 40 else name[:40] + "…"
    return ascii(text) if any(unicodedata.category(one) in _UNSHOWABLE for one in text) else repr(text)
