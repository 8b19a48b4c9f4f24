# Flags and the three shapes things come in: a room of the core, a plugin, a test.

find_package(PkgConfig REQUIRED)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(GNUTLS REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(ELF REQUIRED IMPORTED_TARGET libelf)
find_package(Threads REQUIRED)
include(CheckPIESupported)
check_pie_supported()
include(CheckCCompilerFlag)
check_c_compiler_flag("-Werror -fstack-clash-protection" BITNET_HAVE_STACK_CLASH)

# Sanitizers and gcov put their own code into every object: constructors, calls
# into their runtime, undefined names that only the program resolves.
set(BITNET_INSTRUMENTED OFF)
if(BITNET_SANITIZE OR BITNET_COVERAGE)
  set(BITNET_INSTRUMENTED ON)
endif()

# How kernels are optimised. A sanitizer makes a branch of every access, and
# optimising those takes up to a minute a file, more than the tests save; most of
# it goes into UBSan's look at each sum of a pointer and an index. Where that leads
# AddressSanitizer sees.
set(BITNET_KERNEL_O -O3)
set(BITNET_KERNEL_SAN)
if(BITNET_SANITIZE)
  set(BITNET_KERNEL_SAN -fno-sanitize=pointer-overflow)
  set(BITNET_KERNEL_O -O1 ${BITNET_KERNEL_SAN})
endif()

add_library(bitnet_flags INTERFACE)
target_include_directories(bitnet_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(bitnet_flags INTERFACE _GNU_SOURCE BITNET_VERSION="${PROJECT_VERSION}")
# The arithmetic contract needs every rounding that the source spells out.
target_compile_options(bitnet_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla
  -ffp-contract=off -fno-math-errno -fstack-protector-strong
  $<$<BOOL:${BITNET_HAVE_STACK_CLASH}>:-fstack-clash-protection>)
if(BITNET_WERROR)
  target_compile_options(bitnet_flags INTERFACE -Werror)
endif()
target_link_options(bitnet_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(NOT BITNET_INSTRUMENTED)
  # The same source gives the same bytes in any folder. Not when instrumented:
  # gcovr looks the files up. _FORTIFY_SOURCE needs an optimiser, and hides
  # calls from the sanitizers.
  target_compile_options(bitnet_flags INTERFACE
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -ffile-prefix-map=${PROJECT_BINARY_DIR}=build
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE>
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=2>)
endif()
if(BITNET_SANITIZE)
  target_compile_options(bitnet_flags INTERFACE -fsanitize=${BITNET_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(bitnet_flags INTERFACE -fsanitize=${BITNET_SANITIZE})
endif()
if(BITNET_FUZZ)
  target_compile_options(bitnet_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(bitnet_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# bitnet_room(base SOURCES a.c b.c DEPS other rooms and libraries): one floor's
# room as a static library, so that the linker too keeps the floors apart.
function(bitnet_room name)
  cmake_parse_arguments(R "" "" "SOURCES;DEPS" ${ARGN})
  if(NOT R_SOURCES)
    add_library(bitnet_${name} INTERFACE)
    target_link_libraries(bitnet_${name} INTERFACE bitnet_flags ${R_DEPS})
    return()
  endif()
  add_library(bitnet_${name} STATIC ${R_SOURCES})
  target_link_libraries(bitnet_${name} PUBLIC bitnet_flags ${R_DEPS})
endfunction()

# bitnet_plugin(scalar-ref SOURCES ...): lib/bitnet/plugins/scalar-ref.so, with
# one exported symbol, linking nothing of ours. Without the compiler's start
# files no code at all runs while it is loaded.
set(BITNET_PLUGIN_DIR ${PROJECT_BINARY_DIR}/lib/bitnet/plugins)
function(bitnet_plugin name)
  cmake_parse_arguments(P "NOINSTALL" "DIR" "SOURCES" ${ARGN})
  add_library(plugin_${name} MODULE ${P_SOURCES})
  target_link_libraries(plugin_${name} PRIVATE bitnet_flags)
  target_link_options(plugin_${name} PRIVATE
    -Wl,--build-id -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/plugin.map)
  if(NOT BITNET_INSTRUMENTED)
    target_link_options(plugin_${name} PRIVATE -nostartfiles -Wl,-z,defs)
  endif()
  if(NOT P_DIR)
    set(P_DIR ${BITNET_PLUGIN_DIR})
    add_dependencies(programs plugin_${name})
  endif()
  set_target_properties(plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME ${name}
    LIBRARY_OUTPUT_DIRECTORY ${P_DIR} SKIP_BUILD_RPATH ON
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/plugin.map)
  if(NOT P_NOINSTALL)
    install(TARGETS plugin_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/bitnet/plugins)
  endif()
endfunction()

# bitnet_unit(gguf DEPS bitnet_model): tests/unit/test_gguf.c, a check program
# that runs from the source root. THREADS: it starts some, and is worth a run
# under ThreadSanitizer.
function(bitnet_unit name)
  cmake_parse_arguments(U "THREADS" "TIMEOUT" "SOURCES;DEPS" ${ARGN})
  add_executable(test_${name} test_${name}.c ${U_SOURCES})
  target_link_libraries(test_${name} PRIVATE bitnet_flags ${U_DEPS} PkgConfig::CHECK)
  target_compile_definitions(test_${name} PRIVATE
    TEST_BUILD_DIR="${PROJECT_BINARY_DIR}" TEST_PLUGIN_DIR="${BITNET_PLUGIN_DIR}")
  add_test(NAME unit/${name} COMMAND test_${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT U_TIMEOUT)
    set(U_TIMEOUT 300)
  endif()
  # COST: what takes long starts first, so that no processor waits for it at the end.
  set_tests_properties(unit/${name} PROPERTIES TIMEOUT ${U_TIMEOUT} COST ${U_TIMEOUT})
  if(U_THREADS)
    set_tests_properties(unit/${name} PROPERTIES LABELS threads)
  endif()
endfunction()
