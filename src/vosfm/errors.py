"""The one error that is the user's to mend."""


class InputError(ValueError):
    """What was given cannot be used: one line that names the file or field and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """
