# The chat-template engine against Python's jinja2: real templates and random ones, text for text.
add_executable(render_templates ${CMAKE_CURRENT_SOURCE_DIR}/tools/render_templates.cpp)
target_link_libraries(render_templates PRIVATE heed_text)
add_test(NAME text.chat_templates_equal_jinja2
  COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/chat_template_diff.py $<TARGET_FILE:render_templates>
    --shared ${HEED_SHARED} --seed 1)
set_tests_properties(text.chat_templates_equal_jinja2 PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
