"""``python -m vosfm``."""

import sys

from vosfm.cli import main

sys.exit(main())
