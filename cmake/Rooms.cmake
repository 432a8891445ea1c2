# The rooms of src/, what each may include, and the helper that declares one.
#
# The table is the picture of docs/architecture.md, section 3. A room may use any room on a lower floor; rooms on
# one floor know nothing of each other but for the arrows in FETTLE_ROOM_ARROWS. CMake stops when a declaration
# breaks it, and tools/check_includes.sh holds the #include lines to the declarations.

set(FETTLE_FLOOR_0 core)
set(FETTLE_FLOOR_1 http db otlp redact promql health)
set(FETTLE_FLOOR_2 ledger telemetry access notify packs engine)
set(FETTLE_FLOOR_3 ingest runs alerting probes)
set(FETTLE_FLOOR_4 desk)
set(FETTLE_FLOOR_5 api)
set(FETTLE_FLOOR_6 server)
set(FETTLE_ROOM_ARROWS "access>ledger" "notify>ledger" "packs>ledger")
# A program of its own beside the floors: it hosts the engine and may use only these.
set(FETTLE_ENGINE_HOST_USES core http)

function(fettle_floor_of room out)
  foreach(floor RANGE 0 6)
    if(room IN_LIST FETTLE_FLOOR_${floor})
      set(${out} ${floor} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "'${room}' is not a room of docs/architecture.md, section 3: name it there and in cmake/Rooms.cmake")
endfunction()

function(fettle_check_direction room)
  foreach(dep IN LISTS ARGN)
    if(NOT dep MATCHES "^fettle::(.+)$")
      continue()
    endif()
    set(target ${CMAKE_MATCH_1})
    if(room STREQUAL "engine_host")
      if(NOT target IN_LIST FETTLE_ENGINE_HOST_USES)
        message(FATAL_ERROR "engine/host may use only ${FETTLE_ENGINE_HOST_USES}, not ${target}")
      endif()
      continue()
    endif()
    string(REGEX REPLACE "_(grpc|spool|testing)$" "" target_room ${target})
    string(REGEX REPLACE "_(grpc|spool|testing)$" "" own_room ${room})
    if(target_room STREQUAL own_room)
      continue()
    endif()
    fettle_floor_of(${own_room} own)
    fettle_floor_of(${target_room} other)
    if(other GREATER own OR (other EQUAL own AND NOT "${own_room}>${target_room}" IN_LIST FETTLE_ROOM_ARROWS))
      message(FATAL_ERROR "src/${room} (floor ${own}) may not use src/${target} (floor ${other}): see docs/architecture.md, section 3")
    endif()
  endforeach()
endfunction()

# fettle_library(NAME SOURCES a.cc … DEPS fettle::core … [EXTERNAL lib …] [TESTS a_test.cc …] [TEST_LIBS lib …]
#                [NO_UBSAN] [SKIP_TSAN])
#
# Declares the library fettle_NAME (alias fettle::NAME) and, with developer options on, one test program NAME_test.
# NO_UBSAN keeps UndefinedBehaviorSanitizer away from sources whose third-party templates make it unbearably slow.
# SKIP_TSAN leaves the room's tests out of the tsan preset.
function(fettle_library name)
  cmake_parse_arguments(ARG "NO_UBSAN;SKIP_TSAN" "" "SOURCES;DEPS;EXTERNAL;TESTS;TEST_LIBS" ${ARGN})
  fettle_check_direction(${name} ${ARG_DEPS})
  add_library(fettle_${name} STATIC ${ARG_SOURCES})
  add_library(fettle::${name} ALIAS fettle_${name})
  target_link_libraries(fettle_${name} PUBLIC ${ARG_DEPS} PRIVATE fettle_warnings PUBLIC ${ARG_EXTERNAL})
  if(ARG_NO_UBSAN AND FETTLE_SANITIZE STREQUAL "address")
    target_compile_options(fettle_${name} PRIVATE -fno-sanitize=undefined)
  endif()
  if(FETTLE_DEVELOPER AND ARG_TESTS AND NOT FETTLE_SANITIZE STREQUAL "fuzzer")
    if(FETTLE_SANITIZE STREQUAL "thread" AND ARG_SKIP_TSAN)
      return()
    endif()
    add_executable(${name}_test ${ARG_TESTS})
    target_link_libraries(${name}_test PRIVATE fettle::${name} fettle_warnings ${ARG_TEST_LIBS} GTest::gmock GTest::gtest_main)
    set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
                         PROPERTIES TIMEOUT 120 LABELS unit)
  endif()
endfunction()

# fettle_fuzzer(NAME SOURCES a_fuzz.cc DEPS fettle::otlp …)
#
# In the fuzz preset a libFuzzer program fuzz_NAME; in every other developer preset the same entry point replays the
# corpus of fuzz/corpus/NAME as an ordinary test.
function(fettle_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(NOT FETTLE_DEVELOPER)
    return()
  endif()
  add_executable(fuzz_${name} ${ARG_SOURCES})
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_DEPS} fettle_warnings)
  if(FETTLE_SANITIZE STREQUAL "fuzzer")
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/fuzz/replay_main.cc)
    add_test(NAME fuzz.${name}.corpus COMMAND fuzz_${name} ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
    set_tests_properties(fuzz.${name}.corpus PROPERTIES TIMEOUT 120 LABELS unit)
  endif()
endfunction()
