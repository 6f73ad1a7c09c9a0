# The real client packages against a running `heed serve`; each file starts its own server. Skipped without the packages
# (setup.sh --test).
foreach(module completions chat tools structured errors cancel prefix_cache responses messages batches images)
  add_test(NAME clients.${module}
    COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tests/clients/${module}_test.py)
  set_tests_properties(clients.${module} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900
    ENVIRONMENT "HEED=$<TARGET_FILE:heed>")
endforeach()

# 300 schemas; faults and minutes of load: by hand, or `ctest -L slow`.
add_test(NAME clients.structured_300_schemas
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tests/clients/structured_test.py)
set_tests_properties(clients.structured_300_schemas PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 3600 LABELS slow
  ENVIRONMENT "HEED=$<TARGET_FILE:heed>;HEED_SCHEMAS=300")
foreach(module faults load)
  add_test(NAME clients.${module}
    COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tests/clients/${module}.py)
  set_tests_properties(clients.${module} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 3600 LABELS slow
    ENVIRONMENT "HEED=$<TARGET_FILE:heed>")
endforeach()
