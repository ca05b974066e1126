# SPDX-License-Identifier: GPL-2.0-or-later
# Warnings, sanitizers and hardening are one interface target; nothing is a global flag.

add_library(simplon_flags INTERFACE)
target_include_directories(simplon_flags INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(simplon_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Wold-style-cast>
  $<$<BOOL:${SIMPLON_WERROR}>:-Werror>)

if(SIMPLON_SANITIZE)
  # GCC needs twice the time with -O1; only the data path and fuzz targets are worth it.
  set(SIMPLON_OPTIMIZE -O0)
  if(SIMPLON_FUZZ)
    set(SIMPLON_OPTIMIZE -O1)
  endif()
  target_compile_options(simplon_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS
                         -fno-omit-frame-pointer ${SIMPLON_OPTIMIZE})
  target_link_options(simplon_flags INTERFACE -fsanitize=address,undefined)
elseif(SIMPLON_TSAN)
  target_compile_options(simplon_flags INTERFACE -fsanitize=thread -O1 -Wno-tsan)  # Asio has fences, which it does not see
  target_link_options(simplon_flags INTERFACE -fsanitize=thread)
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(simplon_flags INTERFACE -fstack-protector-strong -D_FORTIFY_SOURCE=2)
  target_link_options(simplon_flags INTERFACE -Wl,-z,relro -Wl,-z,now)
endif()
if(SIMPLON_FUZZ)
  # Every library reports its coverage to libFuzzer, which only the fuzz programs link.
  target_compile_options(simplon_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(simplon_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(SIMPLON_COVERAGE)
  target_compile_options(simplon_flags INTERFACE --coverage -O0)
  target_link_options(simplon_flags INTERFACE --coverage)
endif()

# simplon_library(NAME SOURCES a.cpp ... LIBS x ... [PRIVATE_LIBS y ...])
# A folder's static library, alias simplon::NAME. Public headers are included by repository path.
function(simplon_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  if(ARG_SOURCES)
    add_library(simplon_${name} STATIC ${ARG_SOURCES})
    target_link_libraries(simplon_${name} PUBLIC simplon_flags ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
  else()
    add_library(simplon_${name} INTERFACE)
    target_link_libraries(simplon_${name} INTERFACE simplon_flags ${ARG_LIBS})
  endif()
  add_library(simplon::${name} ALIAS simplon_${name})
endfunction()

# simplon_test(NAME SOURCES a_test.cpp ... LIBS x ... [LABELS fast ...] [TOGETHER])
# One GoogleTest program, one ctest entry per TEST. TOGETHER: four files are compiled as one, in half the time, which is spent on
# what their headers instantiate; names in their anonymous namespaces then have to differ.
function(simplon_test name)
  if(NOT SIMPLON_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "TOGETHER" "" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_TOGETHER)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
    target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
  target_link_libraries(${name} PRIVATE simplon_flags ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  if(NOT ARG_LABELS)
    set(ARG_LABELS fast)
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name} TEST_PREFIX "${name}." PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 120
                       DISCOVERY_TIMEOUT 60 WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
endfunction()

# simplon_fuzz(NAME SOURCE x_fuzz.cpp LIBS x ...)
# With SIMPLON_FUZZ a libFuzzer program; otherwise a program that replays tests/fuzz/corpus/NAME in ctest.
function(simplon_fuzz name)
  cmake_parse_arguments(ARG "" "SOURCE" "LIBS" ${ARGN})
  if(SIMPLON_FUZZ)
    add_executable(${name}_fuzz ${ARG_SOURCE})
    target_compile_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name}_fuzz PRIVATE simplon_flags ${ARG_LIBS})
    # New findings go to the build folder; the corpus of the repository is read only.
    set(work "${CMAKE_CURRENT_BINARY_DIR}/corpus/${name}")
    file(MAKE_DIRECTORY "${work}")
    add_test(NAME fuzz_run.${name}
             COMMAND ${name}_fuzz -max_total_time=${SIMPLON_FUZZ_SECONDS} -seed=1 -timeout=5 -rss_limit_mb=2048 -verbosity=0
                     -print_final_stats=1 -artifact_prefix=${CMAKE_CURRENT_BINARY_DIR}/crash-${name}-
                     "${work}" "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
    set_tests_properties(fuzz_run.${name} PROPERTIES LABELS "fuzz")
  elseif(SIMPLON_TESTS)
    if(NOT TARGET simplon_replay_main)
      add_library(simplon_replay_main OBJECT "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp")
      target_link_libraries(simplon_replay_main PUBLIC simplon_flags)
    endif()
    add_executable(${name}_replay ${ARG_SOURCE})
    target_link_libraries(${name}_replay PRIVATE simplon_replay_main simplon_flags ${ARG_LIBS})
    add_test(NAME fuzz_replay.${name}
             COMMAND ${name}_replay "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
    set_tests_properties(fuzz_replay.${name} PROPERTIES LABELS "fast;fuzz" TIMEOUT 120)
  endif()
endfunction()
