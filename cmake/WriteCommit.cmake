# Writes OUTPUT, a C++ source that knows the commit of SOURCE: 12 digits, "-dirty" where files differ from it, and
# "unknown" outside git.
get_filename_component(parent ${SOURCE} DIRECTORY)
set(ENV{GIT_CEILING_DIRECTORIES} ${parent})  # not that of a repository around this one
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude *
                OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT commit)
  set(commit unknown)
endif()
set(content "#include \"bench/machine.h\"\n\nconst char* const ringflash::bench::kCommit = \"${commit}\";\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} previous)
endif()
if(NOT "${content}" STREQUAL "${previous}")
  file(WRITE ${OUTPUT} "${content}")
endif()
