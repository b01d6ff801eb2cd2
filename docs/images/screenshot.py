"""Makes the README's picture of a report. Needs Chromium.

python docs/images/screenshot.py RUN/stages/report/*/report.html
"""

import subprocess
import sys
from pathlib import Path

WIDTH, HEIGHT = 1100, 1560


def main(report: str) -> None:
    picture = Path(__file__).parent / "report.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    subprocess.run(["chromium", *options, f"--screenshot={picture}", Path(report).resolve().as_uri()], check=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
