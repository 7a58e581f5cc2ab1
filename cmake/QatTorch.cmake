# Finds LibTorch through the Python that has torch installed, unless CMAKE_PREFIX_PATH names it.
find_package(Python 3.11 COMPONENTS Interpreter Development.Module REQUIRED)
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import torch; print(torch.utils.cmake_prefix_path)"
  OUTPUT_VARIABLE QAT_TORCH_PREFIX OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE found)
if(found EQUAL 0)
  list(APPEND CMAKE_PREFIX_PATH ${QAT_TORCH_PREFIX})
endif()
find_package(Torch 2.11 REQUIRED)
find_package(OpenMP REQUIRED)  # without it at::parallel_for is silently serial
find_package(nlohmann_json 3.11 REQUIRED)

# Torch's headers are not ours to warn about.
add_library(qat_torch INTERFACE)
target_include_directories(qat_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
separate_arguments(QAT_TORCH_FLAGS UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(qat_torch INTERFACE ${QAT_TORCH_FLAGS})
target_compile_definitions(qat_torch INTERFACE FMT_HEADER_ONLY)
target_link_libraries(qat_torch INTERFACE ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
