# ./dev bench links: our own programs wherever the tests are built, what they are measured against where it is installed.
set(links ${CMAKE_CURRENT_SOURCE_DIR}/links)
set(links_built ${CMAKE_CURRENT_BINARY_DIR}/links)

if(SHUNT_BENCH OR SHUNT_TESTS)
  foreach(service driver echo)
    shunt_module(bench_links_${service} links/${service}.cpp)
    set_target_properties(bench_links_${service} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${links_built}/build)
  endforeach()
  configure_file(links/shunt.json links/shunt.json COPYONLY)
  configure_file(links/there/shunt.json links/there/shunt.json COPYONLY)

  add_executable(bench_links_raw links/raw_main.cpp)
  add_executable(bench_links_link links/link_main.cpp)
  target_link_libraries(bench_links_link PRIVATE shunt_link shunt_loop shunt_os)
  shunt_link_hot(bench_links_link)
endif()

# links_peer(NAME STANDARD PACKAGES... [SOURCES generated...])
function(links_peer name standard)
  cmake_parse_arguments(PEER "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(bench_links_${name} links/${name}_main.cpp ${PEER_SOURCES})
  set_target_properties(bench_links_${name} PROPERTIES CXX_STANDARD ${standard})
  target_include_directories(bench_links_${name} PRIVATE ${links} SYSTEM PRIVATE ${links_built})
  target_compile_definitions(bench_links_${name} PRIVATE NDEBUG)
  target_link_libraries(bench_links_${name} PRIVATE ${PEER_LIBRARIES} Threads::Threads)
  set_source_files_properties(${PEER_SOURCES} PROPERTIES COMPILE_OPTIONS -w)  # Not ours to mend.
endfunction()

if(SHUNT_BENCH)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(ZEROMQ IMPORTED_TARGET libzmq)
  if(ZEROMQ_FOUND)
    links_peer(zeromq 23 LIBRARIES PkgConfig::ZEROMQ)
  endif()
  pkg_check_modules(NATS IMPORTED_TARGET libnats)
  if(NATS_FOUND)
    links_peer(nats 23 LIBRARIES PkgConfig::NATS)
  endif()
  pkg_check_modules(CAPNP IMPORTED_TARGET capnp-rpc)
  find_program(CAPNP_COMPILER capnp)
  if(CAPNP_FOUND AND CAPNP_COMPILER)
    add_custom_command(
      OUTPUT ${links_built}/echo.capnp.c++ ${links_built}/echo.capnp.h
      COMMAND ${CAPNP_COMPILER} compile --src-prefix=${links} -oc++:${links_built} ${links}/echo.capnp
      DEPENDS links/echo.capnp VERBATIM)
    # Its headers are of a time before C++20 turned comparisons around.
    links_peer(capnp 17 SOURCES ${links_built}/echo.capnp.c++ LIBRARIES PkgConfig::CAPNP)
    target_compile_options(bench_links_capnp PRIVATE -Wno-c++20-designator)
  endif()
  pkg_check_modules(GRPCPP IMPORTED_TARGET grpc++)
  pkg_check_modules(PROTOBUF IMPORTED_TARGET protobuf)
  find_program(GRPC_PLUGIN grpc_cpp_plugin)
  if(GRPCPP_FOUND AND PROTOBUF_FOUND AND GRPC_PLUGIN)
    add_custom_command(
      OUTPUT ${links_built}/echo.pb.cc ${links_built}/echo.grpc.pb.cc ${links_built}/echo.pb.h ${links_built}/echo.grpc.pb.h
      COMMAND protoc -I ${links} --cpp_out=${links_built} --grpc_out=${links_built}
        --plugin=protoc-gen-grpc=${GRPC_PLUGIN} echo.proto
      DEPENDS links/echo.proto VERBATIM)
    links_peer(grpcpp 23 SOURCES ${links_built}/echo.pb.cc ${links_built}/echo.grpc.pb.cc
      LIBRARIES PkgConfig::GRPCPP PkgConfig::PROTOBUF)
  endif()
  find_path(ICEORYX_HEADERS iceoryx_posh/popo/untyped_client.hpp PATH_SUFFIXES iceoryx/v2.0.3 iceoryx/v2.0.2 iceoryx)
  find_library(ICEORYX_POSH iceoryx_posh)
  if(ICEORYX_HEADERS AND ICEORYX_POSH)
    links_peer(iceoryx 20 LIBRARIES iceoryx_posh iceoryx_hoofs iceoryx_platform)
    target_include_directories(bench_links_iceoryx SYSTEM PRIVATE ${ICEORYX_HEADERS})
  endif()
endif()
