# The pixels that pictures are held to, against Pillow, where ./setup.sh --test has installed it.
add_test(NAME media.the_pixels_are_those_that_pillow_reads
  COMMAND ${CMAKE_SOURCE_DIR}/tools/run_oracle.sh ${CMAKE_SOURCE_DIR}/tools/picture_fixtures.py --check)
set_tests_properties(media.the_pixels_are_those_that_pillow_reads PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
