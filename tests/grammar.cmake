# The grammar tests that need another program: jsonschema as the oracle of what the JSON schema grammars let through.
add_executable(sample_grammar ${CMAKE_SOURCE_DIR}/tests/tools/sample_grammar.cpp)
target_include_directories(sample_grammar PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(sample_grammar PRIVATE heed_grammar)

add_test(NAME grammar.answers_validate_against_their_schemas
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tools/grammar_diff.py
    $<TARGET_FILE:sample_grammar> ${CMAKE_SOURCE_DIR}/models/bard/tokenizer.json)
set_tests_properties(grammar.answers_validate_against_their_schemas PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
