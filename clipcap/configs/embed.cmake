# Writes the preset files of this folder into one C++ table (name without ending -> text), so that the program
# finds them without any path.
file(GLOB_RECURSE files RELATIVE ${DIRECTORY} ${DIRECTORY}/*.json)
list(SORT files)
set(text "#include \"clipcap/config/config.h\"\n\nnamespace clipcap {\nstd::span<const Preset> presets() {\n  static const Preset table[] = {\n")
foreach(file IN LISTS files)
  file(READ ${DIRECTORY}/${file} content)
  string(REGEX REPLACE "\\.json$" "" name ${file})
  string(APPEND text "      {\"${name}\", R\"preset(${content})preset\"},\n")
endforeach()
string(APPEND text "  };\n  return table;\n}\n}  // namespace clipcap\n")
file(WRITE ${OUTPUT} "${text}")
