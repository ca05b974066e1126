#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ctest_verdict.py JUNIT WHAT: one line about a ctest run, and an exit status that ctest itself does not give:
not 0 when a test failed, was skipped or disabled, or when there was none."""
import sys
import xml.etree.ElementTree as xml


def main(path, what):
    try:
        suite = xml.parse(path).getroot()
    except (OSError, xml.ParseError) as error:
        print(f"{what}: no test report: {error}")
        return 1
    cases = list(suite.iter("testcase"))
    not_run = {case.get("name"): case.get("status") for case in cases
               if case.get("status") not in ("run", "fail") or case.find("skipped") is not None}
    failed = [case.get("name") for case in cases if case.get("status") == "fail" or case.find("failure") is not None]
    for name, status in not_run.items():
        print(f"  skipped: {name} ({status})")
    for name in failed:
        print(f"  failed:  {name}")
    print(f"{what}: {len(cases)} tests, {len(failed)} failed, {len(not_run)} skipped")
    return 0 if cases and not failed and not not_run else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
