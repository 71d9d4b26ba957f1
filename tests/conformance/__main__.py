"""Run the cases: `scripts/conformance [--focus REGEX] [--report FILE]`. Exits with 0 if none failed.

The program is built once from the released modules of the lab's Kubernetes. It asks for its test image by a name of
the registry's: the lab's own image, the same program, gets that name on both nodes, and nothing is pulled.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from kuryrctl.lab.install import golang
from kuryrctl.lab.install.versions import TEST_IMAGE
from tests.conformance.cases import read, skipped_here
from tests.functional.lab import Lab

SUITE = "Netpol"
IMAGE = "/agnhost:"


def main() -> int:
    """One run."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("--focus", metavar="REGEX", default=SUITE, help=f"cases by their names (default: {SUITE})")
    parser.add_argument("--report", metavar="FILE", type=Path, help="keep the suite's JUnit document")
    given = parser.parse_args()
    lab = Lab()
    golang.build(golang.CONFORMANCE, lab.layout, lambda text: print(text, file=sys.stderr, flush=True))
    program = str(lab.layout.bin / golang.CONFORMANCE.name)
    name_image(lab, lab.run(program, "--list-images").stdout.split())
    with tempfile.TemporaryDirectory() as folder:
        report = (given.report or Path(folder) / "report.xml").absolute()
        words = [f"--kubeconfig={lab.env['KUBECONFIG']}", "--provider=skeleton", f"--num-nodes={len(lab.nodes())}"]
        words += [f"--ginkgo.focus={given.focus}", f"--ginkgo.junit-report={report}", "--ginkgo.timeout=3h"]
        words += ["--ginkgo.no-color", *(f"--ginkgo.skip={name}" for name in skipped_here())]
        ran = subprocess.run([program, *words], env=lab.env, check=False)
        outcomes = read(report.read_text())
    for outcome in outcomes:
        print(outcome)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{len(outcomes)} cases ran, {failed} failed; left out here: {', '.join(skipped_here()) or 'none'}")
    return ran.returncode or int(failed > 0 or not outcomes)


def name_image(lab: Lab, images: list[str]) -> None:
    """Give the lab's test image the names by which the suite asks for it, on every node."""
    for node in lab.nodes():
        ctr = (str(lab.layout.bin / "ctr"), "--address", str(lab.layout.containerd_socket(node)), "-n", "k8s.io")
        for name in images:
            if IMAGE in name:
                lab.run(*ctr, "images", "tag", "--force", TEST_IMAGE, name)


if __name__ == "__main__":
    sys.exit(main())
