# For tests of the program: run(code arguments…), expect(pattern in its output), same(file file). Expects ${clipcap}
# and ${work} to be set.
function(run expected)
  execute_process(COMMAND ${clipcap} ${ARGN} WORKING_DIRECTORY ${work} RESULT_VARIABLE code OUTPUT_VARIABLE out
                  ERROR_VARIABLE err)
  if(NOT code STREQUAL expected)
    message(SEND_ERROR "clipcap ${ARGN}: exit ${code}, expected ${expected}\n${err}")
  endif()
  if(expected STREQUAL 2 AND NOT err MATCHES "^clipcap: [^\n]+\n$")
    message(SEND_ERROR "clipcap ${ARGN}: expected one line on stderr, found\n${err}")
  endif()
  set(out "${out}" PARENT_SCOPE)
  set(err "${err}" PARENT_SCOPE)
endfunction()

function(expect text)
  if(NOT "${out}${err}" MATCHES "${text}")
    message(SEND_ERROR "expected \"${text}\" in\n${out}${err}")
  endif()
endfunction()

function(same a b)
  file(SHA256 ${a} first)
  file(SHA256 ${b} second)
  if(NOT first STREQUAL second)
    message(SEND_ERROR "${a} and ${b} differ")
  endif()
endfunction()
