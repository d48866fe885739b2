"""The one exception that a user sees as a single line."""


class EdgemotionError(Exception):
    """A bad input; its message names the file, key or value and says what to do."""
