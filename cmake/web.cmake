# Compiles the files of src/web/page/ into heed_web. Run as a script (cmake -P) this writes the source that holds them:
#   cmake -DPAGE=folder -DOUTPUT=file.cpp -P web.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  set(type_html "text/html; charset=utf-8")
  set(type_css "text/css; charset=utf-8")
  set(type_js "text/javascript; charset=utf-8")
  set(type_svg "image/svg+xml")
  file(GLOB names RELATIVE ${PAGE} ${PAGE}/*)
  list(SORT names)
  set(arrays "")
  set(table "")
  foreach(name ${names})
    string(REGEX MATCH "[a-z]+$" extension ${name})
    if(NOT DEFINED type_${extension})
      message(FATAL_ERROR "${name}: a page has files of the kinds html, css, js, svg")
    endif()
    file(READ ${PAGE}/${name} bytes HEX)
    file(SHA256 ${PAGE}/${name} hash)
    string(SUBSTRING ${hash} 0 16 hash)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(MAKE_C_IDENTIFIER ${name} identifier)
    string(REGEX REPLACE "^index.html$" "" path ${name})
    string(APPEND arrays "constexpr unsigned char bytes_${identifier}[] = {${bytes}};\n")
    string(APPEND table "      {\"/${path}\", \"${type_${extension}}\", text(bytes_${identifier}), \"\\\"${hash}\\\"\"},\n")
  endforeach()
  file(WRITE ${OUTPUT} "// Made by cmake/web.cmake.
#include \"web/web_files.h\"

namespace heed {
namespace {
${arrays}
template <size_t Size>
std::string_view text(const unsigned char (&bytes)[Size]) {
  return {reinterpret_cast<const char*>(bytes), Size};
}
}  // namespace

std::span<const WebFile> web_files() {
  static const WebFile files[] = {
${table}  };
  return files;
}
}  // namespace heed
")
  return()
endif()

function(heed_web_page)
  set(page ${CMAKE_SOURCE_DIR}/src/web/page)
  set(output ${CMAKE_BINARY_DIR}/web_page.cpp)
  file(GLOB files CONFIGURE_DEPENDS ${page}/*)
  set(script ${CMAKE_SOURCE_DIR}/cmake/web.cmake)
  add_custom_command(OUTPUT ${output} DEPENDS ${files} ${script} VERBATIM COMMENT "Compiling in the web page"
    COMMAND ${CMAKE_COMMAND} -DPAGE=${page} -DOUTPUT=${output} -P ${script})
  target_sources(heed_web PRIVATE ${output})
endfunction()
