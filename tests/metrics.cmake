# The metrics' text against the Python client that Prometheus itself publishes.
add_executable(expose_metrics ${CMAKE_SOURCE_DIR}/tests/tools/expose_metrics.cpp)
target_link_libraries(expose_metrics PRIVATE heed_metrics)

add_test(NAME metrics.the_text_is_what_the_python_client_reads
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tools/metrics_diff.py
    $<TARGET_FILE:expose_metrics>)
set_tests_properties(metrics.the_text_is_what_the_python_client_reads PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)

add_test(NAME metrics.what_is_deployed_fits
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tools/check_deploy.py $<TARGET_FILE:expose_metrics>)
set_tests_properties(metrics.what_is_deployed_fits PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
