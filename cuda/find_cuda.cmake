# Decides whether the CUDA backend is built: sets CLIPCAP_WITH_CUDA. Included by the root file before the first target,
# or CMAKE_CUDA_ARCHITECTURES would come too late. A missing or unsuitable compiler is a message, never an error.
set(CLIPCAP_WITH_CUDA OFF)
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${CLIPCAP_CUDA_ARCHITECTURES})
endif()
include(CheckLanguage)
check_language(CUDA)  # nvcc: on the PATH, in $CUDACXX, or -DCMAKE_CUDA_COMPILER=
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "CUDA: off (no compiler)")
  return()
endif()

# The first real compile, in a project of its own: nvcc may not accept the installed g++, an architecture or C++20.
# -std=c++20 is passed by hand because CMake before 3.25.2 does not know that nvcc 12 and 13 take it.
set(trial ${CMAKE_BINARY_DIR}/cuda_trial)
file(WRITE ${trial}/trial.cu "#include <span>\n__global__ void trial(int* p) { *p = 1; }\nint main() { return std::span<int>().empty() ? 0 : 1; }\n")
file(WRITE ${trial}/CMakeLists.txt "cmake_minimum_required(VERSION 3.22)\nproject(trial LANGUAGES CUDA)\nfind_package(CUDAToolkit REQUIRED)\nadd_executable(trial trial.cu)\ntarget_link_libraries(trial CUDA::cudart_static)\n")
string(MAKE_C_IDENTIFIER "${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_ARCHITECTURES} ${CMAKE_CUDA_FLAGS}" trial_key)
if(NOT CLIPCAP_CUDA_TRIAL STREQUAL trial_key)
  message(STATUS "CUDA: trying ${CMAKE_CUDA_COMPILER}")
  file(REMOVE_RECURSE ${trial}/build)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -G ${CMAKE_GENERATOR} -S ${trial} -B ${trial}/build -DCMAKE_BUILD_TYPE=Release
            "-DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}" "-DCMAKE_CUDA_COMPILER=${CMAKE_CUDA_COMPILER}"
            "-DCMAKE_CUDA_HOST_COMPILER=${CMAKE_CUDA_HOST_COMPILER}"
            "-DCMAKE_CUDA_ARCHITECTURES=${CMAKE_CUDA_ARCHITECTURES}" "-DCMAKE_CUDA_FLAGS=${CMAKE_CUDA_FLAGS} -std=c++20"
    RESULT_VARIABLE trial_result OUTPUT_VARIABLE trial_output ERROR_VARIABLE trial_output)
  if(trial_result EQUAL 0)
    execute_process(COMMAND ${CMAKE_COMMAND} --build ${trial}/build
      RESULT_VARIABLE trial_result OUTPUT_VARIABLE trial_output ERROR_VARIABLE trial_output)
  endif()
  if(NOT trial_result EQUAL 0)
    file(WRITE ${trial}/output.txt "${trial_output}")
    message(STATUS "CUDA: off (${CMAKE_CUDA_COMPILER} does not work here; what it said is in ${trial}/output.txt)")
    return()
  endif()
  set(CLIPCAP_CUDA_TRIAL ${trial_key} CACHE INTERNAL "What the last successful trial compile tried")
endif()

enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_STANDARD_REQUIRED OFF)
if("${CMAKE_CUDA20_STANDARD_COMPILE_OPTION}" STREQUAL "")
  string(APPEND CMAKE_CUDA_FLAGS " -std=c++20")
else()
  set(CMAKE_CUDA_STANDARD 20)
endif()
set(CLIPCAP_WITH_CUDA ON)
message(STATUS "CUDA: on (nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES})")
