#!/bin/bash
# The rules that a compiler does not check. Each prints what is wrong and where; any output fails.
#
#   layering    which directory may include what, and the files that alone may include something (conventions as a table below)
#   words       calls that a layer must not make
#   names       unique base names, prefixes of public functions
#   sizes       files of at most 1,000 lines, functions of at most 70 (unless they are one switch), headers of at most 30 prototypes (20 is the aim)
#   format      clang-format
#   symbols     what the built libraries export
#   metadata    META.json is JSON with what PGXN requires
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
say() {
    echo "lint: $1"
    bad=1
}
. tests/lint/rules.sh
layering
words
names
sizes
format
symbols
metadata
[ $bad -eq 0 ] && echo "lint: clean"
exit $bad
