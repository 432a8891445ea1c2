# Turns files into a source file that carries their bytes (src/api/embedded.h). Run while building:
#
#   cmake -DOUTPUT=embedded.cc -DOPENAPI=openapi.json -DWEB=web/dist -P Embed.cmake
#
# The bytes come in with .incbin: no compiler has to parse megabytes of numbers.
file(GLOB_RECURSE web_files RELATIVE ${WEB} ${WEB}/*)
list(SORT web_files)
set(names "openapi.json")
set(paths "${OPENAPI}")
foreach(file IN LISTS web_files)
  if(file MATCHES "(^|/)\\.")
    continue()
  endif()
  list(APPEND names "web/${file}")
  list(APPEND paths "${WEB}/${file}")
endforeach()

set(assembly "")
set(declarations "")
set(table "")
set(index 0)
foreach(name path IN ZIP_LISTS names paths)
  string(APPEND assembly "    \".global fettle_embedded_${index}\\n.global fettle_embedded_${index}_end\\n\"\n"
         "    \"fettle_embedded_${index}:\\n.incbin \\\"${path}\\\"\\nfettle_embedded_${index}_end:\\n.byte 0\\n\"\n")
  string(APPEND declarations "extern const char fettle_embedded_${index}[];\nextern const char fettle_embedded_${index}_end[];\n")
  string(APPEND table "      {\"${name}\", {fettle_embedded_${index}, static_cast<std::size_t>(fettle_embedded_${index}_end - fettle_embedded_${index})}},\n")
  math(EXPR index "${index} + 1")
endforeach()

file(WRITE ${OUTPUT} "// Written by cmake/Embed.cmake.
#include <array>
#include <cstddef>

#include \"api/embedded.h\"

__asm__(
    \".section .rodata\\n\"
${assembly}    \".previous\\n\");

extern \"C\" {
${declarations}}

namespace fettle::api {

std::span<const EmbeddedFile> embedded_files() {
  static const std::array<EmbeddedFile, ${index}> files = {{
${table}  }};
  return files;
}

}  // namespace fettle::api
")
