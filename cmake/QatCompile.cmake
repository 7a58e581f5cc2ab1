# Compiler settings of the project's own targets.
#
# -ffp-contract=off: docs/numerics.md counts roundings. -fno-math-errno and -fno-trapping-math let
# nearbyint and sqrt become single instructions; neither changes a result.
add_library(qat_compile INTERFACE)
target_compile_options(qat_compile INTERFACE
  -Wall -Wextra -Werror -Wno-unknown-pragmas -ffp-contract=off -fno-math-errno -fno-trapping-math)
target_include_directories(qat_compile INTERFACE ${CMAKE_SOURCE_DIR}/csrc)
# NDEBUG also switches off ATen's debug-only checks, which sit in the inlined tensor accessors.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
