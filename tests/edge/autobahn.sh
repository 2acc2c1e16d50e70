#!/usr/bin/env bash
# Installs the Autobahn fuzzing client, which runs on Python 2.7 only, into VENV_DIR:
#
#     bash tests/edge/autobahn.sh .venv-autobahn
#
# Exit 0: VENV_DIR/bin/wstest is there (at once if it was before). Exit 1: it cannot be; the last line says why.
# The versions are the ones the suite pins itself. They are installed without their dependencies' optional speed-ups
# (wsaccel, ujson), the only packages that would need a compiler.
set -euo pipefail

fail() {
    echo "autobahn: $1" >&2
    exit 1
}

find_python2() {
    local candidate
    for candidate in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
        "$candidate" -c '' 2>/dev/null && command -v "$candidate" && return
    done
    return 1
}

[ $# -eq 1 ] || fail "usage: autobahn.sh VENV_DIR"
venv=$1
if "$venv/bin/wstest" --help >/dev/null 2>&1; then
    echo "autobahn: $venv is ready"
    exit 0
fi
python2=$(find_python2) || fail "no python2.7 on PATH or in pyenv"
python3=${PYTHON:-python3}

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
{
    # The last releases of virtualenv that make environments for Python 2.7; they bring its pip and setuptools along.
    "$python3" -m venv "$tool/venv" &&
        "$tool/venv/bin/pip" install --quiet "virtualenv<20.22" &&
        "$tool/venv/bin/virtualenv" --quiet --no-periodic-update --python "$python2" "$venv"
} >"$tool/log" 2>&1 || fail "no environment for $python2: $(tail -n 1 "$tool/log")"

cat >"$tool/requirements" <<'PINS'
attrs==21.4.0
autobahn==0.10.9
autobahntestsuite==25.10.1
Automat==22.10.0
cffi==1.15.1
constantly==15.1.0
cryptography==3.3.2
enum34==1.1.10
hyperlink==21.0.0
idna==2.10
incremental==16.10.1
ipaddress==1.0.23
Jinja2==2.11.3
klein==17.10.0
linecache2==1.0.0
MarkupSafe==1.1.1
pyasn1==0.5.1
pyasn1-modules==0.3.0
pycparser==2.21
PyHamcrest==1.9.0
pyOpenSSL==19.1.0
service-identity==18.1.0
six==1.16.0
Twisted==19.10.0
traceback2==1.4.0
txaio==2.1.0
typing==3.10.0.0
unittest2==1.1.0
Werkzeug==1.0.1
zope.interface==4.6.0
PINS
"$venv/bin/pip" install --quiet --no-deps --prefer-binary --requirement "$tool/requirements" >"$tool/log" 2>&1 ||
    fail "the packages cannot be installed: $(grep -m 1 ERROR "$tool/log")"
"$venv/bin/wstest" --help >/dev/null 2>"$tool/log" || fail "it does not start: $(tail -n 1 "$tool/log")"
echo "autobahn: $venv is ready"
