"""A lot of simulated fobs through SoftHSM2, PostgreSQL and Ray with two stations, one of which is killed.

    benchmarks/lot_on_ray.py                    10,000 units, keys in a SoftHSM2 token
    benchmarks/lot_on_ray.py --units N          fewer
    benchmarks/lot_on_ray.py --software         keys in a file, where there is no SoftHSM2
    benchmarks/lot_on_ray.py --report FILE      where the report goes (JSON; lot-on-ray.json by default)

Needs root (Ray runs in a network of its own), PostgreSQL 15 and, unless told otherwise, SoftHSM2. Ends with 0 only if
every unit is sealed once, its memory is as undisturbed, a fresh session to each agrees and the log is whole.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.namespace import inside


def main() -> None:
    """Run it, say what came of it."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("--units", type=int, default=10_000)
    words.add_argument("--software", action="store_true")
    words.add_argument("--report", type=Path, default=Path("lot-on-ray.json"))
    words.add_argument("--limit", type=float, default=7200.0, metavar="SECONDS")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place:
        report = given.report.resolve()
        body, softhsm = "support.ray_bodies:whole_line", not given.software
        inside(body, Path(place), given.limit, units=given.units, softhsm=softhsm, report=str(report))
    print(given.report.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
