# cmake -DOUTPUT=file.cpp -DROOT=folder -DFILES="a;b" -DERRORS=spec/errors.json -P embed.cmake
# Writes the .cpp that holds these files. Their names are relative to ROOT.
set(text "// Written by embed.cmake: not to be edited.\n#include \"cli/embedded.h\"\n\nnamespace shunt::cli {\nnamespace {\n\n")
string(APPEND text "constexpr EmbeddedFile files[] = {\n")
function(add name path)
  file(READ "${path}" content HEX)
  # A string literal may be of any length for clang; octal-free bytes keep every content safe.
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" content "${content}")
  file(SIZE "${path}" size)
  set(text "${text}    {\"${name}\", std::string_view(\"${content}\", ${size})},\n" PARENT_SCOPE)
endfunction()
add("errors.json" "${ERRORS}")
foreach(file ${FILES})
  add("${file}" "${ROOT}/${file}")
endforeach()
string(APPEND text "};\n\n}  // namespace\n\nstd::span<const EmbeddedFile> embedded_files() { return files; }\n\n}  // namespace shunt::cli\n")
file(WRITE "${OUTPUT}" "${text}")
