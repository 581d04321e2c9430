"""The one exception whose message is written for the person at the terminal."""


class UserError(Exception):
    """Something the user can mend: one line saying what was wrong and what to do."""
