# ringflash_library(NAME SOURCES ... DEPENDS ...): one static library per folder of src/. What a folder may
# include is what it lists in DEPENDS; tests/rules/ checks the same from the source text.
function(ringflash_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(ringflash_${name} STATIC ${arg_SOURCES})
  target_include_directories(ringflash_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(ringflash_${name} PUBLIC ringflash_flags)
  foreach(dependency IN LISTS arg_DEPENDS)
    target_link_libraries(ringflash_${name} PUBLIC ringflash_${dependency})
  endforeach()
endfunction()

# All test programs, for builds that have no use for the others.
add_custom_target(ringflash_tests)

# ringflash_test(NAME SOURCES ... LINK ...): a GoogleTest program, one ctest entry per file. RUNS lists the
# environment settings to repeat it under, e.g. RINGFLASH_ISA=avx2.
function(ringflash_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK;LABELS;RUNS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  add_dependencies(ringflash_tests ${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  # What is tested is optimised; optimising the tests would only slow the build down, by half.
  target_compile_options(${name} PRIVATE -O1)
  target_link_libraries(${name} PRIVATE ringflash_flags GTest::gtest GTest::gtest_main ${arg_LINK})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    math(EXPR arg_TIMEOUT "4 * ${arg_TIMEOUT}")  # against what hangs, not what is emulated
  endif()
  set(tests ${name})
  add_test(NAME ${name} COMMAND ${name})
  foreach(setting IN LISTS arg_RUNS)
    list(APPEND tests ${name}_${setting})
    add_test(NAME ${name}_${setting} COMMAND ${name})
    set_tests_properties(${name}_${setting} PROPERTIES ENVIRONMENT ${setting})
  endforeach()
  set_tests_properties(${tests} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
  if("torch" IN_LIST arg_LABELS)
    # OpenMP's threads wait in a spin: two such programs at once would mostly wait for each other, and beside any
    # other work one alone does, unless the spin is short.
    set_tests_properties(${tests} PROPERTIES PROCESSORS 2)
    set_property(TEST ${tests} APPEND PROPERTY ENVIRONMENT GOMP_SPINCOUNT=10000)
  endif()
endfunction()
