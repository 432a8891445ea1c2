#!/usr/bin/env bash
# Holds the #include lines of src/ to the floors of cmake/Rooms.cmake, and heavy headers to the one place each may stand.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A floor
while read -r number rooms; do
  for room in $rooms; do floor[$room]=$number; done
done < <(sed -nE 's/^set\(FETTLE_FLOOR_([0-9]) ([^)]*)\)/\1 \2/p' cmake/Rooms.cmake)
arrows=" $(sed -nE 's/^set\(FETTLE_ROOM_ARROWS (.*)\)/\1/p' cmake/Rooms.cmake | tr -d '"') "
host_uses=" $(sed -nE 's/^set\(FETTLE_ENGINE_HOST_USES (.*)\)/\1/p' cmake/Rooms.cmake) "

bad=0
complain() { echo "$1" >&2; bad=1; }

while IFS=: read -r file line text; do
  target=$(sed -nE 's|.*#include "([a-z_]+)/.*|\1|p' <<<"$text")
  [ -n "$target" ] && [ -n "${floor[$target]:-}" ] || continue
  room=$(cut -d/ -f2 <<<"$file")
  # Tests may reach further: they assemble real parts. The rule is for what is shipped.
  case $file in *_test.cc | */testing.h | */testing.cc | */test_*) continue ;; esac
  if [[ $file == src/engine/host/* ]]; then
    [[ $target == engine || $host_uses == *" $target "* ]] || complain "$file:$line: engine/host may use only$host_uses, not $target"
    continue
  fi
  [ "$room" = "$target" ] && continue
  if ((floor[$target] > floor[$room])) || { ((floor[$target] == floor[$room])) && [[ $arrows != *" $room>$target "* ]]; }; then
    complain "$file:$line: $room (floor ${floor[$room]}) may not include $target (floor ${floor[$target]})"
  fi
done < <(grep -rnE '#include "[a-z_]+/' src --include=*.h --include=*.cc)

only_in() {  # PATTERN ALLOWED-REGEX WHAT
  local hits
  hits=$(grep -rlE "#include <($1)" src --include=*.h --include=*.cc | grep -vE "$2" || true)
  [ -z "$hits" ] || complain "$3 may be included only in $2: $hits"
}
only_in 'boost/(asio|beast)' '^src/http/' "Beast and Asio"
only_in 'grpc' '^src/ingest/grpc/' "gRPC"
only_in 'sqlite3' '^src/db/' "SQLite"
only_in 'libpq' '^src/db/' "libpq"
only_in 'curl/' '^src/http/(client|outbound_client|curl_parts)\.(h|cc)$' "curl"

exit $bad
