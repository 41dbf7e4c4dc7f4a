# A room is a folder of src/ with its CMake target and its tests. What it USES is what it may include: ./dev tidy reads
# every #include against it, so a room that is not named here can't be reached.
#
#   shunt_room(call USES base wire os loop [LIBRARIES fmt::fmt])
#
# HOT: a call passes through it. In a release such a room carries bitcode beside its machine code, and what links it with
# shunt_link_hot() is optimized across rooms (a quarter less time for a call in process); the tests link it as it is.
#
# Every .cpp below the folder belongs to the room; *_test.cpp become the test executable test_<room>, *_fuzz.cpp one fuzzer
# each (preset fuzz only), *_bench.cpp one micro-benchmark each, and *_main.cpp and testdata/ are left to the folder itself.

function(shunt_room name)
  cmake_parse_arguments(ROOM "HOT" "" "USES;LIBRARIES;TEST_USES;TEST_LIBRARIES" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER all EXCLUDE REGEX "/(templates|testdata)/")  # What the code carries along or loads, not a part of it.
  # A folder with a CMakeLists.txt of its own is a target of its own: what it USES, the rest of the room must not link.
  file(GLOB nested RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*/CMakeLists.txt)
  foreach(folder ${nested})
    get_filename_component(folder ${folder} DIRECTORY)
    list(FILTER all EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${folder}/")
  endforeach()
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench|main)\\.cpp$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cpp$")
  set(benches ${all})
  list(FILTER benches INCLUDE REGEX "_bench\\.cpp$")
  list(TRANSFORM ROOM_USES PREPEND shunt_)
  list(TRANSFORM ROOM_TEST_USES PREPEND shunt_)

  if(sources)
    add_library(shunt_${name} STATIC ${sources})
    target_include_directories(shunt_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/sdk/c/include)
    target_link_libraries(shunt_${name} PUBLIC ${ROOM_USES} PRIVATE ${ROOM_LIBRARIES})
    if(ROOM_HOT AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SHUNT_SANITIZE)
      target_compile_options(shunt_${name} PRIVATE -flto=thin -ffat-lto-objects)
    endif()
    set(link shunt_${name})
  else()
    add_library(shunt_${name} INTERFACE)
    target_include_directories(shunt_${name} INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/sdk/c/include)
    target_link_libraries(shunt_${name} INTERFACE ${ROOM_USES})
    set(link shunt_${name})
  endif()

  if(SHUNT_TESTS AND tests)
    shunt_test(test_${name} SOURCES ${tests} LIBRARIES ${link} ${ROOM_LIBRARIES} ${ROOM_TEST_USES} ${ROOM_TEST_LIBRARIES})
  endif()
  foreach(fuzzer ${fuzzers})
    get_filename_component(stem ${fuzzer} NAME_WE)
    if(SHUNT_FUZZ)
      add_executable(${stem} ${fuzzer})
      target_link_libraries(${stem} PRIVATE ${link} ${ROOM_LIBRARIES})
      target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
      set_property(GLOBAL APPEND PROPERTY SHUNT_FUZZERS ${stem})
    endif()
  endforeach()
  if(SHUNT_BENCH)
    foreach(bench ${benches})
      get_filename_component(stem ${bench} NAME_WE)
      add_executable(${stem} ${bench})
      target_link_libraries(${stem} PRIVATE ${link} ${ROOM_LIBRARIES} benchmark::benchmark)
      shunt_link_hot(${stem})
    endforeach()
  endif()
endfunction()

# A GoogleTest executable. GoogleTest's header is compiled once, for all of them.
function(shunt_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE ${TEST_LIBRARIES} shunt_test_main)
  target_compile_options(${name} PRIVATE -fPIC)  # As shunt_test_main, a library, was compiled: else its header is refused.
  target_precompile_headers(${name} REUSE_FROM shunt_test_main)
  add_test(NAME ${name} COMMAND ${name})
  set_property(GLOBAL APPEND PROPERTY SHUNT_TEST_TARGETS ${name})
endfunction()

# Links an executable with the bitcode of the hot rooms.
function(shunt_link_hot name)
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SHUNT_SANITIZE)
    target_link_options(${name} PRIVATE -flto=thin -Wl,--fat-lto-objects)
  endif()
endfunction()
