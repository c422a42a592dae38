"""Check whether a config can run here: versions, data and classes, weights, disk, memory, GPU, write access."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of a DMT run, or the work dir of a run')
    add_common_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> int:
    from mmdmt.analysis.doctor import diagnose, summary
    from mmdmt.engine.cli import load_config

    findings = []
    for finding in diagnose(load_config(args)):
        findings.append(finding)
        print(finding, flush=True)
    print(summary(findings))
    return int(any(finding.state == 'error' for finding in findings))


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
