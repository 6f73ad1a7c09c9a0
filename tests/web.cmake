# The web page in a headless Chromium, where ./setup.sh --test has installed one.
add_test(NAME web.the_page_works_in_a_browser
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tests/web/page_test.py)
add_test(NAME web.the_page_talks_to_heed
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tests/web/page_test.py
    --heed $<TARGET_FILE:heed> ${CMAKE_SOURCE_DIR}/models/bard)
set_tests_properties(web.the_page_works_in_a_browser web.the_page_talks_to_heed PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 600)
