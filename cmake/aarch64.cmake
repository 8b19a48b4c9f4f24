# Cross build for AArch64 Linux with Debian's compiler. The target's libraries
# come from a sysroot that scripts/sysroot-arm64 fills, so the host needs no
# foreign architecture; tests run under qemu-user.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

get_filename_component(sysroot "${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-arm64" ABSOLUTE)
set(BITNET_SYSROOT "${sysroot}" CACHE PATH "Folder that scripts/sysroot-arm64 filled")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES BITNET_SYSROOT)
if(NOT EXISTS "${BITNET_SYSROOT}/usr/include")
  message(FATAL_ERROR "${BITNET_SYSROOT}: no sysroot; run scripts/sysroot-arm64 first")
endif()
set(CMAKE_SYSROOT "${BITNET_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_PATH} "")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${BITNET_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR}
  "${BITNET_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${BITNET_SYSROOT}/usr/share/pkgconfig")

set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-L;${BITNET_SYSROOT}")
