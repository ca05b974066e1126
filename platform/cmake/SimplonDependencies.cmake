# SPDX-License-Identifier: GPL-2.0-or-later
# Everything comes from Debian. A missing package is named with the command that installs it.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(simplon_pkg target module package)
  pkg_check_modules(${target} IMPORTED_TARGET ${module})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR "${module} is missing: apt-get install ${package} (or packaging/bootstrap for everything)")
  endif()
endfunction()

simplon_pkg(LIBBPF libbpf libbpf-dev)
simplon_pkg(LIBXDP libxdp libxdp-dev)
simplon_pkg(LIBSYSTEMD libsystemd libsystemd-dev)
simplon_pkg(LIBNL libnl-3.0 libnl-3-dev)
simplon_pkg(LIBNL_ROUTE libnl-route-3.0 libnl-route-3-dev)

find_package(OpenSSL REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)

find_library(IPSEC_MB_LIBRARY IPSec_MB)
find_program(FLATC_PROGRAM flatc REQUIRED)

if(SIMPLON_TESTS OR SIMPLON_BENCH)
  find_package(GTest REQUIRED)
endif()
if(SIMPLON_BENCH)
  find_package(benchmark REQUIRED)
endif()

# Asio and Beast are compiled once, in platform/base/asio.cpp, not in every file that includes them.
add_library(simplon_asio_flags INTERFACE)
target_compile_definitions(simplon_asio_flags INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_ERROR_CODE_HEADER_ONLY)
target_link_libraries(simplon_asio_flags INTERFACE Boost::headers Threads::Threads)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 takes the allocator of Asio's coroutine frames for a mismatched pair once it has inlined one half of it.
  target_compile_options(simplon_asio_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fcoroutines;-Wno-mismatched-new-delete>")
else()
  # Asio 1.74 looks for the TS coroutines of libc++ under clang; with libstdc++ the C++20 ones are there.
  target_compile_definitions(simplon_asio_flags INTERFACE BOOST_ASIO_HAS_CO_AWAIT BOOST_ASIO_HAS_STD_COROUTINE)
endif()
if(SIMPLON_SANITIZE)
  # Asio's templates are huge with these checks, and AddressSanitizer finds what they find.
  target_compile_options(simplon_asio_flags INTERFACE -fno-sanitize=null,alignment,object-size,vptr)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # clang 14 cannot assemble the marks of this check in front of coroutines ("a difference across sections").
    target_compile_options(simplon_asio_flags INTERFACE -fno-sanitize=function)
  endif()
endif()
