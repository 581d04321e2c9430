"""What is said to the person at the terminal."""


class UserError(Exception):
    """Something the user can mend: one line saying what was wrong and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
