"""The one exception that a user sees as a single line."""


class EdgemotionError(Exception):
    """A bad input; its message names the file, key or value and says what to do."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
