# Lays out the package folder: the install prefix is site-packages/qat_ext.
#
#   lib/libqat_ext.so   include/   share/cmake/QatExt/   bin/qat   _C.*.so   _build_info.py
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# torch lies beside qat_ext in site-packages.
set_target_properties(qat_ext PROPERTIES
  INSTALL_RPATH "$ORIGIN/../../torch/lib" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
install(TARGETS qat_ext LIBRARY DESTINATION lib)
set(QAT_PACKAGE_TARGETS qat_ext)

if(TARGET _C)
  set_target_properties(_C PROPERTIES INSTALL_RPATH "$ORIGIN/lib;$ORIGIN/../torch/lib")
  install(TARGETS _C LIBRARY DESTINATION .)
  list(APPEND QAT_PACKAGE_TARGETS _C)
endif()
if(TARGET qat)
  set_target_properties(qat PROPERTIES INSTALL_RPATH "$ORIGIN/../lib;$ORIGIN/../../torch/lib")
  install(TARGETS qat RUNTIME DESTINATION bin)
  list(APPEND QAT_PACKAGE_TARGETS qat)
endif()
# What the wheel needs, without the tests.
add_custom_target(qat_package DEPENDS ${QAT_PACKAGE_TARGETS})

# The public headers are qat.h and what it includes, with the headers of the checkpoint and of the
# executors; recipe.h needs the forward declarations of nlohmann/json and nothing else of it.
install(FILES csrc/qat.h csrc/error.h csrc/named_tensors.h csrc/version.h DESTINATION include)
foreach(header insert/prepared_model.h lower/integer_model.h objectives/attack.h
        objectives/distillation.h ptq/options.h ptq/ptq.h quantizers/recipe.h
        runtime/executor.h checkpoint/checkpoint.h checkpoint/safetensors.h)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES csrc/${header} DESTINATION include/${folder})
endforeach()
install(FILES csrc/graph/graph.h csrc/graph/model.h DESTINATION include/graph)
install(DIRECTORY csrc/numerics DESTINATION include FILES_MATCHING PATTERN "*.h")
get_target_property(json_include nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
find_path(QAT_JSON_INCLUDE nlohmann/json_fwd.hpp REQUIRED HINTS ${json_include})
install(FILES ${QAT_JSON_INCLUDE}/nlohmann/json_fwd.hpp DESTINATION include/nlohmann)
if(EXISTS ${QAT_JSON_INCLUDE}/nlohmann/detail/abi_macros.hpp)
  install(FILES ${QAT_JSON_INCLUDE}/nlohmann/detail/abi_macros.hpp
    DESTINATION include/nlohmann/detail)
endif()

configure_package_config_file(cmake/QatExtConfig.cmake.in ${CMAKE_BINARY_DIR}/QatExtConfig.cmake
  INSTALL_DESTINATION share/cmake/QatExt)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/QatExtConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/QatExtConfig.cmake ${CMAKE_BINARY_DIR}/QatExtConfigVersion.cmake
  DESTINATION share/cmake/QatExt)

set(QAT_HAS_DRIVER False)
if(TARGET qat)
  set(QAT_HAS_DRIVER True)
endif()
configure_file(cmake/_build_info.py.in ${CMAKE_BINARY_DIR}/_build_info.py @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/_build_info.py DESTINATION .)
