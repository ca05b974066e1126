#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""manual_test.py FOLDER COMMAND...: the manual pages there format without a complaint, and simplon(1) has each COMMAND."""
import os
import pathlib
import subprocess
import sys

WANTED = {"simplon.1", "simplond.8", "simplon-forwarder.8", "simplon.yaml.5"}


def formatted(page):
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "100"}
    # As lintian does it; what groff and man have to say is on standard error.
    strict = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page], env=environment,
                            capture_output=True, text=True, check=True)
    assert not strict.stderr, f"{page.name}: {strict.stderr}"
    groff = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", page], env=environment, capture_output=True, text=True,
                           check=True)
    assert not groff.stderr, f"{page.name}: {groff.stderr}"
    return subprocess.run(["man", "-P", "cat", "-l", page], env=environment, capture_output=True, text=True, check=True).stdout


def main(folder, commands):
    pages = {path.name: formatted(path) for path in pathlib.Path(folder).iterdir() if path.suffix[1:].isdigit()}
    assert set(pages) == WANTED, sorted(pages)
    for name, text in pages.items():
        for section in ("NAME", "SYNOPSIS" if not name.endswith("5") else "DESCRIPTION", "SEE ALSO"):
            assert f"\n{section}\n" in text, f"{name} has no {section}"
    words = " ".join(pages["simplon.1"].split())
    for command in commands:
        assert f"simplon {command}" in words, f"simplon(1) does not know `simplon {command}`"
    assert "EXIT STATUS" in words and "--frames" in pages["simplon-forwarder.8"] and "--state-dir" in pages["simplond.8"]
    for name, text in pages.items():
        assert " TEXT" not in text.replace("--comment TEXT", ""), f"{name}: an option whose value has no name"
        # Names and literals keep their case.
        for word in ("Auto:", "Auto or", "Trace, ", "Charon", "Tcp, ", "Vpc:", "Tunnel:", "Bgpd", "Frr"):
            assert word not in text, f"{name}: {word}"
    for key in ("psk-file", "esp-proposals", "endpoints", "max-prefixes"):
        assert key in pages["simplon.yaml.5"], key
    print(f"{len(pages)} pages")


main(sys.argv[1], sys.argv[2:])
