"""Text for a terminal: escape sequences and line breaks are shown, not executed."""


def printable(text: str) -> str:
    r"""The text as one line, with its escape sequences and line breaks written as backslash sequences.

    Examples
    --------
    >>> printable("a\x1b[31m.h5\nb é")
    'a\\x1b[31m.h5\\nb é'
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )
