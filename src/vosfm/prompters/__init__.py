"""From boxes and points to masks."""

from vosfm.prompters.prompter import Prompter
from vosfm.prompters.sam import SamPrompter

__all__ = ["Prompter", "SamPrompter"]
