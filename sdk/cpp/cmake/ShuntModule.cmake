# shunt_module(NAME sources...): a shared library that Shunt can host: libNAME.so, in the folder that is being built.
#
#   find_package(Shunt REQUIRED)
#   shunt_module(prices prices.cpp)

function(shunt_module name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE Shunt::service)
  set_target_properties(${name} PROPERTIES
    PREFIX lib
    SUFFIX .so
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Two modules in one process must not share variables because their names agree.
    target_compile_options(${name} PRIVATE -fno-gnu-unique)
  endif()
  if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize" AND NOT SHUNT_SANITIZE)
    target_link_options(${name} PRIVATE -Wl,--no-undefined)
  endif()
endfunction()

# shunt_add_worker(NAME sources...): the same as a program of its own, with libshunt inside reach: "type": "executable". One
# of the sources has a SHUNT_WORKER_MAIN().
function(shunt_add_worker name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE Shunt::service Shunt::worker)
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()
