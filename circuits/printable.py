"""What a terminal may be sent: lines whose escapes and line breaks are shown, not obeyed."""


def printable(text: str) -> str:
    r"""One line that does nothing to a terminal but print: escapes and line breaks in names and paths are shown.

    Examples
    --------
    >>> printable("a\x1b[31m.h5\nb é")
    'a\\x1b[31m.h5\\nb é'
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode() for one in text
    )
