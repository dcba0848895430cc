"""What a terminal may be sent: text whose escapes are shown, not obeyed."""


def printable(text: str) -> str:
    r"""Text that does nothing to a terminal but print: escapes in names and paths are shown, line breaks stay.

    Examples
    --------
    >>> printable("a\x1b[31m.h5\nb é")
    'a\\x1b[31m.h5\nb é'
    """
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
