# cmake -DOUTPUT=file.cpp -DSOURCE=folder -P build_info.cmake
# Writes the commit that is being built, and only when it has changed.
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR NOT commit)
  set(commit "unknown")
endif()
set(text "#include \"cli/build_info.h\"\n\nnamespace shunt::cli {\n\nconst char* build_commit() { return \"${commit}\"; }\n\n}  // namespace shunt::cli\n")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT old STREQUAL text)
  file(WRITE "${OUTPUT}" "${text}")
endif()
