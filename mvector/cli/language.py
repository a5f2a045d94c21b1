"""The language of what the scripts print to a person: English, or Chinese where the locale is Chinese.

Files, logs and the library's own texts stay English. `mvector.cli.chinese` holds the Chinese forms.
"""

import argparse
import functools
import os
import re
import sys
from collections.abc import Callable

_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # gettext's precedence: the first that is set decides
_CHINESE_ON_WINDOWS = 0x04  # primary language identifier LANG_CHINESE
_PLACEHOLDER = re.compile(r"\{(\w*)[^}]*\}")


def translate(text: str) -> str:
    """`text` in Chinese where the locale is Chinese and its Chinese form is known, else `text` itself.

    `text` is a literal of the scripts (its {placeholders} are still open then) or a finished sentence of the library,
    such as an error: those are recognised by their fixed words, and what stands between is carried over.
    """
    return in_chinese(text) if is_chinese() else text


def in_chinese(text: str) -> str:
    """`text` in Chinese whatever the locale, for somebody who asks from elsewhere; itself where it is not known."""
    from mvector.cli.chinese import SCRIPTS

    return SCRIPTS.get(text) or _sentence(text) or text


def is_chinese() -> bool:
    """Whether the person reads Chinese: by the environment as gettext reads it, on Windows by the system's language."""
    for variable in _VARIABLES:
        names = os.environ.get(variable)
        if names:
            return next((known for name in names.split(":") if (known := _speaks_chinese(name)) is not None), False)
    return sys.platform == "win32" and _windows_speaks_chinese()


def translate_argparse() -> None:
    """Let argparse speak Chinese too where the locale is Chinese ('usage', 'invalid choice', …); for programs only.

    argparse takes its words from gettext, whose catalogues are compiled files in the system's folders. Its two
    look-up names are replaced instead; a text that is not in our catalogue goes on to gettext as before.
    """
    ours, plural = _argparse_words(argparse._), _argparse_words(argparse.ngettext)  # type: ignore[attr-defined]
    argparse._, argparse.ngettext = ours, plural  # type: ignore[attr-defined]


def _argparse_words(original: Callable[..., str]) -> Callable[..., str]:
    if hasattr(original, "__wrapped__"):
        return original

    @functools.wraps(original)
    def words(text: str, *plural: object) -> str:
        if not is_chinese():
            return original(text, *plural)
        from mvector.cli.chinese import ARGPARSE

        return ARGPARSE.get(text) or original(text, *plural)

    return words


def _speaks_chinese(name: str) -> bool | None:
    """For a locale's name such as zh_CN.UTF-8: Chinese, English (False), or another language (None: look further)."""
    language = re.split(r"[-_.@]", name.strip().lower())[0]
    if language == "zh":
        return True
    return False if language in ("en", "c", "posix") else None


def _windows_speaks_chinese() -> bool:
    import ctypes

    identifier: int = ctypes.windll.kernel32.GetUserDefaultUILanguage()  # type: ignore[attr-defined]
    return identifier & 0x3FF == _CHINESE_ON_WINDOWS


def _sentence(text: str) -> str | None:
    """A finished sentence in Chinese; None when it is not known.

    What a placeholder stands for is looked up again, because sentences are put together from smaller ones; so is what
    follows a place ('file:12: …').
    """
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            parts = {name: _sentence(part) or part for name, part in found.groupdict().items()}
            return parts.pop("head", "") + chinese.format(**parts)
    place, colon, rest = text.partition(": ")
    known = _sentence(rest) if colon else None
    return None if known is None else f"{place}: {known}"


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The sentences as patterns; one that begins with a space may follow any other, as 'head'. Those come first."""
    from mvector.cli.chinese import SENTENCES

    ordered = sorted(SENTENCES.items(), key=lambda entry: not entry[0].startswith(" "))
    return [(_pattern(english), chinese) for english, chinese in ordered]


def _pattern(english: str) -> re.Pattern[str]:
    """'{path} has no {file}' -> (?P<path>.*?) has no (?P<file>.*?)"""
    regex, end = ("(?P<head>.*?)" if english.startswith(" ") else ""), 0
    for placeholder in _PLACEHOLDER.finditer(english):
        regex += re.escape(english[end : placeholder.start()]) + f"(?P<{placeholder[1]}>.*?)"
        end = placeholder.end()
    return re.compile(regex + re.escape(english[end:]), re.DOTALL)
