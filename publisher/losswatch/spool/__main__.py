"""``python -m losswatch.spool DIR``: send what jobs left on disk, from a machine that has the hook only."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from losswatch.kafka_transport import KafkaTransport
from losswatch.settings import Settings
from losswatch.spool import send_spool
from losswatch.transport import Unavailable


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m losswatch.spool", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder that the jobs spooled to")
    parser.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="default: LOSSWATCH_BOOTSTRAP_SERVERS")
    parser.add_argument("--kafka", type=Path, metavar="FILE", help="settings of kafka.KafkaProducer, as JSON")
    given = parser.parse_args(arguments)
    servers = given.bootstrap_servers or Settings.from_environment().bootstrap_servers
    if not servers:
        parser.error("where to? add --bootstrap-servers HOST:PORT")
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is not a folder")
    options = json.loads(given.kafka.read_text()) if given.kafka else None
    try:
        result = send_spool(given.folder, KafkaTransport(servers, options))
    except (Unavailable, OSError) as error:
        print(f"Not everything was sent, what is left is kept: {error}", file=sys.stderr)
        return 1
    print(f"{result.sent} records sent" + (f", {result.refused} refused by {servers}" if result.refused else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
