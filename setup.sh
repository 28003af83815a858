#!/usr/bin/env bash
# Makes this machine able to run cardserver: the virtual environment, and what Debian must give.
# Usage: ./setup.sh run | test       (the Makefile calls it; a second run takes a moment)
set -euo pipefail
cd "$(dirname "$0")"

kind=${1:-run}
# pcscd and its virtual reader; what pyscard is built with; a font for statements; a broker.
packages=(pcscd vsmartcard-vpcd libpcsclite1 libpcsclite-dev swig gcc python3-dev python3-venv
    fonts-wqy-microhei mosquitto)
# The tests' real parts: a database server, a smart card tool, a key token, a system-call trace,
# promtool, a browser, a reader of PDF files.
if [ "$kind" = test ]; then
    packages+=(postgresql opensc softhsm2 strace util-linux prometheus chromium
        poppler-utils)
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "This is not Debian: please install what provides ${missing[*]}, then run this again." >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        as_root=()
    elif sudo -n true 2>/dev/null; then
        as_root=(sudo)
    else
        echo "Please install these Debian packages, then run this again: ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing from Debian: ${missing[*]}"
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "Debian's packages could not be installed (the end of the log is above)." >&2
        exit 1
    fi
    rm -f "$log"
fi

# The distribution's own first: it is compiled with what its profile taught, as most built by hand
# are not. A settlement takes an eighth less processor time in it.
python=
for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed; this machine has $(python3 --version 2>&1 || true)." >&2
    exit 1
fi

# Installed again only when what is asked for has changed.
wanted=$(cat pyproject.toml setup.sh | sha256sum | cut -d ' ' -f 1)
for stamp in .venv/ready-test .venv/ready-"$kind"; do
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
done
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "Installing Python packages into .venv"
extra=
if [ "$kind" = test ]; then extra='[test]'; fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extra"
echo "$wanted" >.venv/ready-"$kind"
