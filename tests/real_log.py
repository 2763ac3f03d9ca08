"""Where the real log is, for every test that reads it."""

from pathlib import Path

REAL_LOG = Path(__file__).parent / "data" / "access-2015-05.log.gz"
