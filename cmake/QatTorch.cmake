# LibTorch: the one in the Python that configures the build, else the one that find_package finds.
#
# The wheel's own TorchConfig.cmake is not read: of a CUDA wheel it demands a CUDA toolkit, which a
# machine that only trains on the CPU does not have.
find_package(Python 3.11 COMPONENTS Interpreter Development.Module REQUIRED)
execute_process(
  COMMAND ${Python_EXECUTABLE} -c
    "import os, torch; print(os.path.dirname(torch.__file__), torch.__version__.split('+')[0], sep=';')"
  OUTPUT_VARIABLE torch_found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
if(status EQUAL 0)
  list(GET torch_found 0 TORCH_INSTALL_PREFIX)
  list(GET torch_found 1 Torch_VERSION)
  set(TORCH_INCLUDE_DIRS ${TORCH_INSTALL_PREFIX}/include
    ${TORCH_INSTALL_PREFIX}/include/torch/csrc/api/include)
  # libtorch.so has no symbols of its own: it is there to load libtorch_cuda.so where that exists.
  set(torch_lib ${TORCH_INSTALL_PREFIX}/lib)
  set(TORCH_LIBRARIES ${torch_lib}/libtorch_cpu.so ${torch_lib}/libc10.so
    -Wl,--push-state,--no-as-needed,${torch_lib}/libtorch.so,--pop-state)
  # Two OpenMP runtimes in one process would each start their threads.
  if(EXISTS ${torch_lib}/libgomp.so.1)
    set(OpenMP_gomp_LIBRARY ${torch_lib}/libgomp.so.1 CACHE FILEPATH "")
  endif()
else()
  find_package(Torch REQUIRED)
endif()
if(Torch_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "qat_ext needs torch 2.11 or newer, found ${Torch_VERSION} in "
    "${TORCH_INSTALL_PREFIX}")
endif()
message(STATUS "torch ${Torch_VERSION} in ${TORCH_INSTALL_PREFIX}")
find_package(OpenMP REQUIRED)  # without it at::parallel_for is silently serial
find_package(nlohmann_json 3.11 REQUIRED)

# Torch's headers are not ours to warn about.
add_library(qat_torch INTERFACE)
target_include_directories(qat_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
# The system's libfmt may be another version than the headers that torch brings.
target_compile_definitions(qat_torch INTERFACE FMT_HEADER_ONLY)
target_link_libraries(qat_torch INTERFACE ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
# What torch's libraries need themselves (a CUDA wheel: libraries of other wheels) is the loader's
# business.
target_link_options(qat_torch INTERFACE
  LINKER:-rpath-link,${TORCH_INSTALL_PREFIX}/lib LINKER:--allow-shlib-undefined)
